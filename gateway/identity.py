"""Who this gateway is: an id made at first boot, bound to the hardware, so that a card that was copied is noticed.

``identity.json`` in the state folder, and the row "gateway" of the journal's table "identity", hold an `Identity`. It
is bound by facts of the machine (hashed with the id, so they name nothing to who reads them): several, so that a new
network adapter or a new card is no stranger:

    board    serial number of the device tree or of DMI
    mac      addresses burnt into network adapters, each one
    card     CID of the SD card or eMMC that the state folder is on
    machine  /etc/machine-id; it is copied with a card, so it binds nothing, and only says more

What they say at a start (`judge`):

    same      the board or an address is the one it was; what else changed is bound anew
    moved     another board, the same card: one card is in one place, so nobody else has this identity
    other     another board, another card: this is a copy of a card or of a state folder, or replaces a broken machine
    unbound   nothing to compare: a container, a board without a serial number

For `moved` and `other` a person is asked: ``edge-gateway identity adopt --replace`` (the old machine is gone, this
one is it from now on) or ``--copy`` (both go on: this one gets an id and a journal of its own). Until then events are
taken, kept and sent; the journal's epoch has leapt by a random number (journal/leap.py), so no id is given out twice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from gateway import durable
from gateway.errors import GatewayError

NAME: Final = "identity.json"
TABLE: Final = "identity"  # in the journal
KEY: Final = "gateway"
ID_BYTES: Final = 8
MACS_MAX: Final = 8  # adapters that are looked at
FACT_BYTES_MAX: Final = 4096  # of a file that holds a fact
_PERMANENT: Final = "0"  # addr_assign_type of an address that is burnt in (net/ethernet: NET_ADDR_PERM)
_NONE: Final = frozenset({"", "0", "none", "unknown", "default string", "to be filled by o.e.m.", "not specified"})

Verdict = Literal["same", "moved", "other", "unbound"]
How = Literal["replace", "copy"]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine is, hashed; empty where nobody can say."""

    board: str = ""
    card: str = ""
    machine: str = ""
    mac: tuple[str, ...] = ()


class Undecided(msgspec.Struct, frozen=True, kw_only=True):
    """A start on a machine that is not the one it was bound to."""

    verdict: Verdict
    since: str  # RFC 3339, as far as that machine knew
    facts: Facts


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a gateway is."""

    id: str
    made: str  # RFC 3339, as far as the machine knew
    facts: Facts = Facts()
    log_id: str = ""  # of its journal, once that is there
    copied_from: str = ""  # the identity it was a copy of
    undecided: Undecided | None = None
    begin_anew: str = ""  # log id of a journal that is to be set aside at the next start: it is another gateway's


def read_facts(state: Path, salt: str, root: Path = Path("/")) -> Facts:
    """Read what this machine is; what cannot be read is left out."""

    def fact(text: str) -> str:
        plain = text.strip().strip("\0").lower()
        known = plain not in _NONE and any(letter not in "0-:. " for letter in plain)
        return hashlib.blake2b(plain.encode(), key=salt.encode()[:64], digest_size=8).hexdigest() if known else ""

    def first(*paths: str) -> str:
        return next((found for path in paths if (found := fact(_read(root / path)))), "")

    return Facts(
        board=first(
            "proc/device-tree/serial-number",
            "sys/firmware/devicetree/base/serial-number",
            "sys/class/dmi/id/product_uuid",
            "sys/class/dmi/id/board_serial",
            "sys/class/dmi/id/product_serial",
        ),
        card=fact(of_card(state, "cid", root)),
        machine=first("etc/machine-id", "var/lib/dbus/machine-id"),
        mac=tuple(sorted(filter(None, map(fact, _macs(root))))),
    )


def judge(bound: Facts, now: Facts) -> Verdict:
    """Say what a start on a machine means for who was bound to another, or the same."""
    boards = bool(bound.board and now.board)
    macs = bool(bound.mac and now.mac)
    if (boards and bound.board == now.board) or (macs and not set(bound.mac).isdisjoint(now.mac)):
        return "same"
    if bound.card and bound.card == now.card:
        return "moved" if boards or macs else "same"
    return "other" if boards or macs else "unbound"


def load(state: Path) -> Identity | None:
    """Read who this is; None: nobody yet. Raises GatewayError for a file that is not one."""
    try:
        return msgspec.json.decode((state / NAME).read_bytes(), type=Identity)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise GatewayError(f"{state / NAME}: {error}") from error


def save(state: Path, identity: Identity) -> None:
    """Write it, whole or not at all. Raises OSError."""
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    durable.replace(state / NAME, msgspec.json.format(msgspec.json.encode(identity), indent=2) + b"\n")


def first_boot(state: Path, made: str, root: Path = Path("/")) -> Identity:
    """Make an identity for a machine that has none; nothing is written."""
    name = os.urandom(ID_BYTES).hex()
    return Identity(id=name, made=made, facts=read_facts(state, name, root))


def met(identity: Identity, now: Facts, since: str) -> Identity:
    """Return an identity as it is after a start on the machine with these facts."""
    verdict = judge(identity.facts, now)
    if verdict in ("same", "unbound"):
        bound = now if verdict == "same" or identity.facts == Facts() else identity.facts
        return msgspec.structs.replace(identity, facts=bound, undecided=None)
    known = identity.undecided
    if known is not None and judge(known.facts, now) == "same":
        return identity
    return msgspec.structs.replace(identity, undecided=Undecided(verdict=verdict, since=since, facts=now))


def adopted(identity: Identity, how: How, now: Facts, made: str) -> Identity:
    """Return an identity after a person has decided. A copy is another gateway from its next start on."""
    if how == "replace":
        return msgspec.structs.replace(identity, facts=now, undecided=None)
    return Identity(
        id=os.urandom(ID_BYTES).hex(), made=made, copied_from=identity.id, begin_anew=identity.log_id, log_id=""
    )


def adopt(state: Path, how: How, made: str, root: Path = Path("/")) -> Identity:
    """Decide, in the state folder of a gateway that does not run; its next start goes by it. Raises GatewayError."""
    found = load(state)
    if found is None:
        raise GatewayError(f"{state / NAME}: there is no identity yet; it is made at the first start")
    decided = adopted(found, how, read_facts(state, found.id, root), made)
    if how == "copy":
        decided = msgspec.structs.replace(decided, facts=read_facts(state, decided.id, root))
    try:
        save(state, decided)
    except OSError as error:
        raise GatewayError(f"{state / NAME}: {error.strerror or error}") from error
    return decided


def said(identity: Identity) -> Mapping[str, object]:
    """Return what people are shown."""
    undecided = identity.undecided
    bound = "unbound" if identity.facts == Facts() else "bound"
    return {
        "id": identity.id,
        "made": identity.made,
        "log_id": identity.log_id,
        "bound_by": [name for name in ("board", "mac", "card", "machine") if getattr(identity.facts, name)],
        "copied_from": identity.copied_from or None,
        "state": undecided.verdict if undecided else bound,
        "since": undecided.since if undecided else None,
    }


def of_card(folder: Path, name: str, root: Path = Path("/")) -> str:
    """Return what the SD card or eMMC that a folder is on says of itself (`cid`, `life_time`); nothing for others."""
    for place in (folder, *folder.parents):
        try:
            device = place.stat().st_dev
        except OSError:
            continue
        block = root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
        return _read(block / "device" / name) or _read(block.resolve().parent / "device" / name)
    return ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(FACT_BYTES_MAX).decode("latin-1")
    except OSError:
        return ""


def _macs(root: Path) -> list[str]:
    """Return the addresses of adapters that are hardware, and burnt in: no bridges, containers, made up ones."""
    try:
        adapters = sorted((root / "sys/class/net").iterdir())[:MACS_MAX]
    except OSError:
        return []
    return [
        _read(adapter / "address")
        for adapter in adapters
        if (adapter / "device").exists() and _read(adapter / "addr_assign_type").strip() in ("", _PERMANENT)
    ]
