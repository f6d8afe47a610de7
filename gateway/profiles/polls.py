"""[[poll]] of a profile: what is asked of a unit, and the messages its answers are.

``from = "state/4"`` names a poll and a register, numbered as on the wire. Here such a profile becomes one without
polls: each poll is a message of the topic ``<source>/<address>/<poll>`` whose payload is the answer's bytes, and each
field reads a member of it. So an answer is decoded by what was asked, which Modbus needs: it does not say itself what
it is about. Everything behind that (maps, units, conditions, reports) is the language as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from gateway.document import Place
from gateway.errors import probably_meant
from gateway.polling.heatmiser import BLOCK_BYTES_MAX
from gateway.polling.rtu import READ_BITS, REGISTERS_MAX
from gateway.profiles import language as lang
from gateway.profiles.check import Check, pointers_of
from gateway.profiles.formats.registers import FORMS, Member, Registers, width
from gateway.profiles.times import duration_ns

PRESENCE, WRITE = "presence", "write"  # last words of topics that are no polls
EVERY_NS_MIN = 50_000_000
AFTER_FAILURES = 3


class Asking(NamedTuple):
    """A protocol by which units can be asked."""

    step: int  # bytes that one number of a register counts
    reads: tuple[int, ...]  # functions of a poll
    writes: tuple[int, ...]  # functions of a write
    plain: str  # the type of a register as it stands
    most: int  # registers of one poll


ASKINGS = {
    "modbus-rtu": Asking(2, (1, 2, 3, 4), (5, 6, 16), "uint16", REGISTERS_MAX),
    "heatmiser-v3": Asking(1, (0,), (1,), "uint8", BLOCK_BYTES_MAX),
}


def protocol_of(link: lang.Link) -> str:
    """Return how the units of a link are asked; "" when they are not."""
    config = getattr(type(link.framing), "__struct_config__", None)
    tag = str(config.tag) if config is not None else ""
    return link.asks or (tag if tag in ASKINGS else "")


def asking_of(profile: lang.Profile) -> Asking:
    """Return the protocol of a profile with polls; Modbus where a fault was found."""
    return ASKINGS.get(protocol_of(profile.link), ASKINGS["modbus-rtu"])


class Spot(NamedTuple):
    """A register of a poll."""

    poll: lang.Poll
    at: int  # from the poll's start


def spot_of(profile: lang.Profile, text: str) -> Spot:
    """Find what ``poll/register`` names. ValueError says why it is none."""
    polls = {poll.name: poll for poll in profile.poll}
    name, slash, number = text.partition("/")
    poll = polls.get(name)
    if not name or not slash or not number.isdecimal():
        raise ValueError(f"{text!r} is no value of a poll: write <poll>/<register>, as in 'state/4'")
    if poll is None:
        near = probably_meant(name, polls)
        raise ValueError(f"there is no poll {name!r}" + (f" ({near})" if near else ""))
    at = int(number) - poll.start
    if not 0 <= at < poll.count:
        raise ValueError(f"{number} is not asked by the poll {name!r}: {poll.start} to {poll.start + poll.count - 1}")
    return Spot(poll, at)


def without_polls(check: Check, profile: lang.Profile) -> lang.Profile:
    """Return the profile with a message for each poll. Faults are noted."""
    if not profile.poll:
        return profile
    return _Rewriting(check, profile).profile_without()


class _Rewriting:
    """Rewrites one profile; remembers what is read of each poll."""

    def __init__(self, check: Check, profile: lang.Profile) -> None:
        self.check, self.profile = check, profile
        self.asking = asking_of(profile)
        self.members: dict[str, dict[str, Member]] = {poll.name: {} for poll in profile.poll}

    def profile_without(self) -> lang.Profile:
        profile = self.profile
        self._check_link()
        for i, poll in enumerate(profile.poll):
            self._check_poll(poll, ("poll", i))
        fields = [self._field(field, ("field", i)) for i, field in enumerate(profile.field)]
        read = {field.group for field in fields}
        for i, poll in enumerate(profile.poll):
            if poll.name not in read:
                self.check.fault(("poll", i), f"no field reads the poll {poll.name!r}")
        messages = [self._message(poll) for poll in profile.poll if poll.name in read]
        return msgspec.structs.replace(
            profile, field=fields, message=[*profile.message, *messages], availability=self._availability()
        )

    def _check_link(self) -> None:
        if self.profile.link.kind != "serial" or not protocol_of(self.profile.link):
            self.check.fault(("link",), f"[[poll]] needs a serial link that `asks` by one of {', '.join(ASKINGS)}")
        if self.profile.message:
            self.check.fault(("message", 0), "a profile has [[poll]] or [[message]], not both")
        self.check.attempt(("link", "timeout"), duration_ns, self.profile.link.timeout)
        if self.profile.link.pause:
            self.check.attempt(("link", "pause"), duration_ns, self.profile.link.pause)

    def _check_poll(self, poll: lang.Poll, at: Place) -> None:
        every = self.check.attempt((*at, "every"), duration_ns, poll.every)
        if every is not None and every < EVERY_NS_MIN:
            self.check.fault((*at, "every"), f"{poll.every!r} is too often: 50ms or more")
        if poll.function not in self.asking.reads:
            self.check.fault((*at, "function"), f"function {poll.function} is none of {self.asking.reads}")
        if poll.function not in READ_BITS and poll.count > self.asking.most:
            self.check.fault((*at, "count"), f"one request brings at most {self.asking.most} registers")
        if poll.start + poll.count > 65_536:
            self.check.fault((*at, "count"), "registers end at 65535")
        if poll.name in (PRESENCE, WRITE):
            self.check.fault((*at, "name"), f"{poll.name!r} is taken: choose another name")
        if [each.name for each in self.profile.poll].count(poll.name) > 1:
            self.check.fault((*at, "name"), f"two polls are called {poll.name!r}")

    def _message(self, poll: lang.Poll) -> lang.Message:
        size = (poll.count + 7) // 8 if poll.function in READ_BITS else self.asking.step * poll.count
        form: Any = Registers(bytes=size, members=tuple(self.members[poll.name].values()))
        return lang.Message(topics=[f"{{bus}}/{{address}}/{poll.name}"], format=form, fields=poll.name)

    def _availability(self) -> lang.Availability:
        said = self.profile.availability or lang.Availability()
        for key in ("map", "topics"):
            if getattr(said, key):
                self.check.fault(("availability", key), f"a polled unit has no {key!r}: write after_failures")
        return msgspec.structs.replace(
            said,
            map={"online": True, "offline": False},
            topics=[f"{{bus}}/{{address}}/{PRESENCE}"],
            after_failures=said.after_failures or AFTER_FAILURES,
        )

    # -- fields --------------------------------------------------------------------------------------------

    def _field(self, field: lang.Field, at: Place) -> lang.Field:
        """Rewrite a field; all it reads has to be of one answer."""
        if field.group:
            self.check.fault((*at, "group"), "the fields of polls have no groups: each is read by its own poll")
        used: list[str] = []
        kind = field.type if field.type in _REGISTER_TYPES else None
        changed: dict[str, Any] = {
            "source": [self._pointer(one, (*at, "from"), used, field, kind) for one in pointers_of(field.source)],
            "type": _type(field, None if kind else field.type),
            "null": _signed(field.null, kind),
            "when": list(self._conditions(field.when, (*at, "when"), used)),
            "force": [
                msgspec.structs.replace(force, when=self._condition(force.when, (*at, "force"), used))
                for force in field.force
            ],
        }
        if field.valid_if:
            changed["valid_if"] = self._condition(field.valid_if, (*at, "valid_if"), used)
        if field.unit_from:
            path = [self._plain(one, (*at, "unit_from"), used) for one in pointers_of(field.unit_from.source)]
            changed["unit_from"] = msgspec.structs.replace(field.unit_from, source=path)
        if len(set(used)) > 1:
            self.check.fault(at, f"a field reads one poll, not {' and '.join(sorted(set(used)))}: they come apart")
        return msgspec.structs.replace(field, group=used[0] if used else self.profile.poll[0].name, **changed)

    def _conditions(self, conditions: Iterable[lang.Condition], at: Place, used: list[str]) -> Iterable[lang.Condition]:
        return (self._condition(wanted, at, used) for wanted in conditions)

    def _condition(self, wanted: lang.Condition, at: Place, used: list[str]) -> lang.Condition:
        if wanted.path is None:  # asks for what was learned
            return wanted
        return msgspec.structs.replace(wanted, path=self._plain(wanted.path, at, used))

    def _plain(self, text: str, at: Place, used: list[str]) -> str:
        """Return the pointer to a register as it stands: one of a condition or a unit."""
        return self._pointer(text, at, used, None, None)

    def _pointer(self, text: str, at: Place, used: list[str], field: lang.Field | None, kind: str | None) -> str:
        """Return the pointer to a value in the document of its poll, and have it read."""
        spot = self.check.attempt(at, spot_of, self.profile, text)
        if spot is None:
            return "/none"
        poll = spot.poll
        used.append(poll.name)
        bits, step = poll.function in READ_BITS, self.asking.step
        found: Any = kind or ("bit" if bits else self.asking.plain)
        if bits is not (found == "bit"):
            self.check.fault((*at[:2], "type"), f"the poll {poll.name!r} brings {'bits' if bits else 'registers'}")
            return "/none"
        if not width(found, step):
            self.check.fault((*at[:2], "type"), f"{found} is smaller than a register: use a mask")
        if spot.at + width(found, step) > poll.count:
            self.check.fault(at, f"{text!r} takes {width(found, step)} registers, the poll {poll.name!r} ends before")
        words = (field.words if field else None) or poll.words
        mask = (field.mask if field else None) or 0
        if mask and (found.startswith(("int", "float")) or found == "bit"):
            self.check.fault((*at[:2], "mask"), f"a mask is for unsigned registers, not {found}")
        name = ":".join(
            [text.partition("/")[2], found, *([words] if width(found, step) > 1 else []), *([hex(mask)] * bool(mask))]
        )
        self.members[poll.name][name] = Member(name, spot.at, found, words, mask, step)
        return f"/{name}"


def _type(field: lang.Field, said: Any) -> Any:
    """Return what a field is behind its registers: one of the profile's own (``ext.``) is a number."""
    return "number" if said is None and not field.map and field.name.startswith("ext.") else said


_REGISTER_TYPES = frozenset({*FORMS, "bit"})


def _signed(values: list[Any], kind: str | None) -> list[Any]:
    """Return "unknown" values as a signed type reads them: manuals write 65535 and mean what is -1 then."""
    if kind is None or not kind.startswith("int"):
        return values
    top = 1 << (int(kind[3:]) - 1)
    return [v - 2 * top if isinstance(v, int) and not isinstance(v, bool) and top <= v < 2 * top else v for v in values]
