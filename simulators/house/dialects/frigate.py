"""Frigate: motion, the life of a tracked object with updates, reviews, counts and a retained snapshot.

https://docs.frigate.video/integrations/mqtt
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, compact

LIFE: tuple[tuple[str, float, list[str]], ...] = (
    ("new", 0.0, []),
    ("update", 2.5, ["yard"]),
    ("update", 3.0, ["yard"]),
    ("end", 8.0, []),
)
JPEG_HEAD = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
JPEG_TAIL = b"\xff\xd9"
SETTINGS = ("detect", "recordings", "snapshots", "motion")


class Frigate(Dialect):
    """One server with its cameras."""

    name: ClassVar[str] = "frigate"
    models: ClassVar[Collection[str]] = frozenset({"camera"})

    def identity(self, gadget: Gadget) -> str:
        """Go by cameras."""
        return f"frigate:{gadget.name}"

    def will(self) -> Said:
        """Have the broker say that the server is gone."""
        return Said("frigate/available", b"offline", "", retain=True)

    def births(self, now_s: float) -> Iterator[Said]:
        """Say that the server is there, and each camera's settings."""
        yield Said("frigate/available", b"online", "", retain=True)
        for gadget in self.gadgets:
            for setting in SETTINGS:
                yield Said(f"frigate/{gadget.name}/{setting}/state", b"ON", gadget.name, retain=True)
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say online."""
        yield Said(f"frigate/{gadget.name}/status/detect", b"online", gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say offline."""
        yield Said(f"frigate/{gadget.name}/status/detect", b"offline", gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say motion as it changes, and a whole visit when there is an object."""
        name = gadget.name
        if "motion" in changed:
            facts = self.facts(gadget, {"motion": gadget.state["motion"]})
            yield Said(f"frigate/{name}/motion", b"ON" if gadget.state["motion"] else b"OFF", name, facts)
        if "object" in changed:
            yield from self._visit(gadget, str(gadget.state["object"]), now_s)

    def _visit(self, gadget: Gadget, label: str, now_s: float) -> Iterator[Said]:
        name = gadget.name
        rng = random.Random(f"{name}/{gadget.sent}")
        visit = f"{now_s:.6f}-{rng.getrandbits(30):06x}"
        score = round(rng.uniform(0.74, 0.97), 5)
        before: dict[str, Any] | None = None
        yield Said(f"frigate/{name}/{label}", b"1", name, self.facts(gadget, {f"object.count.{label}": 1}))
        for kind, later_s, zones in LIFE:
            after = {
                "id": visit, "camera": name, "frame_time": round(now_s + later_s, 6), "label": label, "sub_label": None,
                "top_score": score, "false_positive": False, "start_time": round(now_s, 6),
                "end_time": round(now_s + later_s, 6) if kind == "end" else None, "score": score,
                "box": [rng.randint(0, 900), rng.randint(0, 500), 950, 700], "current_zones": zones,
                "entered_zones": zones, "has_snapshot": kind == "end", "has_clip": True, "stationary": False,
            }  # fmt: skip
            facts = self.facts(gadget, {"object.label": label})
            document = {"type": kind, "before": before or after, "after": after}
            yield Said("frigate/events", compact(document), name, facts)
            before = after
        yield from self._review(gadget, visit, label, now_s)
        picture = JPEG_HEAD + hashlib.sha256(visit.encode()).digest() * 32 + JPEG_TAIL
        yield Said(f"frigate/{name}/{label}/snapshot", picture, name, retain=True)
        yield Said(f"frigate/{name}/{label}", b"0", name, self.facts(gadget, {f"object.count.{label}": 0}))

    def _review(self, gadget: Gadget, visit: str, label: str, now_s: float) -> Iterator[Said]:
        severity = "alert" if label in ("person", "car") else "detection"
        for kind in ("new", "end"):
            data = {"detections": [visit], "objects": [label], "sub_labels": [], "zones": ["yard"], "audio": []}
            after = {"id": f"{visit}-r", "camera": gadget.name, "start_time": now_s, "severity": severity,
                     "end_time": now_s + 9 if kind == "end" else None, "thumb_path": "", "data": data}  # fmt: skip
            yield Said("frigate/reviews", compact({"type": kind, "before": after, "after": after}), gadget.name)

    def filters(self) -> Sequence[str]:
        """Hear settings and movement."""
        return ("frigate/+/+/set", "frigate/+/ptz")

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Take a setting and say it."""
        words = topic.split("/")
        gadget = self.by_name.get(words[1])
        if gadget is not None and words[2] in SETTINGS and payload in (b"ON", b"OFF"):
            yield Said(f"frigate/{gadget.name}/{words[2]}/state", payload, gadget.name, retain=True)
