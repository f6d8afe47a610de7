"""The master of a bus under a virtual clock, against simulated units that share no code with it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from gateway.polling.budget import LOST_SHARE, Budget
from gateway.polling.master import Line, Master
from gateway.polling.outcome import Polled
from gateway.polling.plan import WRITES_MAX, Choice, Poll, Step, Unit, Write, decoded, encoded
from gateway.polling.request import Request
from gateway.polling.rtu import Rtu
from simulators.modbus import checksum
from tests.polling.bench import Bench, device, unit

FAULTS = ("", "", "", "dead", "garbage", "half", "bad_checksum")


def set_register(register: int, value: int, **more: object) -> Write:
    """Return a write of one register."""
    return Write((Step(6, register, 1, value.to_bytes(2, "big")),), **more)  # type: ignore[arg-type]


def test_each_unit_is_polled_each_period() -> None:
    """Twenty units with one period are each asked once a period, and their values come as they stand."""
    bench = Bench([unit(n) for n in range(1, 21)], [device(n) for n in range(1, 21)])
    bench.run(101)
    assert {n: len(bench.polled(n)) for n in range(1, 21)} == dict.fromkeys(range(1, 21), 11)
    values = next(each.data for _, each in bench.log if isinstance(each, Polled) and each.address == 7)
    assert values == b"".join((700 + n).to_bytes(2, "big") for n in range(2, 9))


def test_the_line_is_silent_before_each_request() -> None:
    """No request begins sooner than 3.5 characters behind the last byte on the line, or the gap that is wanted."""
    for line in (Line(9600), Line(115_200), Line(9600, gap_s=0.02)):
        bench = Bench([unit(n, 0.05) for n in (1, 2)], [device(1), device(2)], line)
        bench.run(5)
        assert len(bench.sent) > 50
        assert min(bench.silences) >= max(3.5 * 11 / line.baud, 0.00175, line.gap_s) - 1e-9


@pytest.mark.parametrize("fault", ["dead", "garbage", "bad_checksum", "half", "other_unit"])
def test_a_bad_unit_does_not_take_the_others_time(fault: str) -> None:
    """Beside a unit that does not answer well the others keep their period; what it takes is bounded; it is offline."""
    devices = [device(n) for n in range(1, 21)]
    devices[6].fault = fault  # type: ignore[assignment]
    bench = Bench([unit(n, 2.0) for n in range(1, 21)], devices)
    bench.run(300)
    for n in range(1, 21):
        if n != 7:
            times = bench.polled(n)
            assert len(times) >= 150 * 0.98
            assert max(after - before for before, after in pairwise(times)) < 2.0 + 2.0
    assert bench.polled(7) == []
    assert bench.presence(7) == [False]
    assert bench.master.units[7].lost_s <= bench.master.budget.burst_s + LOST_SHARE * 300
    assert bench.master.units[7].last_error.startswith("state: ")


def test_many_dead_units_lose_no_more_than_the_share_together() -> None:
    """Of sixteen units that are dead all are tried again and again, and together they take a tenth of the bus."""
    devices = [device(n, fault="dead" if n > 4 else "") for n in range(1, 21)]
    bench = Bench([unit(n, 2.0) for n in range(1, 21)], devices)
    bench.run(1000)
    assert bench.master.budget.lost_s <= bench.master.budget.burst_s + LOST_SHARE * 1000 + 0.6
    assert all(len(bench.polled(n)) >= 490 for n in range(1, 5))
    tries = [devices[n - 1].asked[3] for n in range(5, 21)]
    assert min(tries) >= 3
    assert all(bench.presence(n) == [False] for n in range(5, 21))


def test_a_unit_that_comes_back_is_online_at_its_first_answer() -> None:
    """After failures enough a unit is offline, and with its first good answer it is online and polled as before."""
    devices = [device(1), device(2)]
    bench = Bench([unit(1), unit(2)], devices)
    bench.run(21)
    devices[1].fault = "dead"
    bench.run(200)
    assert bench.presence(2) == [True, False]
    devices[1].fault = ""
    bench.run(100)
    assert bench.presence(2) == [True, False, True]
    count = len(bench.polled(2))
    bench.run(100)
    assert len(bench.polled(2)) == count + 10


def test_one_missed_answer_is_asked_for_again() -> None:
    """A single lost answer costs a retry, no period and no word about the unit's presence."""
    devices = [device(1)]
    bench = Bench([unit(1, retries=2)], devices)
    bench.run(15)
    devices[0].fault = "dead"
    bench.run(5.6)
    devices[0].fault = ""
    bench.run(80)
    assert len(bench.polled(1)) == 11
    assert bench.presence(1) == [True]
    assert bench.master.units[1].failures == 0


def test_a_late_answer_is_not_taken_for_another() -> None:
    """Two polls of one unit look alike on the wire: an answer that comes too late never becomes the other's values."""
    two = (Poll("low", 1.0, Request(1, 3, 0, 2)), Poll("high", 1.0, Request(1, 3, 8, 2)))
    for timeout_s, delay_s in ((0.3, 0.45), (0.3, 0.31), (0.2, 0.39)):
        late = device(1, delay_s=delay_s)
        bench = Bench([Unit(1, two, timeout_s=timeout_s, retries=1), unit(2, 1.0)], [late, device(2)])
        bench.run(120)
        values = [(each.poll, each.data) for _, each in bench.log if isinstance(each, Polled) and each.address == 1]
        right = {"low": b"\0\x64\0\x65", "high": b"\0\x6c\0\x6d"}
        assert all(data == right[poll] for poll, data in values)
        assert len(bench.polled(2)) > 100


def test_strangers_on_the_line_are_passed_over() -> None:
    """Noise before an answer, another unit's frame and bytes between requests do not spoil an answer."""
    bench = Bench([unit(1, 1.0)], [device(1, delay_s=0.05)])
    stranger = bytes((9, 3, 2, 0, 1))
    for second in range(20):
        bench.inject(second + 0.02, b"\xff\x00\x01")
        bench.inject(second + 0.03, stranger + checksum(stranger))
        bench.inject(second + 0.5, b"\x01\x03")
    bench.run(19.9)
    assert len(bench.polled(1)) == 20
    assert bench.master.units[1].failures == 0
    assert bench.master.strays["unasked"] == 20


def test_a_line_that_is_never_silent_does_not_stop_the_master() -> None:
    """A jabbering device delays requests by a bounded time each, not for ever."""
    bench = Bench([unit(1, 5.0)], [device(1)], Line(9600))
    for tick in range(30_000):
        bench.inject(tick * 0.002, b"\xaa")
    bench.run(59)
    assert len(bench.sent) >= 5


def test_an_exception_is_an_answer_with_a_name() -> None:
    """A unit that refuses is there: it stays online, the reason has its name, nothing is lost on it."""
    bench = Bench([unit(1, 1.0, count=40)], [device(1)])
    bench.run(10.5)
    state = bench.master.units[1]
    assert state.last_error == "state: exception 2 (illegal data address)"
    assert state.exceptions == 11
    assert state.lost_s == 0
    assert bench.presence(1) == [True]


def test_an_echoing_line_is_noticed() -> None:
    """A line that gives back our own bytes does not make a write look done that nobody did."""
    devices = [device(1)]
    bench = Bench([unit(1, 5.0)], devices)
    plain = bench._send

    def echo(frame: bytes) -> None:
        bench.inject(0.001, frame)
        plain(frame)

    bench._send = echo  # type: ignore[method-assign]
    bench.run(2)
    assert bench.polled(1)
    assert bench.master.echoes
    devices[0].fault = "dead"
    bench.master.write(1, set_register(4, 22, command="a"))
    bench.run(10)
    assert bench.written() == [("a", "write: no answer")]


def test_a_write_goes_first_and_is_read_back() -> None:
    """A write is sent before polls that are due, and the poll that shows it follows at once."""
    devices = [device(n) for n in range(1, 6)]
    bench = Bench([unit(n) for n in range(1, 6)], devices)
    bench.run(9.999)
    assert bench.master.write(3, set_register(4, 22, confirm=("state",), within_s=2.0, command="warmer")) == ""
    bench.run(0.1)
    frames = [frame for at_s, frame in bench.sent if at_s >= 1009.999]
    assert frames[0][:6] == bytes((3, 6, 0, 4, 0, 22))
    assert frames[1][:2] == bytes((3, 3))
    assert bench.written() == [("warmer", "")]
    assert devices[2].holding[4] == 22
    before = len(bench.polled(3))
    bench.run(1.1)
    assert len(bench.polled(3)) >= before + 1  # once more, for units that take their time


def test_a_write_says_why_it_was_refused() -> None:
    """An exception, a dead unit, an unknown unit and a full queue each refuse a write with the reason."""
    devices = [device(1, allowed={4: range(17, 31)}), device(2, fault="dead")]
    bench = Bench([unit(1), unit(2, after_failures=1)], devices)
    assert bench.master.write(9, set_register(4, 22)) == "there is no unit 9 on this bus"
    bench.master.write(1, set_register(4, 99, command="too warm"))
    bench.master.write(2, set_register(4, 20, command="nobody"))
    bench.run(30)
    assert ("too warm", "write: exception 3 (illegal data value)") in bench.written()
    assert ("nobody", "write: no answer") in bench.written()
    assert bench.master.write(2, set_register(4, 20)) == "unit 2 does not answer"
    refusals = [bench.master.write(1, set_register(4, 20, command=str(n))) for n in range(WRITES_MAX + 1)]
    assert refusals[-1] == f"{WRITES_MAX} writes are waiting already"
    assert not any(refusals[:-1])


def test_polls_go_on_between_writes() -> None:
    """Writes without end leave every ninth turn to a poll that is due."""
    bench = Bench([unit(1, 0.1), unit(2, 0.1)], [device(1), device(2)])
    for _ in range(60):
        bench.master.write(1, set_register(4, 21))
    bench.run(3)
    kinds = [frame[1] for _, frame in bench.sent]
    assert kinds.count(6) == 60
    assert max(len(row) for row in "".join("w" if kind == 6 else " " for kind in kinds).split()) <= 8


def test_a_choice_is_made_by_a_register_read_just_before() -> None:
    """What is written depends on what a register says at that moment; a value nobody expects refuses the write."""
    devices = [device(1)]
    bench = Bench([unit(1)], devices)
    choice = Choice("state", 12, {"0": b"\0\x15", "1": b"\0\x46"})
    for value, written in ((0, 21), (1, 70)):
        devices[0].holding[8] = value
        bench.master.write(1, Write((Step(6, 4, choice=choice),), command=str(value)))
        bench.run(1)
        assert devices[0].written[-1] == (4, written)
    devices[0].holding[8] = 5
    bench.master.write(1, Write((Step(6, 4, choice=choice),), command="5"))
    bench.run(1)
    assert bench.written() == [("0", ""), ("1", ""), ("5", "register state/6 is 5, none of 0, 1")]


def test_a_pulse_is_not_repeated() -> None:
    """A write that may be done only once is sent once, whether it is answered or not."""
    devices = [device(1, fault="dead")]
    bench = Bench([unit(1, 60.0, retries=3)], devices)
    bench.master.write(1, set_register(4, 1, once=True))
    bench.run(5)
    assert devices[0].asked[6] == 1


def test_a_broadcast_is_obeyed_by_all_and_answered_by_none() -> None:
    """A write to address 0 reaches every unit, waits for no answer and blames nobody."""
    devices = [device(1), device(2)]
    bench = Bench([unit(0), unit(1), unit(2)], devices)
    bench.run(1)
    bench.master.write(0, set_register(4, 19, command="all"))
    bench.run(1)
    assert [each.holding[4] for each in devices] == [19, 19]
    assert bench.written() == [("all", "")]
    assert bench.master.strays == {}
    assert all(frame[0] != 0 or frame[1] == 6 for _, frame in bench.sent)


def test_a_bus_with_too_much_to_do_treats_all_alike() -> None:
    """When not everything fits, no unit starves, and turns that were left out are counted."""
    bench = Bench([unit(n, 0.1) for n in range(1, 21)], [device(n) for n in range(1, 21)])
    bench.run(60)
    counts = [len(bench.polled(n)) for n in range(1, 21)]
    assert max(counts) - min(counts) <= 2
    turns = [due for state in bench.master.units.values() for due in state.polls.values()]
    assert min(due.missed for due in turns) > 100
    assert min(due.at_s for due in turns) > bench.now_s - 1.5  # no turn is made up for later


def test_a_lost_line_refuses_what_was_under_way() -> None:
    """Unplugged in the middle of a write: it is refused with why, nobody counts as failed, and polls go on after it."""
    bench = Bench([unit(1)], [device(1, delay_s=0.2)])
    bench.run(1)
    bench.master.write(1, set_register(4, 20, command="cut"))
    bench.run(0.05)
    bench.master.lost(bench.now_s)
    bench._coming.clear()
    bench.run(20)
    assert bench.written() == [("cut", "the line was lost")]
    assert bench.master.units[1].failures == 0
    assert len(bench.polled(1)) >= 2


def test_coils_and_several_registers() -> None:
    """Bits are read as they are packed; function 16 writes several registers at once."""
    lamp = device(1)
    lamp.coils = {n: n in (1, 9) for n in range(10)}
    polls = (Poll("lamps", 5.0, Request(1, 1, 0, 10)), Poll("state", 5.0, Request(1, 3, 2, 7)))
    bench = Bench([Unit(1, polls)], [lamp])
    bench.run(1)
    assert next(e.data for _, e in bench.log if isinstance(e, Polled) and e.poll == "lamps") == b"\x02\x02"
    steps = (Step(16, 3, 2, b"\0\x01\0\x17"), Step(5, 0, 1, b"\xff\x00"))
    bench.master.write(1, Write(steps, command="both"))
    bench.run(1)
    assert bench.written() == [("both", "")]
    assert (lamp.holding[3], lamp.holding[4], lamp.coils[0]) == (1, 23, True)


def test_a_write_is_the_same_behind_its_bytes() -> None:
    """What a profile hands to its source is what the master does."""
    write = Write((Step(6, 4, choice=Choice("state", 12, {"0": b"\0\x15"})),), ("state",), 2.0, once=True)
    assert decoded(encoded(write)) == write


def test_the_budget_fills_with_its_share() -> None:
    """What may be lost comes back with a tenth of the time, up to the burst, whatever was spent."""
    budget = Budget(0.5, 0.0)
    assert budget.allows(budget.burst_s, 0.0)
    budget.spend(budget.burst_s + 1, 0.0)
    assert budget.when(0.5, 0.0) == pytest.approx(15.0)
    assert not budget.allows(0.5, 14.9)
    assert budget.allows(0.5, 15.1)
    assert not budget.allows(budget.burst_s + 1, 1e9)


def test_the_answer_is_found_at_any_offset_and_only_when_right() -> None:
    """Of every mutation of one byte of an answer none is taken for it; with noise before it, it is."""
    request = Request(5, 3, 2, 7)
    body = bytes.fromhex("05030e0015000100160002000400000000")
    answer = body + checksum(body)
    rtu = Rtu()
    found = rtu.find(b"\x05\x03\x00" + answer, request)
    assert found is not None
    assert found.data == body[3:]
    for at in range(len(answer)):
        for flip in range(1, 256):
            broken = answer[:at] + bytes((answer[at] ^ flip,)) + answer[at + 1 :]
            assert rtu.find(broken, request) is None


def test_a_master_without_polls_waits_for_ever() -> None:
    """Nothing to do: no request, and no time at which to look again."""
    master = Master(Rtu(), [], Line(), 0.0)
    assert master.step(5.0) is None
    assert master.wake_s(5.0) == float("inf")


@pytest.mark.parametrize("seed", range(6))
def test_any_bytes_at_any_time(seed: int) -> None:
    """Whatever comes whenever: nothing is raised, the master goes on asking, and never takes noise for values."""
    chance = random.Random(seed)
    devices = [device(n, delay_s=chance.choice((0.0, 0.05, 0.6)), fault=chance.choice(FAULTS)) for n in range(1, 8)]
    bench = Bench([unit(n, 1.0, timeout_s=0.3) for n in range(1, 8)], devices)
    frames = [device(n).obey(bytes((n, 3, 0, 2, 0, 7, 0, 0))) for n in range(1, 9)]
    for _ in range(600):
        noise = chance.choice(
            (chance.randbytes(chance.randrange(1, 60)), chance.choice(frames)[: chance.randrange(25)])
        )
        bench.inject(chance.uniform(0, 120), noise)
        if chance.random() < 0.1:
            bench.master.write(chance.randrange(1, 9), set_register(4, 20, once=chance.random() < 0.5))
    bench.run(120)
    assert len(bench.sent) > 30
    last = max(at_s for at_s, _ in bench.sent)
    assert last > bench.now_s - 30
    for _, each in bench.log:
        if isinstance(each, Polled):
            expected = [device(each.address).holding[n] for n in range(2, 9)]
            values = [int.from_bytes(each.data[at : at + 2], "big") for at in range(0, 14, 2)]
            assert values[:2] + values[3:] == expected[:2] + expected[3:]  # register 4 is written


def test_noise_ends_the_wait_early() -> None:
    """Behind bytes that are no answer the line's silence ends the wait, long before the time of a slow unit is over."""
    bench = Bench([unit(1, 5.0, timeout_s=10.0, retries=0)], [device(1, fault="garbage")])
    bench.run(600)
    state = bench.master.units[1]
    assert state.failures >= 3
    assert state.lost_s / state.failures < 1.0


def test_a_unit_gets_the_pause_it_wants() -> None:
    """Between requests to a unit that wants it there is a pause, within a write, too; others are asked meanwhile."""
    slow = [Poll(name, 1.0, Request(1, 3, start, 2)) for name, start in (("low", 0), ("high", 8))]
    bench = Bench([Unit(1, tuple(slow), pause_s=0.25), unit(2, 0.1)], [device(1), device(2)])
    bench.run(2)
    steps = tuple(Step(6, register, 1, b"\0\x05") for register in (3, 4, 5))
    bench.master.write(1, Write(steps, ("low", "high"), command="all"))
    bench.run(5)
    assert bench.written() == [("all", "")]
    asked = [at_s for at_s, frame in bench.sent if frame[0] == 1]
    assert min(after - before for before, after in pairwise(asked)) >= 0.25
    assert len(bench.polled(2)) > 50


def test_a_late_answer_does_not_confirm_a_write() -> None:
    """Within a write, too, what comes late for one poll is never read as another's."""
    polls = (Poll("low", 60.0, Request(1, 3, 0, 2)), Poll("high", 60.0, Request(1, 3, 8, 2)))
    late = device(1)
    bench = Bench([Unit(1, polls, timeout_s=0.3, retries=2)], [late])
    bench.run(1)
    late.delay_s = 0.45
    bench.master.write(1, Write((Step(6, 3, choice=Choice("low", 0, {"100": b"\0\x09"})),), ("high", "low")))
    bench.run(20)
    right = {"low": b"\0\x64\0\x65", "high": b"\0\x6c\0\x6d"}
    assert all(each.data == right[each.poll] for _, each in bench.log if isinstance(each, Polled))
    assert (3, 9) in late.written
