"""`restore`: from a backup's file to an installation that goes on.

The file is read twice. First every hash is compared, and nothing is written but config files in a temporary folder, to
see what they say. Then the segments go into a folder beside the journal's place, which is started once (see
gateway/journal/restore.py); the other files are put in place, and last the journal gets its name. Until then a journal
that was there is as it was; then it is kept under another name, as is every file that is replaced.

Without `to` everything goes where it came from. With it, the config's folder becomes `to`, what was elsewhere goes
below it, and an overlay says where: a copy can be looked at without touching the original.

Root puts files into a folder as its owner: the gateway's user must be able to write them, and can lead root nowhere.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import durable
from gateway.actors import myself
from gateway.audit import leave
from gateway.bundles.ledger import folder_of
from gateway.cli.backup.restored_identity import Whose, placed
from gateway.clock import SystemClock, rfc3339
from gateway.config.load import read as read_config
from gateway.config.places import places
from gateway.errors import GatewayError
from gateway.history.file import NAME as HISTORY
from gateway.identity import TABLE, How
from gateway.journal.archive import CONFIG, ELSEWHERE, JOURNAL, BackupError, Kept, Manifest, Take, read
from gateway.journal.cipher import keys_of
from gateway.journal.disk import OsDisk
from gateway.journal.inspection import Inspection
from gateway.journal.journal import Journal
from gateway.journal.lock import Lock
from gateway.journal.options import JournalOptions
from gateway.journal.restore import Staging
from gateway.journal.segment import SEGMENT
from gateway.owner import as_owner
from gateway.secrets import Secret

if TYPE_CHECKING:
    from gateway.config.load import Config

OVERLAY: Final = "zz-restored.toml"
OLD_MAX: Final = 1000  # names tried for what is kept
SHOWN_MAX: Final = 5
FILES_BYTES_MAX: Final = 256 * 1024 * 1024  # all files but the journal's


class Restored(msgspec.Struct, kw_only=True):
    """What a restore did."""

    log_id: str
    epoch: int
    first_sequence: int  # of what will be appended next, at least
    journal: str
    config: str
    files: int
    kept: list[str] = []  # what was there, under its new name
    missing: list[str] = []  # secrets that the backup does not have and that are not there
    found: list[str] = []  # what the journal lacks, in sentences
    state: str = ""
    identity: str = ""  # who it is, when the backup says
    doubted: bool = False  # it is another machine, and nobody has decided what that means


def checked(file: Path) -> Manifest:
    """Read a backup and compare every hash. Raises BackupError."""
    return _read(file, lambda _name, _length, _pieces: None)


def restore(file: Path, to: Path | None, *, force: bool, how: How | None = None) -> Restored:
    """Put a backup back. Raises GatewayError or OSError: then nothing was changed, or what was there is beside it."""
    with tempfile.TemporaryDirectory(prefix="edge-gateway-restore-") as folder:
        look = _Look(Path(folder))
        manifest = _read(file, look.take)
        return _Placing(file, manifest, look, to.absolute() if to else None, force=force).run(how)


def _read(file: Path, take: Take) -> Manifest:
    try:
        with file.open("rb") as raw:
            return read(raw, take)
    except BackupError as error:
        raise BackupError(f"{file}: {error}; nothing was touched") from None


class _Look:
    """The files of a backup but its journal, unpacked to see what the config says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bytes = 0

    def take(self, name: str, length: int, pieces: Iterator[bytes]) -> None:
        """See `archive.Take`."""
        if name.startswith(f"{JOURNAL}/"):
            return
        self._bytes += length
        if self._bytes > FILES_BYTES_MAX:
            raise BackupError(f"more than {FILES_BYTES_MAX:,} bytes of other files")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(pieces))


class _Placing:
    """One restore, after its file was found to be whole."""

    def __init__(self, file: Path, manifest: Manifest, look: _Look, to: Path | None, *, force: bool) -> None:
        self._file = file
        self._manifest = manifest
        self._look = look
        self._to = to
        self._force = force
        came_from = Path(manifest.places["config"]).parent
        journal = Path(manifest.places["journal"])
        self._home = to or came_from
        inside = journal.is_relative_to(came_from)
        self._journal = self._home / journal.relative_to(came_from) if to and inside else journal
        if to and not inside:
            self._journal = to / "state" / "journal"
        self._others = [kept for kept in manifest.files if not kept.name.startswith(f"{JOURNAL}/")]
        self._kept: list[str] = []

    def run(self, how: How | None = None) -> Restored:
        """Do it."""
        self._refuse()
        options = self._options()
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            lock = self._lock()
            if lock is not None:
                stack.callback(lock.release)
            staging = self._journal.with_name(f".{self._journal.name}.restoring")
            _delete(staging)  # of a restore that was killed
            stack.callback(_delete, staging)
            started = self._stage(staging, options)
            for kept in self._others:
                self._put(kept)
            self._swap(staging)
        config = self._place(self._manifest.config)
        if self._to is not None:
            self._redirect(config)
        state = Path(self._manifest.places["state"])
        whose = placed(state, started.table(TABLE), how) if self._to is None else Whose()
        self._tell(config, started)
        return Restored(
            log_id=started.log_id,
            epoch=started.epoch,
            first_sequence=started.last_sequence + 1,
            journal=str(self._journal),
            config=str(config),
            files=len(self._others),
            kept=self._kept,
            state=str(state),
            identity=whose.identity,
            doubted=whose.doubted,
            found=list(started.recovery.lines()),
            missing=[path for path in map(str, self._secrets()) if not Path(path).exists()],
        )

    def _tell(self, config: Path, started: Journal) -> None:
        """Leave who did it for the first start, which puts it on the record; a restore does not fail for want of it."""
        with suppress(GatewayError, OSError):
            state = places(config).state
            now, actor = rfc3339(SystemClock().wall_ns()), myself()
            with as_owner(state):
                leave(state, "backup_restored", actor, now, file=self._file.name, epoch=started.epoch)

    def _refuse(self) -> None:
        """Look whether anything is in the way. Raises BackupError."""
        if self._force:
            return
        if any(name.endswith(SEGMENT) for name in OsDisk().names(self._journal)):
            raise BackupError(f"there is a journal in {self._journal}; --force replaces it, and keeps it under a name")
        if self._to is None and self._applied().is_dir():
            raise BackupError(f"a bundle was applied here ({self._applied()}); --force sets it aside under a name")
        different = [str(self._place(kept.name)) for kept in self._others if self._differs(kept)]
        if different:
            shown = ", ".join(different[:SHOWN_MAX]) + (" ..." if len(different) > SHOWN_MAX else "")
            raise BackupError(f"files that are there are not those of the backup; --force replaces them: {shown}")

    def _lock(self) -> Lock | None:
        """Keep gateways away from the journal that is replaced. Raises JournalError when one has it."""
        with as_owner(self._journal):
            return Lock.acquire(OsDisk(), self._journal) if self._journal.is_dir() else None

    def _stage(self, folder: Path, options: JournalOptions) -> Journal:
        """Put the journal together and start it once."""
        with as_owner(folder):
            staging = Staging(folder)
        wanted = {kept.name: kept for kept in self._manifest.files if kept.name.startswith(f"{JOURNAL}/")}

        def take(name: str, _length: int, pieces: Iterator[bytes]) -> None:
            if name in wanted:
                with as_owner(folder):
                    (folder / Path(name).name).unlink(missing_ok=True)
                    staging.add(Path(name).name, pieces, wanted[name])

        if _read(self._file, take) != self._manifest:
            raise BackupError(f"{self._file} changed while it was read; nothing was touched")
        epoch, sequence = self._reached(options)
        with as_owner(folder):
            return staging.start(self._manifest, options, SystemClock(), epoch=epoch, sequence=sequence)

    def _options(self) -> JournalOptions:
        """Return the journal's options as the backup's config says them."""
        config, _ = read_config(self._look.folder / self._manifest.config)
        if config is None:
            raise BackupError(f"{self._file}: its config cannot be read; nothing was touched")
        options = config.journal
        keys = [_in_memory(self._at_home(secret), n) for n, secret in enumerate((options.key, *options.old_keys))]
        options = msgspec.structs.replace(
            options, preallocate=False, key=keys[0], old_keys=tuple(secret for secret in keys[1:] if secret)
        )
        keys_of(options)  # before anything is made: without its key a journal cannot be started
        return options

    def _at_home(self, secret: Secret | None) -> Secret | None:
        """Return where a key is: in the backup, or else where the config means it once it is in place."""
        if secret is None or secret.place != "file":
            return secret
        looked, path = self._look.folder / CONFIG, Path(secret.name)
        if path.is_relative_to(looked):
            return secret if path.exists() else Secret("file", str(self._home / path.relative_to(looked)))
        inside = Path(self._look.folder, ELSEWHERE, *path.parts[1:])
        return Secret("file", str(inside)) if inside.exists() else secret

    def _reached(self, options: JournalOptions) -> tuple[int, int]:
        """Return epoch and sequence of the journal that is replaced, when it is the same log."""
        with suppress(GatewayError, OSError):
            there = Inspection(self._journal, align=options.align, keys=keys_of(options))
            if there.log_id == self._manifest.journal.log_id:
                return there.epoch, there.last_sequence
        return 0, 0

    def _place(self, name: str) -> Path:
        """Return where a file of the backup goes."""
        top, _, rest = name.partition("/")
        if top == CONFIG:
            return self._home / rest
        state = Path(self._manifest.places["state"])
        if self._to is not None and Path("/", rest).is_relative_to(state):
            return self._to / "state" / Path("/", rest).relative_to(state)
        return self._to / ELSEWHERE / rest if self._to is not None else Path("/", rest)

    def _differs(self, kept: Kept) -> bool:
        there = self._place(kept.name)
        return there.exists() and (not there.is_file() or there.read_bytes() != self._content(kept))

    def _content(self, kept: Kept) -> bytes:
        return (self._look.folder / kept.name).read_bytes()

    def _put(self, kept: Kept) -> None:
        """Put one file in place, durably; one that was there and is different is kept."""
        there = self._place(kept.name)
        if there.exists():
            if not self._differs(kept):
                return
            self._keep(there)
        content = self._content(kept)
        with as_owner(there.parent):
            self._write(there, content, kept.mode)

    def _write(self, there: Path, content: bytes, mode: int) -> None:
        there.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(there, content, mode)

    def _swap(self, staging: Path) -> None:
        """Give the journal its name."""
        if self._journal.exists():
            self._keep(self._journal)
        with as_owner(self._journal.parent):
            staging.rename(self._journal)
            durable.sync_folder(self._journal.parent)
        if self._to is None:
            state = Path(self._manifest.places["state"])
            with as_owner(state):
                (state / HISTORY).unlink(missing_ok=True)  # it is of the journal before
            if self._applied().is_dir():
                self._keep(self._applied())  # what is restored counts, as it is in the config's folder

    def _applied(self) -> Path:
        return folder_of(Path(self._manifest.places["state"]))

    def _keep(self, path: Path) -> None:
        """Rename what is there."""
        for number in range(1, OLD_MAX):
            old = path.with_name(f"{path.name}.old-{number}")
            if not old.exists():
                with as_owner(path.parent):
                    path.rename(old)
                self._kept.append(str(old))
                return
        raise BackupError(f"{path}: there are {OLD_MAX} old ones already; remove some")

    def _redirect(self, file: Path) -> None:
        """Say in an overlay where things are, as far as the config says something else."""
        config, _ = read_config(file)
        if config is None:
            return
        lines = list(self._overlay(config))
        if lines:
            overlay = file.parent / "gateway.d" / OVERLAY
            overlay.parent.mkdir(exist_ok=True)
            overlay.write_text(
                "# Written by `edge-gateway restore --to`: this copy is here.\n" + "\n".join(lines) + "\n"
            )

    def _overlay(self, config: Config) -> Iterator[str]:
        assert self._to is not None
        if config.places.journal != self._journal:
            yield f"journal.folder = {_text(self._journal.relative_to(self._to))}"
        if not config.places.state.is_relative_to(self._to):
            yield 'gateway.state = "state"'
            (self._to / "state").mkdir(exist_ok=True)
        if not config.places.socket.is_relative_to(self._to):
            yield 'api.socket = "state/api.sock"'
        profiles = [self._moved(path) for path in config.gateway.profiles]
        if profiles != config.gateway.profiles:
            yield f"gateway.profiles = [{', '.join(map(_text, profiles))}]"
        for key, path in (("gateway.devices", config.gateway.devices), ("rules.folder", config.rules.folder)):
            if self._moved(path) != path:
                yield f"{key} = {_text(self._moved(path))}"

    def _moved(self, path: Path) -> Path:
        """Return where a file or folder from elsewhere was put, relative to the config's folder."""
        assert self._to is not None
        moved = Path(ELSEWHERE, *path.parts[1:])
        return moved if not path.is_relative_to(self._to) and (self._to / moved).exists() else path

    def _secrets(self) -> Iterator[Path]:
        """Yield where the secrets are wanted that the backup does not have."""
        came_from = Path(self._manifest.places["config"]).parent
        for name in self._manifest.left_out:
            path = Path(name)
            yield self._home / path.relative_to(came_from) if path.is_relative_to(came_from) else path


def _text(path: Path) -> str:
    """Write a path as TOML."""
    return json.dumps(str(path), ensure_ascii=False)


def _in_memory(secret: Secret | None, number: int) -> Secret | None:
    """Read a key as who types: the journal is started as its owner, who may not. Raises ConfigError."""
    if secret is None:
        return None
    name = f"EDGE_GATEWAY_RESTORED_KEY_{number}"
    os.environ[name] = secret()
    return Secret("env", name)


def _delete(folder: Path) -> None:
    """Remove what a restore has made for itself."""
    with as_owner(folder.parent):
        shutil.rmtree(folder, ignore_errors=True)
