"""A client's connection that is made again whenever it ends: the asyncio shell around `session`.

Waits between tries are random up to an exponentially growing limit (full jitter), so that a fleet does not
come back at one moment. A refusal (wrong password, a certificate nobody trusts) is a state of its own and is
tried again only after `refused_wait_s`: name, password and certificates are read anew each time, so a repaired
file is enough. So is being pushed off by another program with our client id: a broker says so (MQTT 5), or closes
again and again soon after it let us in, with nothing of ours under way. MQTT 5 is tried first; a broker that does not
know it, or says nothing at all twice, gets 3.1.1.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from gateway.backoff import Backoff
from gateway.clock import Clock, rfc3339
from gateway.codes.clock import CLIENT_ID_TAKEN, WAITS_FOR_CLOCK
from gateway.codes.code import Code
from gateway.codes.sources import SOURCE_DOWN, SOURCE_REFUSED
from gateway.codes.targets import BIRTH_REFUSED, BROKER_IS_OLD, ROUTE_DOWN, ROUTE_REFUSED
from gateway.errors import ConfigError
from gateway.logs.about import about
from gateway.mqtt import packet as p
from gateway.mqtt.link import Credentials, Ending, Link, Owner
from gateway.mqtt.options import ConnectionOptions
from gateway.mqtt.packet import Reason, reason_name
from gateway.mqtt.session import Session, SessionOptions
from gateway.mqtt.socket_link import SocketLink
from gateway.mqtt.tls import WaitsForClock, clock_set, judged, tls_context
from gateway.mqtt.window import Answer

log = logging.getLogger(__name__)

STABLE_S: Final = 10.0  # a connection that lasted so long was a good one: the next wait is the first again
ANSWERED_WAIT_S: Final = 0.1  # longest wait after one that took something: some brokers close after each refusal
GOODBYE_S: Final = 2.0  # how long DISCONNECT may take to leave
SILENT_TRIES: Final = 2  # with one version before the other is tried
PUSHED_MAX: Final = 3  # connections that ended soon, for nothing we said: somebody has our client id, too
_jitter = random.SystemRandom()


class Phase(Enum):
    """What a connection is doing."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"  # unreachable or lost; tried again soon
    CLOCK = "waiting for the clock"  # the peer's certificate is right but for its dates: tried when the clock is set
    REFUSED = "refused"  # credentials or certificates: a person has to do something


class Connection:
    """Keeps a link to one peer for its owner."""

    def __init__(
        self, name: str, options: ConnectionOptions, session: SessionOptions, owner: Owner, clock: Clock
    ) -> None:
        self.name = name
        self.options = options
        self.phase = Phase.CONNECTING
        self.link: Link | None = None  # only while the peer has let us in
        self.connects = 0
        self.version = p.V311 if options.version == "3.1.1" else p.V5
        self._session = Session(session)
        self._owner = owner
        self._clock = clock
        self._since_ns = clock.wall_ns()
        self._error = ""
        self._silences = 0
        self._only_311 = False  # the broker said so
        self._paused = False
        self._client_id = session.client_id
        self._answered = False
        self._blamed = False  # a message of ours may be why the connection has ended
        self._pushed = 0
        self._birth = options.birth
        self._ready = asyncio.Event()
        self._doubt: WaitsForClock | None = None

    async def run(self) -> None:
        """Connect and stay connected until cancelled; says goodbye then."""
        backoff = Backoff(self.options.reconnect_first_s, self.options.reconnect_max_s)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if self._doubt is None:
                self._enter(Phase.CONNECTING)
            self._answered = self._blamed = False
            ending = await self._once()
            if self._other_version(ending):
                continue
            if self._doubt is not None:
                await self._wait_for_clock(self._doubt)
                continue
            useful, stable = self._answered and self._blamed, loop.time() - began >= STABLE_S
            if useful or stable:
                backoff.reset()
            self._pushed = 0 if stable else self._pushed + (ending.pushed and not self._blamed)
            taken = ending.reason_code == Reason.SESSION_TAKEN_OVER or self._pushed >= PUSHED_MAX
            wait_s = backoff.next_s()
            if ending.refused or taken:
                wait_s = self.options.refused_wait_s * _jitter.uniform(0.5, 1.0)
            elif useful:
                wait_s = min(wait_s, _jitter.uniform(0.0, ANSWERED_WAIT_S))
            self._error = f"{ending.why}: {CLIENT_ID_TAKEN.title} ({self._client_id!r})" if taken else ending.why
            self._enter(Phase.REFUSED if ending.refused or taken else Phase.WAITING)
            said = self._about(CLIENT_ID_TAKEN if taken else self._code(ending.refused))
            log.warning("%s: %s; next try in %.1f s", self.name, self._error, wait_s, extra=said)
            await asyncio.sleep(wait_s)

    async def _wait_for_clock(self, doubt: WaitsForClock) -> None:
        """Wait until the clock is set; said once, not with each try."""
        self._error = doubt.text
        if self.phase is not Phase.CLOCK:
            log.warning("%s: %s", self.name, doubt.text, extra=self._about(WAITS_FOR_CLOCK))
        self._enter(Phase.CLOCK)
        await clock_set(doubt, self._clock)

    async def ready(self) -> None:
        """Return when there is a link."""
        await self._ready.wait()

    def pause(self) -> None:
        """Stop reading, on this link and the next ones."""
        self._paused = True
        if self.link is not None:
            self.link.pause()

    def resume(self) -> None:
        """Go on reading."""
        self._paused = False
        if self.link is not None:
            self.link.resume()

    def status(self) -> dict[str, object]:
        """Say how it stands, for a person."""
        said: dict[str, object] = {
            "url": str(self.options.address),
            "state": self.phase.value,
            "connected": self.phase is Phase.CONNECTED,
            "since": rfc3339(self._since_ns),
            "connects": self.connects,
        }
        if self.link is not None:
            said["mqtt"] = "5" if self.link.version == p.V5 else "3.1.1"
        if self._error:
            said["last_error"] = self._error
        return said

    def _code(self, refused: bool) -> Code:
        if self.name.startswith("source "):
            return SOURCE_REFUSED if refused else SOURCE_DOWN
        return ROUTE_REFUSED if refused else ROUTE_DOWN

    def _about(self, code: Code | None = None) -> Mapping[str, Any]:
        kind, _, name = self.name.partition(" ")
        return about(code, source=name) if kind == "source" else about(code, target=name)

    def _enter(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self._since_ns = self._clock.wall_ns()

    def _other_version(self, ending: Ending) -> bool:
        """Turn to the other version if that may help; True: try again at once."""
        if self.options.version != "auto":
            return False
        if ending.reason_code == Reason.UNSUPPORTED_PROTOCOL_VERSION and self.version == p.V5:
            log.warning(
                "%s: the broker does not know MQTT 5: refusals of single messages will go unseen",
                self.name, extra=self._about(BROKER_IS_OLD),
            )  # fmt: skip
            self.version, self._only_311 = p.V311, True
            return True
        self._silences = self._silences + 1 if ending.silent else 0
        if ending.silent and self._silences % SILENT_TRIES == 0:
            self.version = p.V5 if self.version == p.V311 else p.V311
        elif not ending.silent and not self._only_311:
            self.version = p.V5
        return False

    # -- one try -------------------------------------------------------------------------------

    async def _once(self) -> Ending:
        """Connect and stay to the end of it; returns how it ended."""
        self._doubt = None
        try:
            credentials = self.options.credentials()
        except ConfigError as error:
            return Ending(f"no credentials: {error}", refused=True)
        try:
            async with asyncio.timeout(self.options.connect_timeout_s):
                link = await self._open(credentials)
        except TimeoutError:
            return Ending(f"no connection within {self.options.connect_timeout_s:g} s")
        except (ssl.SSLError, ssl.CertificateError) as error:
            address, limit_s = self.options.address, self.options.connect_timeout_s
            near = self.options.proxy is None
            self._doubt = await judged(
                error, self._clock, self.options.tls, address.host, address.port, limit_s, ask=near
            )
            return Ending(f"TLS: {_tls_words(error)}", refused=True)
        except OSError as error:
            return Ending(f"cannot connect: {_words(error)}")
        except (ValueError, ConfigError) as error:  # a file or an option that a person has to repair
            return Ending(f"cannot connect: {error}", refused=True)
        try:
            await asyncio.wait({link.ended})
        finally:
            self._answered, self._blamed = link.answered, self._blamed or link.refused
            if not link.ended.done():  # cancelled: the gateway stops
                link.close(with_will=True)
                await asyncio.wait({link.ended}, timeout=GOODBYE_S)
                link.abort()
        return link.ended.result()

    async def _open(self, credentials: Credentials) -> Link:
        address, tls = self.options.address, self.options.tls
        context = await asyncio.to_thread(tls_context, tls) if address.tls else None
        parts = (self._session, self._owner, self, self.options, self.version, credentials)
        if address.websocket or self.options.proxy is not None:
            from gateway.mqtt.via_paho import open_link

            return await open_link(*parts, context)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(
            lambda: SocketLink(*parts),
            address.host,
            address.port,
            ssl=context,
            server_hostname=(tls.server_name or address.host) if context is not None else None,
        )
        return link

    # -- the link's host -----------------------------------------------------------------------

    def welcome(self, link: Link, connack: p.Connack) -> None:
        """Begin with a link whose peer has let us in: our birth first, then the owner."""
        self.link = link
        self.connects += 1
        self._error = ""
        self._silences = 0
        self._enter(Phase.CONNECTED)
        if self._paused:
            link.pause()
        if self._birth is not None:
            birth = self._birth
            link.announce(birth.topic.encode(), birth.payload.encode(), birth.qos, retain=birth.retain)
        self._owner.connected(link, session_present=connack.session_present)
        self._ready.set()
        log.info("%s: connected to %s", self.name, self.options.address, extra=self._about())

    def lost(self, answers: list[Answer]) -> None:
        """End: there is no link until the next one is welcome."""
        self.link = None
        self._blamed = bool(answers)
        self._ready.clear()
        self._owner.disconnected(answers)

    def birth_answered(self, reason_code: int) -> None:
        """Give up a birth message that the broker refuses: some close the connection over it each time."""
        if reason_code >= Reason.UNSPECIFIED_ERROR and self._birth is not None:
            self._error = f"birth to {self._birth.topic!r} refused: {reason_name(reason_code)}"
            log.warning("%s: %s; it is not sent any more", self.name, self._error, extra=self._about(BIRTH_REFUSED))
            self._birth = None


def _words(error: OSError) -> str:
    """Say it in the system's words: asyncio's "Connect call failed" hides whether anybody was there."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error.strerror or error)


def _tls_words(error: ssl.SSLError | ssl.CertificateError) -> str:
    """Say what TLS found wrong without OpenSSL's numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the broker is not trusted: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
