"""The path from deliveries to acknowledgements, on a real journal and the shipped profiles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.event import Event, Lane, decode
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.pipeline import LETTERS_SAID_MAX, UNACKNOWLEDGED_BYTES_MAX, Pipeline
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.context import Decoded
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.rules.protocol import Outcome
from gateway.sources.source import Delivery

SMALL = JournalOptions(bytes_max=1024 * 1024, segment_bytes=128 * 1024, preallocate=False)
CATALOGUE = Catalogue.load()


class Sender:
    """A connection that notes which of its messages were acknowledged, in order."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []

    def acknowledge(self, delivery: Delivery) -> None:
        """Note it."""
        self.acknowledged.append(delivery.token)


class Bench:
    """A pipeline whose commits are made by hand."""

    def __init__(self, folder: Path, options: JournalOptions = SMALL) -> None:
        self.journal = Journal.open(folder, options, SystemClock())
        self.journal.commit()
        self.values: dict[str, dict[str, Any]] = dict(self.journal.table("values"))
        self.committer = Committer(self.journal, lambda batch: None)
        self.decoders = {"house": Decoder(CATALOGUE, "gw", "house", Devices(), self.values)}
        self.clock = Later()
        self.pipeline = Pipeline(
            gateway="gw", journal=self.journal, committer=self.committer,
            decoders=self.decoders, values=self.values, clock=self.clock,
        )  # fmt: skip
        self.sender = Sender()
        self.number = 0

    def send(self, *payloads: bytes, topic: str = "zigbee2mqtt/hall/radiator", **more: Any) -> None:
        """Hand messages to the inbox, as one chunk of a connection."""
        deliveries = []
        for payload in payloads:
            self.number += 1
            now = SystemClock().wall_ns()
            deliveries.append(Delivery("house", topic, payload, now, self.sender, 1, token=self.number, **more))
        self.pipeline.inbox(deliveries)

    def commit(self) -> None:
        """Make everything durable, as the committer would."""
        self.journal.commit()
        self.pipeline.durable()

    def events(self, lane: Lane = Lane.TELEMETRY) -> list[Any]:
        """Return what is durable in a lane."""
        reader = self.journal.reader(lane)
        return [decode(record.raw) for record in reader.read(0, 10_000, 1 << 24)]


class Later(SystemClock):
    """The machine's clock, but that it has been up for longer."""

    ahead_ns = 0

    def boot_ns(self) -> int:
        """Return nanoseconds since boot."""
        return super().boot_ns() + self.ahead_ns


def bench(folder: Path, scene: Callable[[Bench], None], options: JournalOptions = SMALL) -> None:
    """Play a scene on a loop (the committer's timers want one)."""

    async def play() -> None:
        made = Bench(folder, options)
        scene(made)
        made.journal.close()

    asyncio.run(play())


def celsius(value: float) -> bytes:
    """Return a thermostat's message."""
    return msgspec.json.encode({"local_temperature": value, "linkquality": 90})


def test_nothing_is_acknowledged_before_its_events_are_durable(tmp_path: Path) -> None:
    """A message is acknowledged behind the commit of its events, and its events are then on the disk."""

    def scene(here: Bench) -> None:
        here.send(celsius(20.0), celsius(21.0))
        assert here.sender.acknowledged == []
        assert here.events() == []
        here.commit()
        assert here.sender.acknowledged == [1, 2]
        assert [event.data["temperature"] for event in here.events()] == [20.0, 21.0]

    bench(tmp_path, scene)


def test_an_unchanged_value_waits_for_the_message_that_set_it(tmp_path: Path) -> None:
    """A QoS 1 repeat of a value is not acknowledged while the value it repeats is only in memory."""

    def scene(here: Bench) -> None:
        here.send(celsius(21.0))
        here.send(celsius(21.0))
        assert here.sender.acknowledged == []
        here.commit()
        assert here.sender.acknowledged == [1, 2]
        here.send(celsius(21.0))
        assert here.sender.acknowledged == [1, 2, 3], "nothing new, nothing open: at once"

    bench(tmp_path, scene)


def test_a_message_that_cannot_be_decoded_is_kept_and_stops_nobody(tmp_path: Path) -> None:
    """Garbage becomes a dead letter with its bytes and the reason; what follows goes on; both are acknowledged."""

    def scene(here: Bench) -> None:
        here.send(b'{"local_temperature": 2', celsius(22.5))
        here.commit()
        assert here.sender.acknowledged == [1, 2]
        [letter] = here.events(Lane.DEAD_LETTER)
        assert letter.type == "message_rejected"
        assert letter.data["payload_b64"] == "eyJsb2NhbF90ZW1wZXJhdHVyZSI6IDI="
        assert letter.data["topic"] == "zigbee2mqtt/hall/radiator"
        assert len(here.events()) == 1

    bench(tmp_path, scene)


def test_a_flood_of_garbage_is_a_few_lines_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A thousand messages nobody can decode are a thousand dead letters, ten named in the log and the rest counted."""

    def scene(here: Bench) -> None:
        here.send(*[b"{ no JSON"] * 1000)
        here.commit()
        here.pipeline.release()
        assert len(here.events(Lane.DEAD_LETTER)) == 1000

    bench(tmp_path, scene)
    said = [record.getMessage() for record in caplog.records if "dead letter" in record.getMessage()]
    assert len(said) == LETTERS_SAID_MAX + 1
    assert said[-1] == "990 more messages are dead letters"


def test_a_large_payload_is_kept_as_length_hash_and_head(tmp_path: Path) -> None:
    """Ten megabytes are rejected with a dead letter of a few kilobytes, and acknowledged."""

    def scene(here: Bench) -> None:
        here.send(b'{"x":"' + b"a" * 10_000_000 + b'"}')
        here.commit()
        [letter] = here.events(Lane.DEAD_LETTER)
        assert letter.data["payload_bytes"] == 10_000_008
        assert "payload_b64" not in letter.data
        assert here.sender.acknowledged == [1]

    bench(tmp_path, scene)


def test_what_no_profile_reads_is_counted_and_acknowledged(tmp_path: Path) -> None:
    """A message of a device without a profile fills no dead letters."""

    def scene(here: Bench) -> None:
        here.send(b'{"wobble": 12}', topic="zigbee2mqtt/lamp")
        assert here.sender.acknowledged == [1]
        assert here.pipeline.unclaimed == {"house": 1}
        here.commit()
        assert here.events(Lane.DEAD_LETTER) == []

    bench(tmp_path, scene)


def test_a_known_duplicate_is_acknowledged_and_not_decoded(tmp_path: Path) -> None:
    """A redelivery that is in the journal already makes no second event."""

    def scene(here: Bench) -> None:
        here.send(celsius(20.0))
        here.send(celsius(25.0), known=True)
        here.commit()
        assert here.sender.acknowledged == [1, 2]
        assert len(here.events()) == 1

    bench(tmp_path, scene)


def test_values_are_in_the_block_of_their_events(tmp_path: Path) -> None:
    """After a restart the last values are known, so that a cached copy raises no event."""

    def before(here: Bench) -> None:
        here.send(celsius(20.0))
        here.commit()

    bench(tmp_path, before)

    def scene(here: Bench) -> None:
        assert here.values["house/z2m:hall/radiator"]["temperature"] == 20.0
        here.send(celsius(20.0))
        here.commit()
        assert len(here.events()) == 1

    bench(tmp_path, scene)


def test_the_events_of_a_message_share_a_batch(tmp_path: Path) -> None:
    """A batch that is full closes between messages, never between the events of one."""

    def scene(here: Bench) -> None:
        payload = {"local_temperature": 20.0, "system_mode": "heat", "battery": 50, "occupied_heating_setpoint": 20.0}
        for n in range(300):
            before = here.journal.batch
            payload |= {"local_temperature": 20.0 + n, "battery": n % 100, "occupied_heating_setpoint": 5.0 + n % 20}
            here.send(msgspec.json.encode(payload))
            last = here.journal.last_sequence
            if here.journal.batch != before:
                block = here.journal._closed[-1]
                assert block.first + len(block.raws) + len(here.journal._open.raws) == last + 1
                types = [decode(raw).type for raw in here.journal._open.raws]
                assert types[0] == "temperature_changed", "the new batch begins with a message's first event"
                return
        raise AssertionError("no batch was ever full")

    bench(tmp_path, scene)


def test_the_outcome_of_rules_is_one_batch_with_its_cursor(tmp_path: Path) -> None:
    """Outputs, state and cursor of a rule batch become durable together."""

    def scene(here: Bench) -> None:
        here.send(celsius(30.0))
        here.commit()
        [hot] = here.events()
        alert = msgspec.structs.replace(
            hot, id="x-1", type="alert_raised", lane="alarm", actor="rule:hot", cause=hot.id
        )
        puts = [("rule_state", "hot", {"n": 1}), ("cursors", "rules", {"after": 1, "done": []})]
        here.pipeline.on_rule_outcome(Outcome(1, [alert], puts))
        block = here.journal.seal()
        assert block is not None
        assert (len(block.raws), set(block.table_changes)) == (1, {"rule_state", "cursors"})
        here.journal.write(block)
        here.journal.settle(block)
        assert [event.id for event in here.events(Lane.ALARM)] == ["x-1"]

    bench(tmp_path, scene)


def test_sources_pause_when_too_much_waits_for_the_disk(tmp_path: Path) -> None:
    """Above the limit of unacknowledged bytes sources are told to pause, below half of it to go on."""

    def scene(here: Bench) -> None:
        pressed: list[bool] = []
        here.pipeline.on_pressure = pressed.append
        n = 0
        while not pressed:
            n += 1
            here.send(msgspec.json.encode({"local_temperature": n * 1.0, "pad": "x" * 100_000}))
            assert n < 2 * UNACKNOWLEDGED_BYTES_MAX // 100_000
        here.commit()
        assert pressed == [True, False]

    bench(tmp_path, scene)


class _Faulty:
    """The shipped profiles, with a bug that one payload brings out."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def decode(self, delivery: Delivery) -> Decoded:
        """Decode, or fail as a bug does."""
        if delivery.payload == b"bug":
            raise ZeroDivisionError("a decoder's bug")
        if delivery.payload == b"nonsense":
            return Decoded(events=[Event(source="/gw/house", type="x", time="", data={"x": object()})])
        return self._decoder.decode(delivery)

    def release(self, now_ns: int) -> Decoded:
        """Fail, whatever is held back."""
        raise ZeroDivisionError(f"at {now_ns}")


def test_a_bug_of_the_decoder_costs_one_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A message that makes the decoder raise is kept as a dead letter, a traceback is in the log; the rest goes on."""

    def scene(here: Bench) -> None:
        good = here.decoders["house"]
        here.decoders["house"] = cast("Decoder", _Faulty(good))
        here.send(celsius(20.0), b"bug", b"nonsense", celsius(21.0))
        here.commit()
        assert here.sender.acknowledged == [1, 2, 3, 4]
        assert [event.data["temperature"] for event in here.events()] == [20.0, 21.0]
        letter, nonsense = here.events(Lane.DEAD_LETTER)
        assert letter.data["payload_b64"] == "YnVn"
        assert "TypeError" in nonsense.data["reason"]
        assert letter.data["reason"] == "a fault of the gateway: ZeroDivisionError: a decoder's bug"
        assert "test_pipeline.py" in caplog.text, "the traceback"
        here.pipeline.release()
        here.pipeline.release()
        assert caplog.text.count("held back") == 1, "a fault at every tick is said once"

    bench(tmp_path, scene)


def test_full_tables_cost_remembered_values_not_events(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When made-up devices have filled the durable tables, events go on; the log says it once, cursors have room."""

    def scene(here: Bench) -> None:
        text = "x" * 900
        for number in range(300):
            payload = msgspec.json.encode({"local_temperature": 20.0, "running_state": "heat", "system_mode": text})
            here.send(payload, topic=f"zigbee2mqtt/made up {number}")
            here.commit()
        assert len(here.sender.acknowledged) == 300
        here.send(celsius(21.0))
        here.commit()
        assert here.events()[-1].data["temperature"] == 21.0
        here.journal.put("cursors", "route:new:alarm", {"after": 1, "done": []})
        here.commit()
        assert sum("tables are full" in record.message for record in caplog.records) == 1

    bench(tmp_path, scene, JournalOptions(bytes_max=256 * 1024, segment_bytes=16 * 1024, preallocate=False))


def test_outputs_of_rules_that_do_not_fit_are_said_and_the_cursor_moves_on(tmp_path: Path) -> None:
    """What rules put out and no batch can hold becomes a dead letter with state and cursor, not the gateway's end."""

    def scene(here: Bench) -> None:
        large = [
            Event(source="/gw/rules", type="x", time="2026-01-01T00:00:00Z", id=f"x-{n}", data={"t": "x" * 3000})
            for n in range(3)
        ]
        here.pipeline.on_rule_outcome(Outcome(1, large, [("cursors", "rules", {"after": 1, "done": []})]))
        here.commit()
        assert here.events() == []
        [letter] = here.events(Lane.DEAD_LETTER)
        assert letter.type == "rule_failed"
        assert "a batch holds" in letter.data["reason"]
        assert here.journal.get("cursors", "rules") == {"after": 1, "done": []}

    bench(tmp_path, scene, JournalOptions(bytes_max=256 * 1024, segment_bytes=16 * 1024, preallocate=False))


def test_a_device_that_fell_silent_is_offline_in_the_journal(tmp_path: Path) -> None:
    """Silence becomes an event with the value behind it, also when nothing else comes; a word ends it."""

    def scene(made: Bench) -> None:
        made.pipeline.release()
        made.send(b"open", topic="shellies/shellydw-1/sensor/state")
        made.commit()
        for hours in (20, 26.5, 30):
            made.clock.ahead_ns = round(hours * 3600 * 1_000_000_000)
            made.pipeline.release()
        made.pipeline.values.put()
        made.commit()
        assert [event.type for event in made.events()] == ["door_opened", "device_offline"]
        assert made.journal.table("values")["house/shelly:shellydw-1"]["online"] is False
        made.send(b"open", topic="shellies/shellydw-1/sensor/state")
        made.commit()
        assert [event.type for event in made.events()][2:] == ["device_online"]

    bench(tmp_path / "journal", scene)
