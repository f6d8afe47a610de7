"""`Link` over TCP or TLS: moves bytes between a transport of asyncio's and `session`.

* Writes are gathered: whatever a turn of the loop wants to say leaves in one write.
* Reads are gathered when they come often: one wake-up a message costs 50-240 us, so after `BUSY_READS` reads
  closer than the read tick, reading rests for one tick (5 ms) between reads. A message after a quiet moment is
  read at once, a full buffer is never waited for, and no answer is while messages of ours are held for it.
* What arrives is confirmed at once (TCP_QUICKACK): a broker without TCP_NODELAY, as Mosquitto is by default, holds
  its next small packets until the kernel here, which waits up to 40 ms, confirms the ones before.
* `acknowledge` is for deliveries of this connection; after its end it does nothing, because the peer delivers
  those messages again on the next one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from gateway.mqtt import packet as p
from gateway.mqtt.link import BIRTH, REFUSALS, Credentials, Ending, Host, Marked, Owner, for_the_owner, words
from gateway.mqtt.options import ConnectionOptions
from gateway.mqtt.packet import Reason
from gateway.mqtt.session import Received, Session, State
from gateway.mqtt.window import Answer

READ_BYTES: Final = 256 * 1024  # the buffer of one connection; only what is used costs memory
BUSY_READS: Final = 4  # reads in a row within the tick before it is engaged
FULL_READ_BYTES: Final = 64 * 1024  # a read of so much gains nothing by waiting
HELD_BACK_S: Final = 0.001  # what was held back by the peer comes within so long
QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux; the kernel forgets it with each read


class SocketLink(asyncio.BufferedProtocol):
    """`Link` over a transport of asyncio's."""

    def __init__(
        self,
        session: Session,
        owner: Owner,
        host: Host,
        options: ConnectionOptions,
        version: int,
        credentials: Credentials,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.version = version
        self.ended: asyncio.Future[Ending] = loop.create_future()
        self.answered = self.refused = False
        self.limits = p.NO_PROPERTIES
        self._session = session
        self._owner = owner
        self._host = host
        self._loop = loop
        self._credentials = credentials
        self._connect_timeout_s = options.connect_timeout_s
        self._transport: asyncio.Transport | None = None
        self._socket: Any = None  # for QUICKACK, where the loop lets us
        self._accepted = False
        self._birth_due = False
        self._subscribing = 0  # SUBSCRIBE without an answer
        self._ending: Ending | None = None
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._flushing = False
        self._acknowledged = 0  # since the last write
        self._writable = asyncio.Event()
        self._writable.set()
        self._tick_s = options.read_tick_ms / 1000
        self._read_at = 0.0
        self._busy = 0
        self._resting = False  # the tick holds reading back
        self._turn = 0  # which read after it did this will be; 0: it did not yet
        self._held_back = True  # the peer seems to hold small packets back (Nagle's algorithm)
        self._paused = False  # the owner does
        self._timer: asyncio.TimerHandle | None = None  # CONNACK's limit, then the keep-alive

    # -- asyncio's side ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT."""
        self._transport = cast("asyncio.Transport", transport)
        self._socket = transport.get_extra_info("socket")
        self._confirm()
        self._session.connect(self.version, *self._credentials)
        self._credentials = (None, None)  # not kept
        self._timer = self._loop.call_later(self._connect_timeout_s, self._no_connack)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Lend the one buffer; the decoder copies what it keeps."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what arrived."""
        if self._transport is None or self._ending is not None:
            return
        self._confirm()
        received = self._session.receive(self._buffer[:nbytes])
        self._take(received)
        self._gather(nbytes, len(received.messages) + len(received.answers))

    def _confirm(self) -> None:
        """Have the kernel confirm what arrived, now."""
        if self._socket is not None and QUICKACK is not None:
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
            except (OSError, TypeError, AttributeError):  # closed meanwhile, or another loop's idea of a socket
                self._socket = None

    def _gather(self, nbytes: int, packets: int) -> None:
        """Let reading rest for a tick when reads come often.

        A peer that holds small packets back sends them right after a read has confirmed the ones before: then each
        tick has a second read, or everything would come one tick later.
        """
        now = self._loop.time()
        gap_s, self._read_at = now - self._read_at, now
        if gap_s > self._tick_s * 1.5 or nbytes > FULL_READ_BYTES or self._session.window.held:
            self._busy, self._turn, self._held_back = 0, 0, True
            return
        if self._busy < BUSY_READS:
            self._busy += 1
            return
        if self._turn == 1 and self._held_back:
            self._turn = 2
            return
        if self._turn == 2:
            self._held_back = gap_s < HELD_BACK_S and packets > 1
        if not self._paused and self._transport is not None:
            self._resting = True
            self._transport.pause_reading()
            self._loop.call_later(self._tick_s, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._turn = 1
        if not self._paused and self._transport is not None:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Note that the peer is slower than we are."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it has caught up."""
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        """End: what was not answered is given back."""
        self._transport = None
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()
        early = self._session.state is State.CONNECTING
        lost = self._session.lose()
        why = f"connection lost: {error}" if error else "the peer closed the connection"
        pushed = self._accepted and not self._subscribing
        ending = self._ending or Ending(why, silent=early, refused=early and _is_tls(error), pushed=pushed)
        if not self.ended.done():
            self.ended.set_result(ending)
        if self._accepted:
            self._host.lost(self._without_birth(lost))

    # -- the session's side --------------------------------------------------------------------

    def _take(self, received: Received) -> None:
        for news in received.news:
            if type(news) is p.Connack:
                self._connack(news)
            elif type(news) is p.Suback:
                self._subscribing -= 1
            elif type(news) is p.Disconnect:
                code = news.reason_code
                self._end(Ending(f"disconnected: {words(news)}", code, refused=code in REFUSALS))
        if received.answers:
            if self._birth_due:
                received.answers = self._without_birth(received.answers)
            self.answered = self.answered or bool(received.answers)
            self.refused = self.refused or any(code >= Reason.UNSPECIFIED_ERROR for _, code in received.answers)
        if self._accepted and (received.messages or received.answers or received.news):
            self._owner.received(self, received)
        if received.error is not None:
            self._end(Ending(f"protocol error: {received.error}", received.error.reason_code))
        if self._session.wants_to_send:
            self._flush_soon()

    def _without_birth(self, answers: list[Answer]) -> list[Answer]:
        left = for_the_owner(self._host, answers)
        self._birth_due = self._birth_due and len(left) == len(answers)
        return left

    def _connack(self, connack: p.Connack) -> None:
        if connack.reason_code:
            why = f"refused: {words(connack)}"
            self._end(Ending(why, connack.reason_code, refused=connack.reason_code in REFUSALS))
            return
        self._accepted = True
        self.limits = connack.properties
        self._keep_alive()
        self._host.welcome(self, connack)

    def _no_connack(self) -> None:
        self._end(Ending(f"no CONNACK within {self._connect_timeout_s:g} s", silent=True))
        self.abort()

    def _keep_alive(self) -> None:
        error = self._session.tick(self._loop.time(), reading=not self._paused)
        if error is not None:
            self._end(Ending(str(error), error.reason_code))
            self.abort()  # nobody there would take the rest of what we wrote
            return
        self._flush_soon()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._session.tick_s, self._keep_alive)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is not None:
            data = self._session.data_to_send()
            if data:
                self._transport.write(data)
            if self._acknowledged:
                count, self._acknowledged = self._acknowledged, 0
                self._owner.acknowledged(count)

    def _end(self, ending: Ending) -> None:
        """Close from our side, for a reason."""
        if self._ending is None and self._transport is not None:
            self._ending = ending
            self._flush()
            self._transport.close()

    # -- the owner's side ----------------------------------------------------------------------

    def publish(
        self, topic: bytes, payload: bytes, qos: int, properties: bytes, token: Any, *, retain: bool = False
    ) -> int:
        """Send; 0 or a reason code. See `Session.publish`."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return self._session.publish(topic, payload, qos, properties, token, retain=retain)

    def announce(self, topic: bytes, payload: bytes, qos: int, *, retain: bool) -> None:
        """Publish our birth; its answer goes to the host."""
        self._birth_due = qos > 0
        self.publish(topic, payload, qos, b"\0" if self.version == p.V5 else b"", BIRTH, retain=retain)

    def subscribe(self, subscriptions: tuple[p.Subscription, ...]) -> None:
        """Send SUBSCRIBE."""
        self._subscribing += 1
        self._session.subscribe(subscriptions)
        self._flush_soon()

    def unsubscribe(self, topic_filters: tuple[str, ...]) -> None:
        """Send UNSUBSCRIBE."""
        self._session.unsubscribe(topic_filters)
        self._flush_soon()

    def acknowledge(self, delivery: Marked) -> None:
        """Answer a message of this connection; nothing happens after its end."""
        token = delivery.token
        if token and self._transport is not None:
            self._session.acknowledge(token)
            self._acknowledged += 1
            if not self._flushing:
                self._flushing = True
                self._loop.call_soon(self._flush)

    def withdraw(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """Take back messages that were not sent yet; returns their tokens."""
        return self._session.window.withdraw(wanted)

    def pause(self) -> None:
        """Stop reading; pings are still sent and silence is not held against the peer."""
        if not self._paused:
            self._paused = True
            if self._transport is not None and not self._resting:
                self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._resting:
                self._transport.resume_reading()

    async def drain(self) -> None:
        """Return when the peer takes bytes again."""
        await self._writable.wait()

    def close(self, *, with_will: bool = False) -> None:
        """Say goodbye, the peer then closes; `with_will`: the will is to be published all the same."""
        if self._ending is None and self._transport is not None:
            if with_will and self.version == p.V311 and self._session.options.will is not None:
                will = self._session.options.will  # 3.1.1 has no such word, so we say it ourselves
                self._session.publish(
                    will.topic.encode(), will.payload, min(will.qos, 1), b"", None, retain=will.retain
                )
            code = Reason.DISCONNECT_WITH_WILL_MESSAGE if with_will and self.version == p.V5 else Reason.SUCCESS
            self._session.disconnect(code)
            self._ending = Ending("closed", Reason.SUCCESS)
            self._flush()  # closing now, with bytes unread here, would reset the connection under our last answers

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._transport is not None:
            self._transport.abort()


def _is_tls(error: Exception | None) -> bool:
    """Return whether TLS itself said no: a peer that does not like our certificate says so only now (TLS 1.3)."""
    return error is not None and type(error).__module__ == "ssl"
