"""Serial ports as sources, with pseudo terminals: what was read is delivered once, whatever happens to the cable."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.framing.gap import Gap
from gateway.framing.line import Line
from gateway.framing.options import Framing
from gateway.sources.ports import Ports
from gateway.sources.serial import SerialSource, SerialSourceOptions
from tests.sources.plugs import Inbox, Plug, Sockets, send_all, until
from tests.sources.test_ports import HOLD

FRAMES = 400


def source(
    serial: str | Path,
    name: str = "attic",
    *,
    framing: Framing | None = None,
    ports: Ports | None = None,
    **options: object,
) -> SerialSource:
    settings = SerialSourceOptions(serial=str(serial), profile="any", **options)  # type: ignore[arg-type]
    return SerialSource(name, settings, framing or Line(), SystemClock(), ports=ports)


@contextlib.asynccontextmanager
async def running(sources: Sequence[SerialSource], inbox: Inbox) -> AsyncIterator[None]:
    """Run sources for the length of a block."""
    tasks = [asyncio.create_task(each.run(inbox)) for each in sources]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


def opened(*sources: SerialSource) -> bool:
    return all(each.status()["connected"] for each in sources)


def line(number: int) -> bytes:
    return b"%d;1;1;0;0;%d.5\r\n" % (number, number % 40)


def whole(sent: bytes) -> list[bytes]:
    """Return the frames that are whole in what was sent."""
    return [each.rstrip(b"\r") for each in sent.split(b"\n")[:-1]]


def test_lines_become_deliveries(tmp_path: Path) -> None:
    """Each line is a delivery under the source's name, with garbage between them refused by the framing and counted."""
    plug, inbox = Plug(tmp_path / "port"), Inbox()
    attic = source(tmp_path / "port", framing=Line(bytes_max=64, checksum="sum-hex"))

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: opened(attic))
            good = b"60900332\r\n"
            await send_all(plug, good + b"\xff\x00garbage\r\n" + good + b"x" * 100 + b"\n" + good)
            await until(lambda: len(inbox.deliveries) == 3)
            assert attic.send("any", b"001C1\r\n")
            assert await until(plug.read) == b"001C1\r\n"
            said = attic.status()
            assert said["rejected_by_framing"] == {"checksum": 1, "too long": 1}
            assert (said["received"], said["kind"], said["address"]) == (3, "serial", str(tmp_path / "port"))
            assert "last_error" not in said

    asyncio.run(scene())
    plug.unplug()
    delivery = inbox.deliveries[0]
    assert (delivery.source, delivery.topic, delivery.payload, delivery.qos) == ("attic", "attic", b"609003", 0)
    delivery.origin.acknowledge(delivery)  # nobody to tell


def test_pulled_out_and_plugged_in_elsewhere(tmp_path: Path) -> None:
    """Under another tty name it goes on without a restart; every whole frame that was read is there once, no other."""
    sockets, plug, inbox = Sockets(tmp_path), Plug(), Inbox()
    attic = source("usb:1a86:7523", ports=sockets.ports)
    port = attic._port
    expected: list[bytes] = []
    halves = 0

    async def one_life(name: str, numbers: range) -> None:
        """Plug in, send while frames flow, pull out in the middle of a frame."""
        nonlocal halves
        read_before = port.bytes_read
        sockets.plug(plug, name)
        await until(lambda: opened(attic))
        data = b"".join(map(line, numbers))
        cut = len(data) - 9
        await send_all(plug, data[:cut])
        await until(lambda: port.bytes_read - read_before > cut // 2)  # pulled out while it flows
        sockets.unplug(plug)
        await until(lambda: not opened(attic))
        read = data[: port.bytes_read - read_before]
        expected.extend(whole(read))
        halves += not read.endswith(b"\n")

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: "not plugged in" in str(attic.status().get("last_error")))
            await one_life("ttyUSB0", range(FRAMES))
            await one_life("ttyUSB1", range(FRAMES, 2 * FRAMES))
            await one_life("ttyACM3", range(2 * FRAMES, 3 * FRAMES))
            assert attic.status()["reconnects"] == 2

    asyncio.run(scene())
    assert inbox.frames["attic"] == expected
    assert len(expected) > FRAMES
    assert attic.framer.rejected["cut short"] == halves  # none of them met the beginning of the next life


def test_a_path_that_leads_to_another_tty(tmp_path: Path) -> None:
    """A by-id link that is made anew for another tty is followed, and half a frame before it is forgotten."""
    link, inbox = tmp_path / "by-id/usb-Example", Inbox()
    plug = Plug(link)
    attic = source(link)

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: opened(attic))
            await send_all(plug, b"one\nhal")
            await until(lambda: attic._port.bytes_read == 7)
            plug.unplug()
            await until(lambda: not opened(attic))
            assert not attic.send("any", b"nobody\n")
            plug.plug(link)
            await until(lambda: opened(attic))
            await send_all(plug, b"f\ntwo\n")
            await until(lambda: len(inbox.deliveries) == 3)

    asyncio.run(scene())
    plug.unplug()
    assert inbox.frames["attic"] == [b"one", b"f", b"two"]
    assert attic.framer.rejected == {"cut short": 1}


def test_a_port_that_somebody_else_has(tmp_path: Path) -> None:
    """A busy port is said with the program that holds it, and is opened when that lets go; ours is locked, too."""
    plug, inbox = Plug(tmp_path / "port"), Inbox()
    attic, twin = source(tmp_path / "port"), source(tmp_path / "port", "twin")

    async def scene() -> None:
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "port")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            assert holder.stdout.readline() == b"held\n"
            async with running([attic], inbox):
                said = await until(lambda: attic.status().get("last_error"))
                assert str(said).startswith(f"{tmp_path / 'port'} is held by ")
                assert str(said).endswith(f"(process {holder.pid})")
                holder.stdin.close()
                await until(lambda: opened(attic))
                async with running([twin], inbox):
                    said = await until(lambda: twin.status().get("last_error"))
                    assert str(said).endswith("is held by another source of this gateway")
                    await send_all(plug, b"x\n")
                    await until(lambda: inbox.deliveries)
                await send_all(plug, b"y\n")
                await until(lambda: len(inbox.deliveries) == 2)
        assert inbox.frames == {"attic": [b"x", b"y"]}

    asyncio.run(scene())
    plug.unplug()


def test_a_device_that_takes_nothing(tmp_path: Path) -> None:
    """A port that blocks writing refuses commands beyond its queue, drops them in time, and is read all the while."""
    plug, inbox = Plug(tmp_path / "port"), Inbox()
    attic = source(tmp_path / "port", write_bytes_max=50_000, write_timeout_s=0.3)

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: opened(attic))
            queued = 0
            while attic.send("any", b"x" * 10_000):
                queued += 1
                assert queued < 20, "the queue has no end"
            assert attic._port.unwritten_bytes >= 40_000
            await send_all(plug, b"still read\n")
            await until(lambda: inbox.deliveries)
            await until(lambda: "took nothing for 0.3 s" in str(attic.status().get("last_error")))
            assert attic._port.unwritten_bytes == 0
            assert int(str(attic.status()["refused_commands"])) >= 2
            arrived = b""
            while not arrived.endswith(b"again\n"):  # what was in the line comes before it, in pieces
                assert attic.send("any", b"again\n")
                arrived = await until(plug.read)

    asyncio.run(scene())
    plug.unplug()


def test_a_slow_device_gets_every_command(tmp_path: Path) -> None:
    """What waits for a slow line arrives whole and in order, and makes room for more as it goes."""
    plug, inbox = Plug(tmp_path / "port"), Inbox()
    attic = source(tmp_path / "port", write_bytes_max=50_000, write_timeout_s=60)
    sent, arrived = bytearray(), bytearray()

    port = attic._port

    def drained_some() -> bool:
        before = len(arrived)
        return drained() or len(arrived) > before

    def drained() -> bool:
        arrived.extend(plug.read())
        return len(arrived) >= len(sent)

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: opened(attic))
            for number in range(5_000):
                command = b"%07d\n" % number * 4
                while not attic.send("any", command):
                    await until(drained_some)
                    assert port._waiting_bytes == sum(map(len, port._waiting)), "what was written makes room"
                sent.extend(command)
            await until(drained)

    asyncio.run(scene())
    plug.unplug()
    assert arrived == sent


def test_reading_stops_and_goes_on(tmp_path: Path) -> None:
    """Paused, nothing is delivered and the line fills up; afterwards everything is there, and no silence was heard."""
    plug, inbox = Plug(tmp_path / "port"), Inbox()
    attic = source(tmp_path / "port", framing=Gap(gap="100ms", bytes_max=60_000))

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: opened(attic))
            await send_all(plug, b"begun ")
            await until(lambda: attic._port.bytes_read == 6)
            attic.pause()
            while plug.send(b"y" * 1000):  # until the line is full
                await asyncio.sleep(0.001)
            before = len(inbox.deliveries)
            await asyncio.sleep(0.4)
            assert len(inbox.deliveries) == before
            attic.resume()
            everything = b"begun " + b"y" * (plug.sent - 6)
            await until(lambda: b"".join(inbox.frames.get("attic", ())) == everything)

    asyncio.run(scene())
    plug.unplug()


def test_eight_ports_and_one_dead(tmp_path: Path) -> None:
    """Seven ports deliver everything while an eighth is not there, is pulled out and comes back half way."""
    inbox, plugs = Inbox(), [Plug(tmp_path / f"port{n}") for n in range(7)]
    sources = [source(tmp_path / f"port{n}", f"s{n}") for n in range(8)]
    flapping = Plug()

    async def scene() -> None:
        async with running(sources, inbox):
            await until(lambda: opened(*sources[:7]))
            for part in range(4):
                data = b"".join(map(line, range(part * 100, part * 100 + 100)))
                await asyncio.gather(*(send_all(plug, data) for plug in plugs))
                if part == 1:
                    flapping.plug(tmp_path / "port7")
                    await until(lambda: opened(sources[7]))
                    await send_all(flapping, b"here\nand g")
                elif part == 2:
                    await until(lambda: inbox.frames.get("s7"))
                    flapping.unplug()
            await until(lambda: all(len(inbox.frames.get(f"s{n}", ())) == 400 for n in range(7)))
            assert opened(*sources[:7])
            await until(lambda: not opened(sources[7]))

    asyncio.run(scene())
    for n, plug in enumerate(plugs):
        plug.unplug()
        assert inbox.frames[f"s{n}"] == [line(number).strip() for number in range(400)]
    assert inbox.frames["s7"] == [b"here"]


@pytest.mark.parametrize("framing", [Line(), Gap(gap="20ms")], ids=["at a byte", "at a silence"])
def test_an_inbox_that_raises_ends_the_source(tmp_path: Path, framing: Framing) -> None:
    """A bug behind the source is not swallowed, whether a byte or a silence brought it out."""
    plug = Plug(tmp_path / "port")
    attic = source(tmp_path / "port", framing=framing)

    def inbox(_deliveries: object) -> None:
        raise RuntimeError("a bug")

    async def scene() -> None:
        task = asyncio.create_task(attic.run(inbox))
        await until(lambda: opened(attic))
        await send_all(plug, b"x\n")
        with pytest.raises(RuntimeError, match="a bug"):
            await asyncio.wait_for(task, 60)

    asyncio.run(scene())
    plug.unplug()


def test_a_first_line_without_its_beginning(tmp_path: Path) -> None:
    """Where the profile says so, a line is delivered when the port was silent before it, though it is the first."""
    plug, inbox = Plug(tmp_path / "port"), Inbox()
    attic = source(tmp_path / "port", framing=Line(first="drop"))

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: opened(attic))
            await until(lambda: attic._silence is None)  # it was silent
            await send_all(plug, b"DOOR OPEN\n")
            await until(lambda: inbox.deliveries)

    asyncio.run(scene())
    plug.unplug()
    assert not attic.framer.rejected


def test_how_the_line_is_set(tmp_path: Path) -> None:
    """Speed, mode and flow control of the options are those of the line, and DTR survives the gateway."""
    plug, inbox = Plug(tmp_path / "port"), Inbox()
    attic = source(tmp_path / "port", baud=57_600, mode="7E2", flow="software", dtr=False, rts=False)

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: opened(attic))
            iflag, _oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(plug.master)
            assert (ispeed, ospeed) == (termios.B57600, termios.B57600)
            assert not cflag & (termios.CRTSCTS | termios.HUPCL)
            assert cflag & termios.CSTOPB
            assert iflag & termios.IXON
            assert not lflag & (termios.ICANON | termios.ECHO)
            assert cc[termios.VMIN] in (1, b"\x01")
            line = attic._port._line  # a pseudo terminal has eight bits and no parity, whatever it is told
            assert (line.bytesize, line.parity, line.stopbits) == (7, "E", 2)

    asyncio.run(scene())
    plug.unplug()


def test_the_wrong_speed_is_thought_of(tmp_path: Path) -> None:
    """Bytes without one whole frame make the status ask whether the line is set right."""
    plug, inbox = Plug(tmp_path / "port"), Inbox()
    attic = source(tmp_path / "port", framing=Line(checksum="sum-hex"), baud=19_200)

    async def scene() -> None:
        async with running([attic], inbox):
            await until(lambda: opened(attic))
            await send_all(plug, b"\xf8\x80\n" * 19)
            await until(lambda: attic.framer.rejected.total() == 19)
            assert "last_error" not in attic.status()
            await send_all(plug, b"\xf8\x80\n")
            said = await until(lambda: attic.status().get("last_error"))
            assert said == "bytes come, but no frame is right: is the line really 19200 baud, 8N1?"

    asyncio.run(scene())
    plug.unplug()


def test_what_is_no_serial_port(tmp_path: Path) -> None:
    """A file that is no port, and a path that leads nowhere, are said and looked at again."""
    (tmp_path / "file").touch()
    wrong, none, inbox = source(tmp_path / "file", "wrong"), source(tmp_path / "none", "none"), Inbox()

    async def scene() -> None:
        async with running([wrong, none], inbox):
            assert await until(lambda: none.status().get("last_error")) == f"{tmp_path / 'none'} is not there"
            assert str(await until(lambda: wrong.status().get("last_error"))).startswith(f"{tmp_path / 'file'}: ")

    asyncio.run(scene())
