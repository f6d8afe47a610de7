"""Online or not: what a device, its bridge or its broker says; silence is `watch.py`.

Several words may count (`agree`): its own and its bridge's, as Home Assistant's `availability_mode` has it. What is
behind a parent (`[device] via`) is offline with it and what it was before when the parent is back; the parent's event
says so for all of them and names them (`devices`, `CHILDREN_NAMED_MAX` at most), so that a bridge that restarts is one
event and not one for each of its devices.
"""

from __future__ import annotations

from typing import Any

from gateway.errors import DecodeError
from gateway.profiles import messages
from gateway.profiles.bind import Bound
from gateway.profiles.compiled import CompiledAvailability
from gateway.profiles.context import Context, Decoded, Received
from gateway.profiles.pointer import ABSENT
from gateway.profiles.report import NOTES, Known, Policy, Verdict, judge, notes_of
from gateway.profiles.values import shown, text_of
from gateway.profiles.watch import ONLINE, Watch

CHILDREN_NAMED_MAX = 1_000  # devices that an event of their parent names


def availability(
    context: Context,
    watch: Watch,
    bound: Bound,
    spec: CompiledAvailability,
    member: Any,
    delivery: Received,
    out: Decoded,
) -> None:
    """Online or offline, of one device or of everything behind a parent. DecodeError for an unknown word."""
    raw = spec.read(member)
    text = text_of(raw) if raw is not ABSENT and raw.__class__ not in (dict, list) else None
    if text is not None and text == spec.removed:
        _removed(context, bound, delivery, out)
        return
    online = spec.map.get(text) if text is not None else None
    if text is None or online is None:
        raise DecodeError(
            f"availability {'(nothing)' if raw is ABSENT else shown(raw)} is none of {', '.join(spec.map)}"
        )
    if not online and spec.sleepy:
        out.ignored = f"{bound.message.profile}: asleep"
        return
    known = context.introduce(bound, None, out)
    if spec.scope == "parent" and not notes_of(known).get("parent"):
        notes_of(known)["parent"] = True
        out.changed.append(bound.subject)
    online = _effective(bound, spec, known, delivery.topic, online=online, out=out)
    messages.note_reading(bound, known, {"online": online}, out)
    if online and bound.silence_ns:
        watch.heard(bound.subject, known, bound.silence_ns, delivery.received_ns, out)
    old = known.get("online", ABSENT)
    if judge(known, "online", online, Policy(), delivery.received_ns) is not Verdict.CHANGED:
        return
    out.changed.append(bound.subject)
    children = _children(context, bound.subject, online=online, out=out) if spec.scope == "parent" else []
    retained = delivery.retained and bound.message.retained == "state"
    if retained and old is ABSENT:
        return
    data: dict[str, Any] = {"online": online}
    if text not in ("online", "offline", "true", "false"):
        data["state"] = text
    if old is not ABSENT:
        data["previous"] = old
    if spec.scope == "parent":
        data["scope"] = "parent"
        if children:
            data["devices"] = children[:CHILDREN_NAMED_MAX]
    kind = ONLINE.event if online else ONLINE.off
    out.events.append(messages.event_of(context, kind or "", bound, delivery, data, resync=retained))


def _effective(
    bound: Bound, spec: CompiledAvailability, known: Known, topic: str, *, online: bool, out: Decoded
) -> bool:
    """Return what counts of this word, beside the others about the device and its parent."""
    notes = notes_of(known)
    if spec.agree != "latest":
        votes: dict[str, bool] = notes.setdefault("votes", {})  # of as many topics as the profile has, and no others
        if votes.get(topic) is not online:
            votes[topic] = online
            out.changed.append(bound.subject)
        online = (all if spec.agree == "all" else any)(votes.values())
    if "own" in notes:  # its parent is away: what it says counts when that is back
        if notes["own"] is not online:
            notes["own"] = online
            out.changed.append(bound.subject)
        return False
    return online


def _children(context: Context, parent: str, *, online: bool, out: Decoded) -> list[str]:
    """Take everything behind a parent offline with it, and back to what it was; return what is `online` now, or not."""
    changed = []
    for subject, known in context.values.items():
        notes = known.get(NOTES, {})
        if notes.get("via") != parent:
            continue
        if not online and "own" not in notes:
            notes["own"] = before = known.get("online") is not False
            known["online"] = False
        elif online and "own" in notes:
            known["online"] = before = notes.pop("own")
        else:
            continue
        out.changed.append(subject)
        if before:
            changed.append(subject)
    return changed


def _removed(context: Context, bound: Bound, delivery: Received, out: Decoded) -> None:
    if context.values.pop(bound.subject, None) is None:
        out.ignored = f"{bound.message.profile}: a device nobody knew was removed"
        return
    bound.known = False
    out.changed.append(bound.subject)
    messages.note_reading(bound, {}, {}, out)
    out.events.append(messages.event_of(context, "device_removed", bound, delivery, {}))
