"""What the package puts where: the folder tree that dpkg-deb packs."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from deb import libraries, manual, notices
from supply import bom

NAME = "edge-gateway"
ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "packaging" / "files"
UNITS = ROOT / "packaging" / "systemd"
PROGRAM = ("gateway", "simulators", "device_profiles", "rules/catalogue")  # the simulators are what `demo` runs
LIB = Path("usr/lib", NAME)
DOC = Path("usr/share/doc", NAME)
ETC = Path("etc", NAME)
SCRIPTS = ("postinst", "prerm", "postrm")
CONFFILES = ("gateway.toml", "gateway.d/README", "rules/README", "profiles/README")
SECRETS = "credentials"  # root's alone; systemd reads it for the service


def below(folders: Sequence[str]) -> list[Path]:
    """Return the files below folders of the tree that is built from."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")))
    return [path.relative_to(ROOT) for path in found if path.is_file() and "__pycache__" not in path.parts]


def fill(tree: Path, architecture: str, version: str, epoch: int) -> None:
    """Fill an empty folder with everything but DEBIAN/."""
    for path in below(PROGRAM):
        copy(ROOT / path, tree / LIB / "common" / path)
    set_version(tree / LIB / "common/gateway/__init__.py", version)
    folders = []
    for python in libraries.PYTHONS:
        folders.append(tree / LIB / f"py{python}")
        libraries.fetch(ROOT / "requirements.lock", architecture, python, folders[-1])
    libraries.share_pure(folders, tree / LIB / "common")
    write(tree / DOC / "copyright", notices.copyright_file([tree / LIB / "common", folders[0]]))
    for folder in (*folders, tree / LIB / "common"):
        libraries.trim(folder)
        libraries.strip(folder, architecture)
    settings(tree)
    documents(tree, version, epoch)


def settings(tree: Path) -> None:
    """Put what the system reads, and what the operator edits, in its place."""
    copy(FILES / "edge-gateway", tree / "usr/bin/edge-gateway", mode=0o755)
    for name in CONFFILES:
        copy(FILES / "etc" / name, tree / ETC / name)
    (tree / ETC / SECRETS).mkdir()
    for unit in sorted(UNITS.glob("*.service")) + sorted(UNITS.glob("*.socket")):
        copy(unit, tree / "usr/lib/systemd/system" / unit.name)
    catalogs = sorted(UNITS.glob("*.catalog"))
    for catalog in catalogs:
        copy(catalog, tree / "usr/lib/systemd/catalog" / catalog.name)
    copy(FILES / "edge-gateway.sysusers", tree / "usr/lib/sysusers.d/edge-gateway.conf")
    copy(FILES / "edge-gateway.tmpfiles", tree / "usr/lib/tmpfiles.d/edge-gateway.conf")
    copy(FILES / "edge-gateway.rtupdate", tree / "usr/share/python3/runtime.d/edge-gateway.rtupdate", mode=0o755)
    copy(FILES / "edge-gateway.udev", tree / "usr/lib/udev/rules.d/61-edge-gateway.rules")
    copy(FILES / "edge-gateway.lintian", tree / "usr/share/lintian/overrides" / NAME)


def documents(tree: Path, version: str, epoch: int) -> None:
    """Write the manual, completion, guides and the change log."""
    pages = {
        "man1/edge-gateway.1": manual.program(version, epoch),
        "man5/edge-gateway.toml.5": manual.config(version, epoch),
    }
    for name, text in pages.items():
        write_gz(tree / "usr/share/man" / f"{name}.gz", text)
    write(tree / "usr/share/bash-completion/completions/edge-gateway", manual.completion("bash"))
    write(tree / "usr/share/zsh/vendor-completions/_edge-gateway", manual.completion("zsh"))
    write(tree / "usr/share/fish/vendor_completions.d/edge-gateway.fish", manual.completion("fish"))
    for path in below(["docs/guides", "docs/reference"]):
        if path.name != bom.BOM.name:
            copy(ROOT / path, tree / DOC / path.relative_to("docs"))
    write(tree / DOC / bom.BOM.name, bom.bill(version))
    write_gz(tree / DOC / "changelog.gz", notices.changelog(NAME, version, epoch))
    write_gz(tree / DOC / "NEWS.md.gz", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def set_version(module: Path, version: str) -> None:
    """Have the program say the version of the package."""
    text = module.read_text(encoding="utf-8")
    module.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', text), encoding="utf-8")


def settle(tree: Path, epoch: int) -> None:
    """Give every file the same owner's modes and time, whoever builds, wherever."""
    for path in sorted(tree.rglob("*")):
        if not path.is_symlink():
            script = path.parent == tree / "usr/bin" or path.name in SCRIPTS or path.suffix == ".rtupdate"
            path.chmod(0o755 if script or path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    (tree / ETC / SECRETS).chmod(0o700)
    tree.chmod(0o755)
    os.utime(tree, (epoch, epoch))


def copy(source: Path, to: Path, mode: int = 0o644) -> None:
    """Copy one file's bytes."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)
    to.chmod(mode)


def write(path: Path, text: str) -> None:
    """Write one text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_gz(path: Path, text: str) -> None:
    """Write one text file, compressed, without the time of day in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
