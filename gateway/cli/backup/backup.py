"""`backup` and `restore`: everything a gateway is, in one file, and back on another card."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from gateway import __version__
from gateway.cli.terminal.printing import complain, say, say_json
from gateway.cli.terminal.progress import Progress
from gateway.cli.verb import OK, Verbs, add, step_aside
from gateway.errors import ConfigError, GatewayError
from gateway.quantity import size

if TYPE_CHECKING:
    from gateway.cli.backup.restore import Restored
    from gateway.config.load import Config
    from gateway.identity import How
    from gateway.journal.archive import ArchiveWriter, Kept, Manifest

STDOUT = Path("-")
RULE_VERSIONS = "rules"  # in the state folder: good versions of rule files, what `rules rollback` goes back to


def add_verbs(verbs: Verbs) -> None:
    """Declare `backup` and `restore`."""
    parser = add(
        verbs,
        "backup",
        "copy journal, config, devices, rules and profiles into one file, while the gateway runs",
        backup,
        examples=["edge-gateway backup /mnt/usb/pi.tar.zst", "edge-gateway backup pi.tar.zst --with-secrets"],
        json=True,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a .tar.zst; - is standard output")
    parser.add_argument("--with-secrets", action="store_true", help="passwords and private keys, too: guard the file")
    parser = add(
        verbs,
        "restore",
        "put a backup back: the same log, with ids that were never used",
        restore,
        examples=[
            "edge-gateway restore /mnt/usb/pi.tar.zst --check",
            "edge-gateway restore /mnt/usb/pi.tar.zst",
            "edge-gateway restore pi.tar.zst --to ./copy",
        ],
        json=True,
        config=False,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what `backup` made")
    parser.add_argument("--to", type=Path, metavar="DIR", help="put all of it there; default: where it came from")
    parser.add_argument("--force", action="store_true", help="replace what is there; it is kept beside")
    parser.add_argument("--check", action="store_true", help="only read it and compare every hash")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--replace",
        action="store_const",
        const="replace",
        dest="how",
        help="the old machine is gone: this one is that gateway",
    )
    how.add_argument(
        "--copy",
        action="store_const",
        const="copy",
        dest="how",
        help="both go on: this one becomes a gateway of its own",
    )


def backup(words: argparse.Namespace) -> int:
    """Make a backup."""
    from gateway.bundles.ledger import config_of, trying
    from gateway.config.load import read

    config, faults = read(words.config)
    if config is None:
        raise ConfigError(faults)
    for fault in faults:
        complain(f"{fault}; backing up all the same")
    if config_of(words.base) != words.base and trying(config.places.state):
        complain("an applied bundle is only being tried; after a restore of this backup it counts for good")
    step_aside()
    try:
        with _output(words.file) as raw:
            manifest = _archive(Placed(config, words.base), raw, secrets=words.with_secrets)
    except OSError as error:
        raise GatewayError(f"{error.filename or words.file}: {error.strerror or error}") from None
    _report(words, manifest)
    return OK


def restore(words: argparse.Namespace) -> int:
    """Check a backup, then put it back."""
    from gateway.cli.backup.restore import checked
    from gateway.cli.backup.restore import restore as put_back

    try:
        if words.check:
            manifest = checked(words.file)
            _report(words, manifest)
            return OK
        done = put_back(words.file, words.to, force=words.force, how=words.how)
    except OSError as error:
        raise GatewayError(f"{error.filename or words.file}: {error.strerror or error}") from None
    if words.json:
        say_json(done)
        return OK
    say(f"log {done.log_id} goes on in {done.journal} with epoch {done.epoch}, record {done.first_sequence:,}", "green")
    say(f"{done.files} other files are in place")
    for line in done.found:
        say(line, "yellow")
    for old in done.kept:
        say(f"kept what was there: {old}")
    for name in done.missing:
        say(f"not in the backup, and needed: {name}", "yellow")
    _decide(done)
    say(f"Type: edge-gateway check --config {done.config}")
    return OK


def _decide(done: Restored) -> None:
    """Ask on a terminal, where another machine goes on, what that means; say elsewhere what to type."""
    from gateway.cli.backup.restored_identity import decide

    if not done.doubted:
        return
    say(f"This is not the machine that the backup is of (gateway {done.identity}).", "yellow")
    answer = ""
    if sys.stdin.isatty() and sys.stdout.isatty():
        answer = input("Is the old one gone (replace), or do both go on (copy)? [replace/copy/later] ").strip()
    ways: tuple[How, ...] = ("replace", "copy")
    how = next((way for way in ways if answer and way.startswith(answer.lower())), None)
    if how:
        decide(Path(done.state), how)
        say(f"decided: {how}")
    else:
        say("Is the old one gone? Type: edge-gateway identity adopt --replace")
        say("Do both go on?       Type: edge-gateway identity adopt --copy")


class Placed(NamedTuple):
    """A config, and the file that people name for it: of an applied bundle that is another one."""

    config: Config
    base: Path

    def shown(self, path: Path) -> Path:
        """Return where a file belongs: what was applied goes back into the folder that people know."""
        here, home = self.config.file.absolute().parent, self.base.absolute().parent
        path = Path(os.path.normpath(path.absolute()))
        if path == self.config.file.absolute():
            return self.base.absolute()
        return home / path.relative_to(here) if path.is_relative_to(here) else path

    def name(self, path: Path) -> str:
        """Return a file's name in the archive."""
        from gateway.journal.archive import CONFIG, ELSEWHERE

        path, home = self.shown(path), self.base.absolute().parent
        return f"{CONFIG}/{path.relative_to(home)}" if path.is_relative_to(home) else f"{ELSEWHERE}{path}"


def _archive(placed: Placed, raw: IO[bytes], *, secrets: bool) -> Manifest:
    """Write the archive: journal, files, manifest."""
    from gateway.clock import NS_PER_S, SystemClock, rfc3339
    from gateway.journal.archive import ArchiveWriter, Manifest
    from gateway.journal.backup import JournalCopy

    config = placed.config
    now_ns = SystemClock().wall_ns()
    archive = ArchiveWriter(raw, now_ns // NS_PER_S)
    bar = Progress()
    part, segments = JournalCopy(config.places.journal, config.journal, archive, partial(_show, bar)).run()
    bar.clear()
    files, left_out = _files(placed, archive, secrets=secrets)
    manifest = Manifest(
        made=rfc3339(now_ns),
        made_s=now_ns // NS_PER_S,
        program=__version__,
        gateway=config.gateway.name,
        config=placed.name(config.file),
        places={
            "config": str(placed.base.absolute()),
            "state": str(config.places.state),
            "journal": str(config.places.journal),
        },
        journal=part,
        files=[*segments, *files],
        left_out=left_out,
    )
    archive.finish(manifest)
    return manifest


def _show(bar: Progress, done: int, total: int) -> None:
    """Show how far a copy is."""
    bar.draw(done / max(1, total), f"{size(done)} of {size(total)}")


def _files(placed: Placed, archive: ArchiveWriter, *, secrets: bool) -> tuple[list[Kept], list[str]]:
    """Add the installation's files; returns their lines, and which were left out."""
    from gateway.config.installation import FILE_BYTES_MAX, parts

    added: list[Kept] = []
    left_out: list[str] = []
    versions = sorted(path for path in (placed.config.places.state / RULE_VERSIONS).rglob("*") if path.is_file())
    for path, secret in [*parts(placed.config), *((path, False) for path in versions)]:
        if secret and not secrets:
            left_out.append(str(placed.shown(path)))
            continue
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
            mode = os.fstat(file.fileno()).st_mode & 0o777
        if len(content) > FILE_BYTES_MAX:
            raise GatewayError(f"{path}: larger than {size(FILE_BYTES_MAX)}: is this the right folder?")
        added.append(archive.add(placed.name(path), len(content), iter([content]), mode=mode, secret=secret))
    return added, left_out


@contextmanager
def _output(file: Path) -> Iterator[IO[bytes]]:
    """Open what a backup is written to; a file gets its name when all of it is on the disk."""
    from gateway.durable import replacing

    if file == STDOUT:
        if sys.stdout.isatty():
            raise GatewayError("a backup is nothing to read: name a file, or pipe it somewhere")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if file.exists() and not file.is_file():
        raise GatewayError(f"{file} is not a file")
    with replacing(file, 0o600, among=f".{os.getpid()}") as raw:
        yield raw


def _report(words: argparse.Namespace, manifest: Manifest) -> None:
    """Say what is in a backup; on standard error when the backup itself is on standard output."""
    from gateway.journal.archive import JOURNAL

    part = manifest.journal
    segments = [kept for kept in manifest.files if kept.name.startswith(f"{JOURNAL}/")]
    held = sum(kept.bytes for kept in segments)
    secrets = sum(kept.secret for kept in manifest.files)
    others = len(manifest.files) - len(segments)
    summary = {
        "file": str(words.file),
        "gateway": manifest.gateway,
        "made": manifest.made,
        "log_id": part.log_id,
        "epoch": part.epoch,
        "last_sequence": part.last_sequence,
        "segments": len(segments),
        "journal_bytes": held,
        "files": others,
        "secrets": secrets,
        "left_out": manifest.left_out,
        "unreadable_bytes": part.unreadable_bytes,
    }
    with redirect_stdout(sys.stderr if words.file == STDOUT else sys.stdout):
        if words.json:
            say_json(summary)
            return
        say(f"{words.file}: gateway {manifest.gateway} as of {manifest.made}", "bold")
        say(f"log {part.log_id} up to record {part.last_sequence:,}: {len(segments)} segments, {size(held)}")
        say(f"{others} other files, " + (f"{secrets} of them secret" if secrets else "none of them secret"))
        for path in manifest.left_out:
            say(f"left out, it is secret: {path}")
    if part.unreadable_bytes:
        complain(f"the disk refused {size(part.unreadable_bytes)} of the journal: they are zeros in the backup")
