"""Which configuration counts: the folder of the config, or a version that was applied; and what is being tried.

::

    STATE/applied/now.json        the ledger: one file, replaced whole by a rename
    STATE/applied/00000007/       a version: gateway.toml, gateway.d, devices.toml, rules, profiles
    STATE/applied/lock            whoever changes the ledger has it

What counts changes with the rename and at no other moment, so a power cut leaves the old version or the new one, never
a mix.  A version is on the disk, all of it, before the ledger names it.

A version that is tried has `Trial.left_s` to show that the cloud takes its events.  The time is the boot's, which
never steps; over a reboot what was left counts on, less `BOOT_COST_S`: nobody knows how long the power was off.  After
`STARTS_MAX` starts without success the version before counts again, also when each ended before it could say so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from gateway import durable
from gateway.clock import NS_PER_S, Clock, rfc3339
from gateway.codes.service import APPLY_CLOUD, APPLY_START
from gateway.config.places import places
from gateway.errors import GatewayError
from gateway.owner import as_owner

FORMAT: Final = 1
FOLDER: Final = "applied"  # in the state folder
NAME: Final = "now.json"
LOCK: Final = "lock"
CONFIG: Final = "gateway.toml"  # of every version
LEDGER_BYTES_MAX: Final = 64 * 1024
STARTS_MAX: Final = 3  # of a version that is tried
BOOT_COST_S: Final = 30.0

Verdict = Literal["confirmed", "reverted", "left"]


class ApplyError(GatewayError):
    """A configuration cannot be applied, confirmed or reverted; what counted still counts."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration that was put on this machine."""

    name: str  # of its folder
    bundle: str  # hash of what it was made of
    site: str = ""
    origin: str = ""  # what was named: a folder or an archive
    actor: str = ""
    made: str = ""  # when it was put here, RFC 3339


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """How long the current version has left to show that it works."""

    confirm_s: float
    left_s: float
    starts: int = 0
    boot_id: str = ""  # of the boot in which `end_ns` means something; empty: not started yet
    end_ns: int = 0  # time of that boot


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the last trial ended."""

    verdict: Verdict
    version: Version
    why: str
    code: str = ""  # fault code, when it went wrong
    at: str = ""
    told: bool = False  # there is an audit record of it


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What counts. A version that is None is the folder of the config itself."""

    format: int = FORMAT
    base: str = ""  # the config that people name
    current: Version | None = None
    before: Version | None = None  # what a revert goes back to
    trial: Trial | None = None  # of `current`
    outcome: Outcome | None = None
    count: int = 0  # versions ever put here


# ---- decisions ---------------------------------------------------------------------------------------


def begun(ledger: Ledger, version: Version, confirm_s: float) -> Ledger:
    """Let a version count from the next start on, for a try. Raises ApplyError while another one is tried."""
    _refuse_while_tried(ledger)
    trial = Trial(confirm_s=confirm_s, left_s=confirm_s)
    replaced = msgspec.structs.replace(ledger, current=version, before=ledger.current, trial=trial)
    return msgspec.structs.replace(replaced, count=ledger.count + 1)


def _refuse_while_tried(ledger: Ledger) -> None:
    if ledger.trial is not None and ledger.current is not None:
        raise ApplyError(
            f"{named(ledger.current)} is still being tried; type: edge-gateway apply --confirm-now or --revert"
        )


def based(ledger: Ledger, base: Path) -> Ledger:
    """Note the config that people name for what is applied."""
    return msgspec.structs.replace(ledger, base=str(base.absolute()))


def started(ledger: Ledger, clock: Clock) -> Ledger:
    """Count a start; a version whose time or starts are used up is no longer the one that counts."""
    trial = ledger.trial
    if trial is None:
        return ledger
    if trial.starts >= STARTS_MAX:
        return reverted(
            ledger, f"it was started {trial.starts} times and did not reach the cloud", str(APPLY_START), clock
        )
    left_s, now_ns = trial.left_s, clock.boot_ns()
    if trial.boot_id == clock.boot_id():
        left_s = (trial.end_ns - now_ns) / NS_PER_S
    elif trial.boot_id:
        left_s -= BOOT_COST_S
    if left_s <= 0:
        return reverted(ledger, f"the cloud was not reached in {trial.confirm_s:g} s", str(APPLY_CLOUD), clock)
    armed = msgspec.structs.replace(
        trial, left_s=left_s, starts=trial.starts + 1, boot_id=clock.boot_id(), end_ns=now_ns + int(left_s * NS_PER_S)
    )
    return msgspec.structs.replace(ledger, trial=armed)


def left_s(ledger: Ledger, clock: Clock) -> float | None:
    """Return the seconds that the trial has left in this boot; None: nothing is tried."""
    if ledger.trial is None:
        return None
    if ledger.trial.boot_id != clock.boot_id():
        return ledger.trial.left_s
    return max(0.0, (ledger.trial.end_ns - clock.boot_ns()) / NS_PER_S)


def passed(ledger: Ledger, clock: Clock) -> Ledger:
    """Note how much is left, for a boot that comes without warning."""
    left = left_s(ledger, clock)
    if ledger.trial is None or left is None:
        return ledger
    return msgspec.structs.replace(ledger, trial=msgspec.structs.replace(ledger.trial, left_s=left))


def confirmed(ledger: Ledger, why: str, clock: Clock) -> Ledger:
    """Let what is tried count for good. Raises ApplyError when nothing is."""
    if ledger.trial is None or ledger.current is None:
        raise ApplyError("nothing is being tried")
    outcome = Outcome(verdict="confirmed", version=ledger.current, why=why, at=rfc3339(clock.wall_ns()))
    return msgspec.structs.replace(ledger, trial=None, outcome=outcome)


def reverted(ledger: Ledger, why: str, code: str, clock: Clock) -> Ledger:
    """Let the version before count again. Raises ApplyError when nothing was applied."""
    if ledger.current is None:
        raise ApplyError(f"nothing was applied: {ledger.base or 'the config'} itself counts")
    outcome = Outcome(verdict="reverted", version=ledger.current, why=why, code=code, at=rfc3339(clock.wall_ns()))
    return msgspec.structs.replace(ledger, current=ledger.before, before=None, trial=None, outcome=outcome)


def told(ledger: Ledger) -> Ledger:
    """Note that there is an audit record of the outcome."""
    if ledger.outcome is None:
        return ledger
    return msgspec.structs.replace(ledger, outcome=msgspec.structs.replace(ledger.outcome, told=True))


def named(version: Version | None) -> str:
    """Name a version for a person."""
    if version is None:
        return "the config's own folder"
    return f"bundle {version.bundle[:12]}" + (f" of site {version.site}" if version.site else "")


# ---- the file ----------------------------------------------------------------------------------------


def folder_of(state: Path) -> Path:
    """Return where versions are."""
    return state / FOLDER


def read(state: Path) -> Ledger:
    """Read the ledger; an empty one when nothing was ever applied. Raises ApplyError when it cannot be read."""
    file = folder_of(state) / NAME
    try:
        with file.open("rb") as raw:
            text = raw.read(LEDGER_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return Ledger()
    except OSError as error:
        raise ApplyError(f"{file}: {error.strerror or error}") from None
    try:
        found = msgspec.json.decode(text, type=Ledger)
    except msgspec.MsgspecError as error:
        raise ApplyError(f"{file}: it cannot be read: {error}") from None
    if found.format > FORMAT:
        raise ApplyError(f"{file}: a newer version wrote it (format {found.format}); this one reads {FORMAT}")
    return found


def change(state: Path, what: Callable[[Ledger], Ledger]) -> Ledger:
    """Change the ledger, durably and at once; returns it as it is then. Raises ApplyError, OSError."""
    with _locked(state):
        before = read(state)
        after = what(before)
        if after != before:
            write(state, after)
        return after


def write(state: Path, ledger: Ledger) -> None:
    """Replace the file. Raises OSError."""
    durable.replace(folder_of(state) / NAME, msgspec.json.format(msgspec.json.encode(ledger), indent=1) + b"\n")


@contextmanager
def alone(state: Path) -> Iterator[Ledger]:
    """Be the only one who puts a version on this machine, and give the ledger to begin with.

    Raises ApplyError while somebody else does, or while something is tried.
    """
    import fcntl  # the command line starts where there is none

    with as_owner(state):
        handle = os.open(_made(state), os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ApplyError(
                "another apply is under way: wait for it, then type: edge-gateway apply --status"
            ) from None
        ledger = read(state)
        _refuse_while_tried(ledger)
        yield ledger
    finally:
        os.close(handle)


def _made(state: Path) -> Path:
    folder = folder_of(state)
    if not folder.is_dir():
        folder.mkdir(mode=0o750, exist_ok=True)
        durable.sync_folder(state)
    return folder


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    import fcntl

    with (_made(state) / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# ---- what others ask ---------------------------------------------------------------------------------


def counting(state: Path, name: str) -> bool:
    """Return whether a version counts; a ledger that cannot be read may say so."""
    try:
        current = read(state).current
    except ApplyError:
        return True
    return current is not None and current.name == name


def trying(state: Path) -> bool:
    """Return whether something is tried; a ledger that cannot be read may say so."""
    try:
        return read(state).trial is not None
    except ApplyError:
        return True


def config_of(file: Path) -> Path:
    """Return the file that counts for a config that was named: the applied version's, or the file itself."""
    state = places(file).state
    try:
        ledger = read(state)
    except ApplyError:
        return file  # `run` says it
    if ledger.current is None or ledger.base != str(file.absolute()):
        return file
    return folder_of(state) / ledger.current.name / CONFIG
