"""What belongs together is in one batch of the journal, also when one closes in between because it is full."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from gateway.clock import SystemClock
from gateway.commands.web_services import WebServiceOptions
from gateway.event import Event, Lane, decode
from gateway.gates import Gates
from gateway.journal.batch import Block
from gateway.journal.journal import Journal
from gateway.journal.merged import Merged
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.rules.protocol import GateInfo, Outcome
from gateway.sources.source import Delivery
from tests.commands.test_commands import House, play
from tests.commands.test_web_calls import play as play_calls
from tests.commands.test_web_calls import serving
from tests.notify.scene import play as play_notices
from tests.notify.scene import reached_at
from tests.sources.test_http import WITHIN_S, Rig
from tests.test_pipeline import SMALL, Bench, bench

DOOR = "house/test:door"
GATE = GateInfo("people", ("door_opened",), device=("door",))


class Early:
    """A journal whose batches close before each event that is recorded, as full ones do; notes what blocks hold."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.blocks: list[tuple[list[str], dict[str, dict[str, Any]]]] = []  # types of events, changes of tables
        self._write = journal.write
        journal.write = self.write  # type: ignore[method-assign]

    def write(self, block: Block) -> None:
        """Note what a block holds."""
        self.blocks.append(([decode(raw).type for raw in block.raws], block.table_changes))
        self._write(block)

    def full(self) -> None:
        """Close the open batch."""
        self.journal.append(Event(source="/gw/test", type="filler", time=""))
        self.journal.make_room(1 << 30)

    def with_row_gone(self, table: str) -> list[list[str]]:
        """Return the types of the events in blocks that take a row of a table away."""
        return [types for types, rows in self.blocks if None in rows.get(table, {}).values()]


def opened(number: int) -> Event:
    """Return the event of a door."""
    data = {"open": bool(number % 2), "number": number, "text": "x" * 200}
    return Event(source="/gw/house", type="door_opened", subject=DOOR, time="", data=data)


class Large:
    """A decoder whose messages are a number, and set a value by an event that half fills a batch."""

    def __init__(self, values: dict[str, dict[str, Any]], blobs: bool = False) -> None:
        self._values, self._blobs = values, blobs
        self.held: list[int] = []

    def decode(self, delivery: Delivery) -> Decoded:
        """Say what is new."""
        return self._said(int(delivery.payload))

    def release(self, now_ns: int, boot_ns: int) -> Decoded:
        """Say what was held back."""
        del now_ns, boot_ns
        return self._said(self.held.pop()) if self.held else Decoded()

    def _said(self, number: int) -> Decoded:
        known = self._values.setdefault(DOOR, {"$": {}})
        if known.get("number") == number:
            return Decoded()
        known["number"] = number
        event = Event(source="/gw/house", type="door_opened", subject=DOOR, time="", data={"text": "x" * 20_000})
        return Decoded(events=[event], changed=[DOOR], blobs=[("ab", b"cd")] if self._blobs else [])


def killed(here: Bench, folder: Path, copy: Path) -> Journal:
    """Return the journal as the next start finds it: the oldest batch was written, and then came the kill."""
    block = here.journal.seal()
    assert block is not None
    here.journal.write(block)
    here.journal.settle(block)
    shutil.copytree(folder, copy)
    return Journal.open(copy, SMALL, SystemClock())


def durable(journal: Journal, lane: Lane = Lane.TELEMETRY) -> list[Event]:
    """Return what is on the disk."""
    return [decode(record.raw) for record in journal.reader(lane).read(0, 10_000, 1 << 24)]


def test_no_value_is_on_the_disk_before_its_event(tmp_path: Path) -> None:
    """A batch closes between two messages of a piece: the value of the second waits for its event."""

    def scene(here: Bench) -> None:
        here.decoders["house"] = cast("Decoder", Large(here.values))
        here.send(b"1", b"2")
        again = killed(here, tmp_path / "gw", tmp_path / "copy")
        assert len(durable(again)) == 1
        assert (again.get("values", DOOR) or {}).get("number") != 2, "or the message that comes again says nothing"
        again.close()
        here.commit()
        assert (here.journal.get("values", DOOR) or {})["number"] == 2

    bench(tmp_path / "gw", scene)


def test_no_value_that_was_held_back_is_on_the_disk_before_its_event(tmp_path: Path) -> None:
    """A value whose time has come changes a device that has news in a batch which is full."""

    def scene(here: Bench) -> None:
        decoder = Large(here.values)
        here.decoders["house"] = cast("Decoder", decoder)
        here.send(b"1")
        decoder.held = [2]
        here.pipeline.release()
        again = killed(here, tmp_path / "gw", tmp_path / "copy")
        assert len(durable(again)) == 1
        assert (again.get("values", DOOR) or {}).get("number") != 2
        again.close()

    bench(tmp_path / "gw", scene)


def test_nothing_is_known_of_a_message_that_waits_for_its_picture(tmp_path: Path) -> None:
    """While a picture is written neither values nor what its source remembers reach the disk; then all do at once."""
    waiting: list[Callable[[bool], None]] = []
    appended: list[int] = []

    class Blobs:
        """Pictures that take their time."""

        def keep(self, sha256: str, content: bytes, then: Callable[[bool], None]) -> None:
            """Wait."""
            del sha256, content
            waiting.append(then)

    def scene(here: Bench) -> None:
        here.decoders["house"] = cast("Decoder", Large(here.values, blobs=True))
        here.pipeline.blobs = Blobs()
        delivery = Delivery("house", "cam", b"1", 0, here.sender, 1, token=7)
        here.pipeline.inbox([delivery])
        assert delivery.late
        delivery.appended = lambda: appended.append(here.journal.last_sequence)
        here.journal.put("modes", "other", {})
        here.commit()
        assert here.journal.get("values", DOOR) is None
        assert (appended, here.sender.acknowledged) == ([], [])
        waiting.pop()(True)
        assert appended == [here.journal.last_sequence]
        assert not delivery.late
        here.commit()
        assert here.journal.get("values", DOOR)["number"] == 1
        assert here.sender.acknowledged == [7]

    bench(tmp_path / "gw", scene)


def test_what_a_gate_lets_go_leaves_once_though_it_fills_many_batches(tmp_path: Path) -> None:
    """Killed behind any batch, each held event has left or still waits, and never both."""
    events = 200

    def scene(here: Bench) -> None:
        def gates_of(journal: Journal) -> Gates:
            gates = Gates(
                journal.log_id, SystemClock(), 60, journal.table("gates"), keep=here.pipeline.keep,
                last_sequence=lambda: here.journal.last_sequence, installed=lambda _: None, values={},
                copies_bytes_max=journal.batch_bytes_max // 4,
            )  # fmt: skip
            merged = Merged(journal, (Lane.TELEMETRY,))
            gates.restore(merged.read, journal.durable_sequence)
            merged.close()
            return gates

        here.pipeline.gates = gates_of(here.journal)
        here.pipeline.gates.declare([GateInfo("people", ("door_opened",), device=(DOOR,))])
        here.decoders["house"] = cast("Decoder", _Doors())
        here.send(*[b"%d" % n for n in range(events)])
        here.commit()
        assert here.pipeline.gates.waiting == events
        here.pipeline.on_rule_outcome(Outcome(here.journal.last_sequence, [], [("cursors", "rules", {"after": 9})]))
        blocks = len(here.journal._closed) + 1
        assert blocks > 2
        for number in range(blocks):
            again = killed(here, tmp_path / "gw", tmp_path / f"copy{number}")
            left = [event for event in durable(again) if event.gate]
            waiting = gates_of(again).waiting
            assert len({event.id for event in left}) == len(left)
            assert len(left) + waiting == events, f"behind batch {number}"
            again.close()
        assert waiting == 0

    bench(tmp_path / "gw", scene)


class _Doors:
    """A decoder of doors that open all the time."""

    def decode(self, delivery: Delivery) -> Decoded:
        """Say that one opened."""
        return Decoded(events=[opened(int(delivery.payload))])

    def release(self, now_ns: int, boot_ns: int) -> Decoded:
        """Hold nothing back."""
        del now_ns, boot_ns
        return Decoded()


def test_a_command_that_is_awaited_no_more_has_ended(tmp_path: Path) -> None:
    """The row of a confirmed and of a superseded command goes with the event that says so."""
    house, found = House(), []

    async def act(scene: Any) -> None:
        early = Early(scene.journal)

        def record(event: Event) -> None:
            early.full()
            scene.journal.append(event)
            scene.results.append(event)
            scene.committer.wake(urgent=True)

        scene.commands._record = record
        scene.want("trv", "set_mode", "off", confirm_s=60, retries=0)
        await scene.until(lambda: len(scene.commands.awaited) == 1)
        scene.want("trv", "set_mode", "auto", confirm_s=60, retries=0)
        await scene.until(lambda: len(scene.results) == 1)
        house.values["trv", "mode"] = "auto"
        await scene.until(lambda: len(scene.results) == 2)
        await scene.committer.flush()
        found.extend(early.with_row_gone("confirming"))

    play(tmp_path, house, act)
    assert [types[:1] for types in found] == [["command_superseded"], ["command_confirmed"]]


def test_the_cursor_of_commands_asks_for_a_commit_of_its_own(tmp_path: Path) -> None:
    """In a house where nothing else happens, what was sent is over on the disk soon, not with the next event."""
    house = House()

    async def act(scene: Any) -> None:
        scene.committer._cursor_delay_s = 0.01
        scene.want("trv", "set_mode", "off")
        early = Early(scene.journal)
        await scene.until(lambda: any("commands" in rows.get("cursors", {}) for _, rows in early.blocks))

    play(tmp_path, house, act)


def test_a_call_made_once_loses_its_mark_with_its_answer(tmp_path: Path) -> None:
    """Without the mark it would be made again by the next start, which finds no answer."""
    found: list[list[str]] = []
    with serving() as service:

        async def act(scene: Any) -> None:
            early = Early(scene.journal)

            def record(event: Event) -> None:
                early.full()
                scene.record(event)

            scene.calls._record = record
            scene.want(once=True)
            await scene.until(lambda: scene.results)
            await scene.committer.flush()
            found.extend(early.with_row_gone("http"))

        play_calls(tmp_path, {"hook": WebServiceOptions(url=service.url)}, act)
    assert found == [["http_answered"]]


def test_a_notification_that_was_sent_leaves_the_outbox_with_the_event_that_says_so(tmp_path: Path) -> None:
    """Its row, and that it counts within the hour, are in the batch of the event."""
    found: list[list[str]] = []

    async def act(scene: Any) -> None:
        early = Early(scene.journal)
        recorded = scene._record

        def record(event: Event) -> None:
            early.full()
            recorded(event)

        scene.notifier._record = record
        scene.want("log", "hello")
        await scene.until(lambda: scene.outcomes())
        await scene.committer.flush()
        found.extend(early.with_row_gone("outbox"))

    play_notices(tmp_path, {"log": reached_at(tmp_path, "http://127.0.0.1/", carrier="log")}, act)
    assert found == [["notification_sent"]]


def test_an_identity_is_kept_behind_events_that_are_appended_later() -> None:
    """While a picture is written a kill loses its event: the camera that posts it again must not be known then."""
    rows: dict[str, Any] = {}
    with Rig(hold=True) as rig:
        rig.source.keep_keys(rows.__setitem__, {})
        taken = rig._inbox

        def late(deliveries: Sequence[Delivery]) -> None:
            taken(deliveries)
            for each in deliveries:
                each.late = True

        rig.source._inbox = late
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(rig.post("/cam/door", Idempotency_Key="a")[0]))
        thread.start()
        while not (rig.deliveries and rig.deliveries[0].appended):
            threading.Event().wait(0.01)
        assert rows == {}
        appended = rig.deliveries[0].appended
        assert appended is not None
        rig.call(appended)
        rig.acknowledge()
        thread.join(WITHIN_S)
        assert (answers, len(rows)) == ([200], 1)
