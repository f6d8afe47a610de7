"""Heatmiser V3: the same master over another wire, against simulated thermostats that share no code with it."""

from __future__ import annotations

import pytest

from gateway.polling.heatmiser import Heatmiser
from gateway.polling.master import Line
from gateway.polling.outcome import Polled
from gateway.polling.plan import Poll, Step, Unit, Write
from gateway.polling.request import Request
from simulators.heatmiser import HeatmiserBus, block, checksum
from tests.polling.bench import Bench


def unit(address: int) -> Unit:
    """Return a thermostat of which the first 36 bytes are read each minute."""
    return Unit(address, (Poll("block", 60.0, Request(address, 0, 0, 36)),), timeout_s=1.0)


def bench(bus: HeatmiserBus, *addresses: int) -> Bench:
    """Return a line with thermostats."""
    return Bench([unit(n) for n in addresses], bus, Line(4800), Heatmiser())


def test_the_block_is_read() -> None:
    """Each thermostat's block comes as it stands, cut to what was wanted; one that is dead costs the others nothing."""
    bus = HeatmiserBus({n: block(b18=15 + n, b33=200) for n in (1, 2, 3)}, dead={2})
    run = bench(bus, 1, 2, 3)
    run.run(601)
    assert [len(run.polled(n)) for n in (1, 2, 3)] == [11, 0, 11]
    values = next(each.data for _, each in run.log if isinstance(each, Polled) and each.address == 3)
    assert values == bytes(bus.blocks[3][:36])
    assert run.presence(2) == [False]
    assert run.master.units[2].last_error == "block: no answer"


def test_a_byte_is_written_and_read_back() -> None:
    """A setpoint is written to its byte, and the block that shows it follows."""
    bus = HeatmiserBus({5: block(b18=20)})
    run = bench(bus, 5)
    run.run(1)
    run.master.write(5, Write((Step(1, 18, 1, b"\x16"),), ("block",), command="warmer"))
    run.run(2)
    assert run.written() == [("warmer", "")]
    assert bus.blocks[5][18] == 22
    last = [each.data for _, each in run.log if isinstance(each, Polled)][-1]
    assert last[18] == 22


def test_a_short_block_is_refused_by_name() -> None:
    """A model whose block is shorter than what is wanted is there, and says what is wrong."""
    bus = HeatmiserBus({5: block()[:20]})
    run = bench(bus, 5)
    run.run(1)
    assert run.master.units[5].last_error == "block: a block of 20 bytes, 36 were wanted"
    assert run.presence(5) == [True]


def test_requests_are_as_the_protocol_writes_them() -> None:
    """Reading asks for the whole block; writing names byte and count; both end with the checksum, low byte first."""
    wire = Heatmiser()
    assert wire.frame(Request(1, 0, 0, 36)).hex() == "010a81000000ffff2c09"
    assert wire.frame(Request(5, 1, 18, 1, b"\x14")).hex() == "050b8101120001001475ca"


def test_only_the_right_answer_is_taken() -> None:
    """Of every mutation of one byte of an answer none is taken; noise before it and other units are passed over."""
    body = bytes((0x81, 75, 0, 5, 0, 0, 0, 64, 0)) + bytes(block(b18=20, b40=0x81))
    answer, wire, request = body + checksum(body), Heatmiser(), Request(5, 0, 0, 36)
    found = wire.find(b"\x00\x81\x81" + answer, request)
    assert found is not None
    assert found.data == body[9:45]
    assert wire.find(answer, Request(6, 0, 0, 36)) is None
    for at in range(len(answer)):
        broken = answer[:at] + bytes((answer[at] ^ 0x41,)) + answer[at + 1 :]
        assert wire.find(broken, request) is None


@pytest.mark.parametrize(
    ("received", "why"),
    [
        (b"", "no answer"),
        (b"\x01\x02", "2 bytes that are no answer"),
        (bytes((0x81, 75, 0, 6, 0)), "an answer of unit 6"),
        (bytes((0x81, 75, 0, 5, 0)), "a cut-off answer"),
        (bytes((0x81, 7, 0, 5, 1, 0, 0)), "an answer with a bad checksum"),
    ],
)
def test_what_came_instead_has_a_name(received: bytes, why: str) -> None:
    """What comes instead of an answer is named."""
    assert Heatmiser().why(received, Request(5, 0, 0, 36)) == why
