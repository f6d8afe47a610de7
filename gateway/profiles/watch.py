"""What time alone makes of devices: a held value is due, an impulse is over, silence is offline.

`Watch.look` is called once a second with two clocks: the wall (of events) and the time since boot, which never steps.
Silence and impulses are measured by the latter, so no clock that jumps makes a device go offline, or all of them.
After a restart every device has its whole time again: nothing about it is journalled but what came of it, and a start
makes no storm of devices that were only silent because nobody listened.

Bounds: one row a device with a `heartbeat`, one a field with an `auto_reset` that is true.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.clock import NS_PER_S
from gateway.event import Event
from gateway.profiles.bind import BoundField, types_of
from gateway.profiles.context import Context, Decoded
from gateway.profiles.pointer import ABSENT
from gateway.profiles.report import NOTES, Known, Policy, accept, notes_of
from gateway.profiles.vocabulary import FIELDS, KIND_OF_CLASS, Meaning, meaning

ONLINE = FIELDS["online"]


class _Impulse(NamedTuple):
    """A field that is true and will be false."""

    due_ns: int  # since boot
    field: BoundField


class Watch:
    """What waits for its time among the devices of one source."""

    def __init__(self, context: Context) -> None:
        """Take up what waited when the gateway was stopped."""
        self._context = context
        self._boot_ns = 0  # of the last look; 0: there was none
        self._look_at_ns = 0
        self._held: set[tuple[str, str]] = set()
        self._heard: dict[str, tuple[int, int]] = {}  # subject -> (since boot, heartbeat)
        self._impulses: dict[tuple[str, str], _Impulse] = {}
        for subject, known in context.values.items():
            if subject.startswith(f"{context.source}/"):
                self._resume(subject, known)

    def _resume(self, subject: str, known: Known) -> None:
        notes = known.get(NOTES, {})
        self._held.update((subject, name) for name in notes.get("pending", ()))
        profile = self._context.catalogue.profiles.get(notes.get("profile", ""))
        if profile is not None and profile.silence_ns and not notes.get("silent"):
            self._heard[subject] = (0, profile.silence_ns)
        for name in notes.get("resets", ()):
            self._arm(subject, field_of(self._context, subject, name, notes))

    # -- told by decoding ----------------------------------------------------------------------------------

    def hold(self, subject: str, name: str) -> None:
        """Take note of a value that a minimum interval holds back."""
        self._held.add((subject, name))

    def impulse(self, subject: str, known: Known, field: BoundField, value: Any) -> None:
        """Take note of a value of a field with an `auto_reset`: true begins its time anew, anything else ends it."""
        if value is True:
            self._arm(subject, field)
            resets = notes_of(known).setdefault("resets", [])
            if field.name not in resets:
                resets.append(field.name)
        elif self._impulses.pop((subject, field.name), None) is not None:
            notes_of(known)["resets"].remove(field.name)

    def _arm(self, subject: str, field: BoundField) -> None:
        due = self._boot_ns + field.reset_ns
        self._impulses[subject, field.name] = _Impulse(due, field)
        self._look_at_ns = min(self._look_at_ns, due)

    def heard(self, subject: str, known: Known, silence_ns: int, when: int, out: Decoded) -> None:
        """Take note of a sign of life; a device that was offline because it was silent is online again."""
        self._heard[subject] = (self._boot_ns, silence_ns)
        self._look_at_ns = min(self._look_at_ns, self._boot_ns + silence_ns)
        if known.get("online") is None:
            known["online"] = True
            if subject not in out.changed:
                out.changed.append(subject)
        elif known[NOTES].pop("silent", None):
            known["online"] = True
            out.changed.append(subject)
            out.events.append(self._online(subject, when, {"online": True, "previous": False}))

    # -- told by the clock ---------------------------------------------------------------------------------

    def look(self, now_ns: int, boot_ns: int, out: Decoded) -> None:
        """Do what is due. Cheap when nothing is."""
        if self._held:
            self._release(now_ns, out)
        if not self._boot_ns:  # nobody knew the time when these began
            self._heard = {subject: (boot_ns, silence) for subject, (_, silence) in self._heard.items()}
            self._impulses = {key: _Impulse(boot_ns + one.due_ns, one.field) for key, one in self._impulses.items()}
            self._look_at_ns = 0
        self._boot_ns = boot_ns
        if boot_ns < self._look_at_ns or not (self._heard or self._impulses):
            return
        for key, impulse in list(self._impulses.items()):
            if impulse.due_ns <= boot_ns:
                del self._impulses[key]
                self._reset(key[0], impulse.field, now_ns, out)
        for subject, (since, silence_ns) in list(self._heard.items()):
            if boot_ns - since >= silence_ns + NS_PER_S:  # a look is that coarse
                del self._heard[subject]
                self._silent(subject, silence_ns, now_ns, out)
        due = [since + silence for since, silence in self._heard.values()]
        due += [impulse.due_ns for impulse in self._impulses.values()]
        self._look_at_ns = min(due, default=0)

    def _release(self, now_ns: int, out: Decoded) -> None:
        """Report held values whose interval is over. The interval is the profile's; after a restart it is over."""
        context = self._context
        for subject, name in list(self._held):
            known = context.values.get(subject, {})
            notes = known.get(NOTES, {})
            if name not in notes.get("pending", {}):
                self._held.discard((subject, name))
                continue
            field = field_of(context, subject, name, notes)
            since = now_ns - notes.get("at", {}).get(name, 0)
            if 0 <= since < field.policy.min_interval_ns:
                continue
            self._held.discard((subject, name))
            value, old = notes["pending"][name], known.get(name, ABSENT)
            accept(known, name, value, field.policy, now_ns)
            out.changed.append(subject)
            out.events.append(context.change(field, subject, value, old, context.moment(now_ns)))

    def _reset(self, subject: str, field: BoundField, now_ns: int, out: Decoded) -> None:
        known = self._context.values.get(subject)
        if known is None or known.get(field.name) is not True:
            return
        resets = known[NOTES].get("resets", [])
        if field.name in resets:
            resets.remove(field.name)
        known[field.name] = False
        out.changed.append(subject)
        moment = self._context.moment(now_ns)
        out.events.append(self._context.change(field, subject, False, True, moment))

    def _silent(self, subject: str, silence_ns: int, now_ns: int, out: Decoded) -> None:
        known = self._context.values.get(subject)
        if known is None or known.get("online") is False:
            return
        known["online"] = False
        notes_of(known)["silent"] = True
        out.changed.append(subject)
        data = {"online": False, "previous": True, "reason": "silent", "silent_s": silence_ns // NS_PER_S}
        out.events.append(self._online(subject, now_ns, data))

    def _online(self, subject: str, now_ns: int, data: dict[str, Any]) -> Event:
        context = self._context
        kind = ONLINE.event if data["online"] else ONLINE.off
        return Event(
            source=context.address,
            type=kind or "",
            subject=subject,
            time=context.moment(now_ns),
            clock=None if context.synced else "unsynced",
            data=data,
        )


def field_of(context: Context, subject: str, name: str, notes: dict[str, Any]) -> BoundField:
    """Return a field of a device as events need it, from what is noted of the device."""
    means = meaning(name) or Meaning("text")
    profile = context.catalogue.profiles.get(notes.get("profile", ""))
    fields = [f for m in profile.messages for f in m.fields] if profile else []
    found = next((f for f in fields if f.name.text == name), None)
    device = context.devices.get(subject)
    kind = (device.kind if device else None) or KIND_OF_CLASS.get(notes.get("class", ""), "device")
    event, off = types_of(means, kind)
    nothing: Any = None
    return BoundField(
        name, nothing, True, False, nothing, None, False, event, off, means.unit, means.lane, means.quiet,
        found.policy if found else Policy(), None, found.reset_ns if found else 0,
    )  # fmt: skip
