"""Captures: JSON lines of what was said, recorded from a broker or a serial port, and played back at its pace.

A line is ``{"t": seconds, "topic": ..., "payload": text | "hex": ..., "retain": true, "dialect": ...}``; without a
topic it is bytes of the port that `dialect` names.  A simulated house records the same (`Books`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Any

import aiomqtt
import msgspec
import serial  # type: ignore[import-untyped]

from gateway.document import raise_faults
from gateway.errors import Fault, GatewayError
from simulators.house.books import Clock
from simulators.house.port import Port

RECORDED_MAX = 10_000_000  # messages; a recorder that was forgotten ends
CHUNK_BYTES = 4096
READ_S = 0.2
KEEP_ALIVE_S = 60


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of a capture."""

    t: float
    topic: str = ""
    payload: str | None = None
    hex: str | None = None
    retain: bool = False
    dialect: str = ""
    heard: str | None = None  # a command to the house: not played

    @property
    def bytes(self) -> bytes:
        """Return what goes over the wire. ValueError for hex that is none."""
        return bytes.fromhex(self.hex) if self.hex is not None else (self.payload or "").encode()


_line = msgspec.json.Decoder(Line).decode


def read(file: Path) -> list[Line]:
    """Read a capture. Raises ConfigError with the lines that are none."""
    faults, lines = [], []
    try:
        texts = file.read_bytes().splitlines()
    except OSError as error:
        raise GatewayError(f"{file}: {error.strerror}") from None
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            line = _line(text)
            line.bytes  # noqa: B018 - its hex is looked at now
            lines.append(line)
        except (msgspec.DecodeError, ValueError) as error:
            faults.append(Fault(file, number, str(error)))
    raise_faults(faults)
    return sorted((line for line in lines if line.heard is None), key=lambda line: line.t)


async def play(
    lines: list[Line],
    broker: tuple[str, int],
    ports: Path,
    *,
    speed: float,
    stopping: asyncio.Event,
    show: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Say every message again, at its time; MQTT at QoS 1 to a broker, the rest on ports in a folder."""
    names = sorted({line.dialect or "port" for line in lines if not line.topic})
    opened = {name: Port(ports / name) for name in names}
    for port in opened.values():
        port.plug(lambda _: None)
    clock, said = Clock(speed), {"played": 0, "acknowledged": 0, "lost_serial_bytes": 0, "of": len(lines)}
    try:
        async with contextlib.AsyncExitStack() as stack:
            client = None
            if any(line.topic for line in lines):
                client = await stack.enter_async_context(aiomqtt.Client(*broker, keepalive=KEEP_ALIVE_S))
            clock.go()
            for line in lines:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, clock.until_s(line.t))):
                        await stopping.wait()
                if stopping.is_set():
                    break
                if client is not None and line.topic:
                    await client.publish(line.topic, line.bytes, qos=1, retain=line.retain)
                    said["acknowledged"] += 1
                elif not line.topic:
                    opened[line.dialect or "port"].write(line.bytes)
                said["played"] += 1
                show(said)
    except (aiomqtt.MqttError, OSError) as error:
        raise GatewayError(f"{broker[0]}:{broker[1]}: {error}") from None
    finally:
        said["lost_serial_bytes"] = sum(port.lost_bytes for port in opened.values())
        for port in opened.values():
            port.unplug()
    return said


async def record(
    file: Path, broker: tuple[str, int], stopping: asyncio.Event, show: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Write down everything a broker hands out, until stopped; retained copies are marked."""
    began, count = time.monotonic(), 0
    try:
        with file.open("wb") as out:
            async with aiomqtt.Client(*broker, keepalive=KEEP_ALIVE_S) as client:
                await client.subscribe("#", 1)
                async for message in _until(client, stopping):
                    payload = bytes(message.payload)
                    at_s = round(time.monotonic() - began, 3)
                    _write(out, Line(at_s, str(message.topic), *_text(payload), message.retain))
                    count += 1
                    show({"recorded": count})
                    if count >= RECORDED_MAX:
                        break
    except (aiomqtt.MqttError, OSError) as error:
        raise GatewayError(f"{broker[0]}:{broker[1]}: {error}") from None
    return {"recorded": count, "seconds": round(time.monotonic() - began, 1)}


async def record_port(
    file: Path, port: str, baud: int, stopping: asyncio.Event, show: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Write down the bytes of a serial port as they come, until stopped."""
    began, count = time.monotonic(), 0
    try:
        with file.open("wb") as out, serial.Serial(port, baud, timeout=READ_S) as line:
            while not stopping.is_set() and count < RECORDED_MAX:
                data = bytes(await asyncio.to_thread(line.read, 1))
                data += line.read(min(line.in_waiting, CHUNK_BYTES))
                if len(data):
                    _write(out, Line(round(time.monotonic() - began, 3), "", *_text(data), dialect=Path(port).name))
                    count += len(data)
                    show({"recorded_bytes": count})
    except OSError as error:
        raise GatewayError(f"{port}: {error}") from None
    return {"recorded_bytes": count, "seconds": round(time.monotonic() - began, 1)}


async def _until(client: aiomqtt.Client, stopping: asyncio.Event) -> AsyncIterator[aiomqtt.Message]:
    """Yield messages until stopped."""
    messages = client.messages.__aiter__()
    stopped = asyncio.create_task(stopping.wait())
    try:
        while not stopping.is_set():
            coming = asyncio.ensure_future(messages.__anext__())
            await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
                return
            yield coming.result()
    finally:
        stopped.cancel()


def _text(payload: bytes) -> tuple[str | None, str | None]:
    """Return text and hex: one of them is None."""
    try:
        return payload.decode(), None
    except UnicodeDecodeError:
        return None, payload.hex()


def _write(out: IO[bytes], line: Line) -> None:
    out.write(msgspec.json.encode(line) + b"\n")
    out.flush()
