"""A bundle: the installation of one site or of many, as a folder or an archive, with nothing of a machine in it.

::

    gateway.toml        gateway.d/*.toml      devices.toml      rules/...      profiles and certificates that are named
    sites/berlin-3.toml                       an overlay for each site, merged last; ${site} is its name
    bundle.json                               names, hashes and the program's version, when `bundle make` made it

A folder without bundle.json is a bundle, too: what belongs to it is what its config names.  Secrets never do: files
that a `Secret` names, private keys and files with users stay on the machine.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.bundles import archive
from gateway.bundles.manifest import MANIFEST_BYTES_MAX, NAME, BundleError, Entry, Manifest, decoded, entry
from gateway.config.installation import named, parts
from gateway.config.load import Config, read
from gateway.errors import ConfigError, Fault, GatewayError, probably_meant

SITES: Final = "sites"
SITES_MAX: Final = 5_000
_SITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Site:
    """The config of one site, as far as it can be read."""

    name: str  # empty: the bundle has no sites
    overlay: Path | None
    config: Config | None
    faults: Sequence[Fault]


@dataclass(frozen=True)
class Bundle:
    """One that was looked at: sound names, hashes as its manifest says, no larger than allowed."""

    origin: Path  # what a person named
    folder: Path  # where its files are
    manifest: Manifest  # of what belongs to it
    sites: Sequence[Site]

    @property
    def config(self) -> Path:
        """Return its gateway.toml."""
        return self.folder / archive.TOP

    def site(self, name: str) -> Site:
        """Return a site by its name. Raises BundleError when there is none, or one has to be named."""
        _named(self, [name] if name else [])
        for site in self.sites:
            if site.name == name:
                return site
        raise BundleError(f"{self.origin} is for {len(self.sites)} sites: name one, as --site {self.sites[0].name}")

    def placed(self, fault: Fault) -> Fault:
        """Return a fault with the place that a person knows: below what was named."""
        path = Path(fault.file)
        if self.folder == self.origin or not path.is_relative_to(self.folder):
            return fault
        return Fault(self.origin / path.relative_to(self.folder), fault.line, self.said(fault.what), fault.hint)

    def said(self, text: str) -> str:
        """Replace the folder it was unpacked to."""
        return text.replace(str(self.folder), str(self.origin))


@contextmanager
def opened(origin: Path, only: Sequence[str] = (), *, remake: bool = False) -> Iterator[Bundle]:
    """Look at a bundle, for the length of a block; `only` these sites are read. Raises ConfigError, OSError.

    remake  a folder is taken as it is now, whatever its bundle.json said
    """
    if origin.is_dir():
        yield _looked_at(origin, origin.absolute(), only, remake=remake)
        return
    with tempfile.TemporaryDirectory(prefix="edge-gateway-bundle-") as name:
        folder = Path(name).resolve()
        try:
            files = archive.read(origin)
        except BundleError as error:
            raise ConfigError([Fault(origin, None, str(error))]) from None
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        yield _looked_at(origin, folder, only)


def contents(bundle: Bundle) -> dict[str, bytes]:
    """Return what belongs to a bundle, by name. Raises BundleError when it is another by now."""
    found = {name: (bundle.folder / name).read_bytes() for name in bundle.manifest.files}
    changed = [name for name, content in found.items() if entry(content) != bundle.manifest.files[name]]
    if changed:
        raise BundleError(f"{bundle.origin / changed[0]} changed while it was read")
    return found


def sites_of(folder: Path) -> list[Path]:
    """Return the overlays of sites. Raises BundleError for a name that is none."""
    found = sorted((folder / SITES).glob("*.toml"))
    wrong = [path for path in found if not _SITE.fullmatch(path.stem)]
    if wrong or len(found) > SITES_MAX:
        what = f"{wrong[0].stem!r} is no name of a site" if wrong else f"more than {SITES_MAX:,} sites"
        raise BundleError(f"{folder / SITES}: {what}")
    return found


def _looked_at(origin: Path, folder: Path, only: Sequence[str], *, remake: bool = False) -> Bundle:
    bundle = Bundle(origin, folder, Manifest(files={}), ())
    _named(bundle, only)
    try:
        if not bundle.config.is_file():
            raise BundleError(f"there is no {archive.TOP} in it: is this the right folder?")
        said = None if remake else _manifest(folder)
        overlays = sites_of(folder)
        wanted: list[Path | None] = [path for path in overlays if not (said and only) or path.stem in only]
        sites = [_site(folder, overlay) for overlay in (wanted if overlays else [None])]
        if said:
            _compare(folder, said)
        files = said.files if said else _collected(folder, overlays, sites)
        sites = [site for site in sites if not only or site.name in only]
    except GatewayError as error:
        raise ConfigError([Fault(origin, None, bundle.said(str(error)))]) from None
    manifest = said or Manifest(files=files)
    return Bundle(origin, folder, manifest, sites)


def _named(bundle: Bundle, only: Sequence[str]) -> None:
    """Find names of sites that are none. Raises BundleError."""
    names = [path.stem for path in (bundle.folder / SITES).glob("*.toml")]
    for name in only:
        if name not in names:
            hint = probably_meant(name, names) or (f"see {SITES}" if names else f"it has no folder {SITES}")
            raise BundleError(f"{bundle.origin} has no site {name!r} ({hint})")


def _site(folder: Path, overlay: Path | None) -> Site:
    config, faults = read(folder / archive.TOP, site=overlay, bundle=folder)
    return Site(overlay.stem if overlay else "", overlay, config, faults)


def _manifest(folder: Path) -> Manifest | None:
    file = folder / NAME
    if not file.is_file():
        return None
    with file.open("rb") as raw:
        manifest = decoded(raw.read(MANIFEST_BYTES_MAX))
    wrong = [name for name in manifest.files if not archive.sound(name) or archive.hidden(name) or name == NAME]
    if wrong:
        raise BundleError(f"{NAME}: {wrong[0]!r} does not belong in a bundle")
    return manifest


def _compare(folder: Path, manifest: Manifest) -> None:
    """Find files that are not those of the manifest, or not in it. Raises BundleError."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {NAME}
    for name in sorted(manifest.files.keys() | {name for name in there if not archive.hidden(name)}):
        if name not in there:
            raise BundleError(f"{name} is missing, {NAME} names it")
        if name not in manifest.files:
            raise BundleError(f"{name} is not named in {NAME}: type `edge-gateway bundle make` again")
        if entry((folder / name).read_bytes()) != manifest.files[name]:
            raise BundleError(f"{name} is not what {NAME} says: it was changed, or is damaged")


def _collected(folder: Path, overlays: Sequence[Path], sites: Sequence[Site]) -> dict[str, Entry]:
    """Return what belongs to a folder that has no manifest."""
    linked: set[Path] = set()  # may lead elsewhere: to what stays on the machine
    paths = {folder / archive.TOP, *(folder / "gateway.d").glob("*.toml"), *overlays}
    for site in sites:
        if site.config is not None:
            paths |= {part.path for part in parts(site.config) if not part.secret}
            linked |= {part.path for part in named(site.config)}
    files: dict[str, Entry] = {}
    total = 0
    for path in sorted(paths):
        if not path.is_relative_to(folder) or archive.hidden(name := str(path.relative_to(folder))):
            continue
        outside = not path.resolve().is_relative_to(folder.resolve())
        if outside and path in linked:
            continue
        if outside or not archive.sound(name):
            raise BundleError(f"{name!r} does not belong in a bundle: only files, by plain names below its folder")
        total += path.stat().st_size
        if path.stat().st_size > archive.FILE_BYTES_MAX or total > archive.BUNDLE_BYTES_MAX:
            raise BundleError(f"{name} is too much: at most {archive.BUNDLE_BYTES_MAX:,} bytes together")
        files[name] = entry(path.read_bytes())
    return files


def changed_since(folder: Path, manifest: Manifest) -> list[str]:
    """Return the files of an installed bundle that are others now, or gone, or new."""
    changed = []
    for name, was in manifest.files.items():
        path = folder / name
        if not path.is_file() or entry(path.read_bytes()) != was:
            changed.append(name)
    return sorted(changed)
