"""Putting a bundle on this machine, beside what counts: a folder of its own that nothing names yet.

What is placed is what one site needs of the bundle, and nothing of another site:

* its files; the site's overlay as the last one of gateway.d;
* an overlay with the places where this gateway writes, which stay as they are, whatever the bundle says;
* links to what stays on the machine: secrets, keys and certificates that are named by relative paths and are not in the
  bundle lie in the folder of the config that people name;
* devices.toml as it is here, when the bundle has none.

All of it is on the medium when `place` returns.  What was changed on the machine since a bundle was placed (a device
that was adopted) is found by `edited`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gateway.bundles import archive, manifest
from gateway.bundles.bundle import SITES, Bundle, Site, changed_since, contents
from gateway.bundles.ledger import CONFIG, ApplyError, Ledger, config_of, folder_of
from gateway.bundles.manifest import Manifest, entry
from gateway.config.installation import Part, named, parts
from gateway.config.load import Config, read
from gateway.config.overlay import Overlaid, read_overlaid
from gateway.config.places import Places
from gateway.durable import sync_folder
from gateway.errors import ConfigError, Fault
from gateway.owner import as_owner

SITE_OVERLAY: Final = "gateway.d/zy-site.toml"
PLACES_OVERLAY: Final = "gateway.d/zz-applied.toml"
DEVICES: Final = "devices.toml"
KEPT_MAX: Final = 3  # versions beside the current one and the one before it
PLACES: Final = (("gateway", "state"), ("journal", "folder"), ("api", "socket"))


def nothing(_step: str) -> None:
    """Be told of a step, and do nothing about it."""


class Placing:
    """Puts one site of a bundle on this machine."""

    def __init__(
        self, bundle: Bundle, site: Site, base: Path, places: Places, step: Callable[[str], None] = nothing
    ) -> None:
        """Take what is to be placed where; `base` is the config that people name, `step` is told what is done next."""
        assert site.config is not None
        self._bundle = bundle
        self._site = site
        self._config: Config = site.config
        self._base = base.absolute()
        self._places = places
        self._step = step

    def place(self, number: int) -> Path:
        """Write everything; returns the folder. Raises ConfigError, ApplyError, OSError: then it is gone again.

        What is put there is read first, as whoever types; all that is written is written as the gateway's user.
        """
        above = folder_of(self._places.state)
        folder, partial = above / f"{number:08d}", above / f".{number:08d}.partial"
        self._refuse_places()
        files = dict(self._files())
        with as_owner(self._places.state):
            self._put(above, partial, folder, files)
        return folder

    def _put(self, above: Path, partial: Path, folder: Path, files: dict[str, bytes]) -> None:
        for leftover in (folder, *above.glob(".*.partial")):
            if leftover.is_dir():
                shutil.rmtree(leftover)  # of one that was killed before anything named it
        try:
            self._write(partial, files)
            self._step("rename")
            partial.rename(folder)
            sync_folder(above)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _write(self, folder: Path, files: dict[str, bytes]) -> None:
        self._step("write")
        folder.mkdir(mode=0o750)
        for name in sorted(files):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            with path.open("xb") as file:
                file.write(files[name])
                file.flush()
                os.fsync(file.fileno())
            path.chmod(0o640)
            self._step(f"wrote {name}")
        for name in self._links(files):
            (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            (folder / name).symlink_to(self._base.parent / name)
        self._step("sync")
        for path in (folder, *folder.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                sync_folder(path)

    def _files(self) -> Iterator[tuple[str, bytes]]:
        found = contents(self._bundle)
        wanted = {str(part.path.relative_to(self._bundle.folder)) for part in self._parts()}
        placed = {name: found[name] for name in sorted(wanted & found.keys()) if not name.startswith(f"{SITES}/")}
        if self._site.overlay is not None:
            placed[SITE_OVERLAY] = self._site.overlay.read_bytes()
        devices = self._config.gateway.devices
        if devices.is_relative_to(self._bundle.folder) and not devices.exists():
            here = self._devices_here()
            if here is not None:
                placed[str(devices.relative_to(self._bundle.folder))] = here
        placed[PLACES_OVERLAY] = self._overlay().encode()
        yield from placed.items()
        yield manifest.NAME, manifest.encoded(Manifest(files={name: entry(text) for name, text in placed.items()}))

    def _parts(self) -> Iterator[Part]:
        for part in parts(self._config):
            if not part.secret and part.path.is_relative_to(self._bundle.folder):
                yield part

    def _devices_here(self) -> bytes | None:
        """Return the devices that count now, as the gateway's user: what was applied is its to edit."""
        with as_owner(self._places.state):
            config, _ = read(config_of(self._base))
            file = config.gateway.devices if config is not None else self._base.parent / DEVICES
            return file.read_bytes() if file.is_file() else None

    def _overlay(self) -> str:
        lines = ["# Written by `edge-gateway apply`: what is the machine's own stays as it was."]
        values = (self._places.state, self._places.journal, self._places.socket)
        lines += [f"{'.'.join(at)} = {_text(str(value))}" for at, value in zip(PLACES, values, strict=True)]
        if self._site.name and "site" not in self._document().section("variables"):
            lines.append(f"variables.site = {_text(self._site.name)}")
        return "\n".join(lines) + "\n"

    def _document(self) -> Overlaid:
        return read_overlaid(self._bundle.config, self._site.overlay)

    def _refuse_places(self) -> None:
        """Find a bundle that says where to write, and means another place than here. Raises ConfigError."""
        document, faults = self._document(), list[Fault]()
        document.substitute()
        values = (self._places.state, self._places.journal, self._places.socket)
        for at, here in zip(PLACES, values, strict=True):
            said = document.section(at[0]).get(at[1])
            if isinstance(said, str) and Path(os.path.normpath(self._base.parent / said)) != here.absolute():
                what = f"{'.'.join(at)} is {here} on this machine, and a bundle does not move it"
                faults.append(self._bundle.placed(document.fault(at, what, "leave it out of the bundle")))
        if faults:
            raise ConfigError(faults)

    def _links(self, files: dict[str, bytes]) -> Iterator[str]:
        """Yield the names of what stays on the machine."""
        seen: set[str] = set()
        for part in named(self._config):
            path = Path(os.path.normpath(part.path))
            if not path.is_relative_to(self._bundle.folder):
                continue
            name = str(path.relative_to(self._bundle.folder))
            if name not in files and name not in seen and archive.sound(name):
                seen.add(name)
                yield name


def chosen(named: str, bundle: Bundle, ledger: Ledger) -> str:
    """Return the site that is meant: the one that is named, the one as before, the one that this host is called."""
    sites = {site.name for site in bundle.sites}
    before = ledger.current.site if ledger.current else ""
    for name in (named, before, socket.gethostname()):
        if name and (name in sites or name == named):
            return name
    return ""


def edited(ledger: Ledger, state: Path, bundle: Bundle) -> list[str]:
    """Return the files of what counts now that were changed on this machine, and that a bundle would undo."""
    if ledger.current is None:
        return []
    with as_owner(state):
        return list(_edited(folder_of(state) / ledger.current.name, bundle))


def _edited(folder: Path, bundle: Bundle) -> list[str]:
    text = folder / manifest.NAME
    if not text.is_file():
        return []
    changed = changed_since(folder, manifest.decoded(text.read_bytes()))
    there = bundle.manifest.files
    return [
        name
        for name in changed
        if name in there and not ((folder / name).is_file() and entry((folder / name).read_bytes()) == there[name])
    ]


def prune(ledger: Ledger, state: Path) -> None:
    """Remove versions that nobody goes back to."""
    named_now = {version.name for version in (ledger.current, ledger.before) if version is not None}
    folders = sorted(path for path in folder_of(state).iterdir() if path.is_dir() and path.name.isdecimal())
    rest = [path for path in folders if path.name not in named_now]
    with as_owner(state):
        for path in rest[:-KEPT_MAX]:
            shutil.rmtree(path, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a version that was placed and is not to count. Raises ApplyError when it is no version."""
    if not (folder / CONFIG).is_file() or not folder.name.isdecimal():
        raise ApplyError(f"{folder} is no applied version")
    with as_owner(folder.parents[1]):
        shutil.rmtree(folder)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
