"""Frigate: fields as its documentation names them."""

from __future__ import annotations

from tests.profiles.corpora.expected import Expected, Name, Wanted, name, wanted
from tests.profiles.corpora.records import Record

NAMES: dict[str, Name] = {
    "object_id": name("object.id"), "id": name("object.id"),
    "event_id": name("object.id"), "score": name("object.score"),
    "top_score": name("object.top_score"), "zones": name("object.zones", "review.zones"),
    "sub_label": name("object.sub_label"), "attribute": name("object.sub_label"), "plate": name("object.plate"),
    "has_snapshot": name("object.has_snapshot"), "motion": name("motion", "setting.motion"),
    "severity": name("review.severity"), "objects": name("review.objects"), "review_id": name("review.id"),
    "dBFS": name("sound_level"), "detect": name("setting.detect"), "enabled": name("setting.enabled"),
    "snapshots": name("setting.snapshots"), "recordings": name("setting.recordings"), "audio": name("setting.audio"),
    "improve_contrast": name("setting.improve_contrast"), "ptz_autotracker": name("setting.ptz_autotracker"),
}  # fmt: skip


def expected(record: Record) -> Expected:
    """Read a record."""
    expect, fields = record.expect, record.fields
    found = Expected(wanted(fields, NAMES), (expect["device"],) if expect.get("device") else ())
    if "online" in expect:
        found.wanted.append(Wanted(("online",), expect["online"]))
    label = fields.get("label")
    if "count" in fields:
        found.wanted.append(Wanted((f"object.count.{label}",), fields["count"]))
    elif "active_count" in fields:
        found.wanted.append(Wanted((f"object.active.{label}",), fields["active_count"]))
    elif label and expect.get("event", "").startswith("camera.object"):
        found.wanted.append(Wanted(("object.label",), label))
    if "detected" in fields:
        found.wanted.append(Wanted((f"sound.{fields.get('audio_type')}",), fields["detected"]))
    if "class" in fields:
        found.wanted.append(Wanted((f"classification.{fields.get('model')}",), fields["class"]))
    return found


DIALECTS = {"frigate": expected}
