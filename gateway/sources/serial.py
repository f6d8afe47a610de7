"""A device on a serial port as a source: its bytes are cut into frames, and each frame is a delivery.

::

    [sources.attic]
    serial = "usb:1a86:7523"          # `edge-gateway serial list` shows them
    profile = "mysensors"             # says baud, mode and framing; a family's name or a list, too

A serial line cannot acknowledge. What was read and is not on the disk yet is lost when the gateway is killed: that is
what came within the journal's `max_delay_ms`. What came while nobody read is lost as well, but for what the kernel and
flow control hold. All frames have QoS 0, and say so in `status`.

The frame that was under way when the cable was pulled is refused and counted, as is whatever the framing refuses.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.clock import Clock
from gateway.framing.options import Framing, framer_of
from gateway.sources.port import BAUD, MODE, LineSettings, Port
from gateway.sources.ports import Ports
from gateway.sources.source import Delivery, Inbox

PROFILES_MAX: Final = 64  # words in `profile`
NOISE_MIN: Final = 20  # refusals without one frame that make one think of the wrong speed


class SerialSourceOptions(LineSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[sources.<name>] of kind ``serial``: one device, or a radio that many devices are behind."""

    profile: str | tuple[str, ...]  # which profiles read it, by id or family

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.profiles and all(self.profiles)) or len(self.profiles) > PROFILES_MAX:
            raise ValueError(f"profile names 1 to {PROFILES_MAX} profiles")

    @property
    def profiles(self) -> tuple[str, ...]:
        """Return the words of `profile`."""
        return (self.profile,) if isinstance(self.profile, str) else self.profile


class SerialSource:
    """One port, cut into frames."""

    def __init__(
        self,
        name: str,
        options: SerialSourceOptions,
        framing: Framing,
        clock: Clock,
        *,
        ports: Ports | None = None,
    ) -> None:
        """Prepare; what the profiles say about baud and mode is in `options` already."""
        self.name = name
        self.options = options
        self.framer = framer_of(framing)
        self.frames = 0
        self._clock = clock
        self._port = Port(f"source {name}", options, self, clock=clock, ports=ports)
        self._inbox: Inbox | None = None
        self._loop: asyncio.AbstractEventLoop
        self._heard = 0.0  # the loop's time of the last byte
        self._silence: asyncio.TimerHandle | None = None  # runs while a silence would mean something

    async def run(self, inbox: Inbox) -> None:
        """Keep the port open and deliver, until cancelled; an inbox that raises ends it with that exception."""
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        try:
            await self._port.run()
        finally:
            self._stop_waiting()

    def pause(self) -> None:
        """Stop reading (backpressure); flow control holds the device, if there is any."""
        self._port.pause()
        self._stop_waiting()  # bytes may be waiting in the kernel: this is no silence

    def resume(self) -> None:
        """Go on reading."""
        self._port.resume()
        if self._port.open:
            self._listen()

    def send(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:  # noqa: ARG002
        """Write a command's bytes; False when the port is away or too much is waiting to be written."""
        return self._port.write(payload)

    def status(self) -> dict[str, object]:
        """Say what `edge-gateway status` shows."""
        said = self._port.status()
        said["received"] = self.frames
        rejected = self.framer.rejected
        if rejected:
            said["rejected_by_framing"] = dict(rejected)
        if not self.frames and rejected.total() >= NOISE_MIN:
            line = f"{self.options.baud or BAUD} baud, {self.options.mode or MODE}"
            said.setdefault("last_error", f"bytes come, but no frame is right: is the line really {line}?")
        return said

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing: a serial line has no acknowledgement."""

    # -- the port's owner ----------------------------------------------------------------------

    def back(self) -> None:
        """Begin: the framer was reset when the port was lost, and a silence from now on tells it something."""
        self._listen()

    def received(self, data: bytes) -> None:
        """Cut bytes into frames and hand these on together."""
        self._deliver(self.framer.feed(data))
        self._listen()

    def lost(self, why: str) -> None:  # noqa: ARG002 - `status` says it
        """Refuse the frame that was under way."""
        self._stop_waiting()
        self.framer.reset()

    # -- silence -------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Expect the next byte within the framing's gap."""
        gap_s = self.framer.gap_s
        if gap_s:
            self._heard = self._loop.time()
            if self._silence is None:
                self._silence = self._loop.call_later(gap_s, self._look)

    def _look(self) -> None:
        """Tell the framer of a silence, if it is one. Bytes that are there by now were read before this timer."""
        left = self._heard + self.framer.gap_s - self._loop.time()
        if left > 0:
            self._silence = self._loop.call_later(left, self._look)
            return
        self._silence = None
        try:
            self._deliver(self.framer.idle())
        except Exception as error:  # noqa: BLE001 - a bug: asyncio would log it and go on; it must end `run`
            self._port.fail(error)

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _deliver(self, frames: list[bytes]) -> None:
        if not frames:
            return
        self.frames += len(frames)
        name, now_ns = self.name, self._clock.wall_ns()
        assert self._inbox is not None
        self._inbox([Delivery(name, name, frame, now_ns, self) for frame in frames])
