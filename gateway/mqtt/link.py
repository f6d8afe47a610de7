"""What a connection of a client session is, to those who use it and to those who make it.

`socket_link` is one over TCP or TLS, `via_paho` one over WebSockets or a proxy; `connection` makes them, again
whenever one ends, for an `Owner`: a source or a target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from gateway.mqtt import packet as p
from gateway.mqtt.packet import Reason, reason_name
from gateway.mqtt.session import Received
from gateway.mqtt.window import Answer


class Marked(Protocol):
    """A delivery, as far as its acknowledgement needs it."""

    @property
    def token(self) -> int: ...  # noqa: D102


class Ending(msgspec.Struct, frozen=True):
    """How a connection ended, or why there was none."""

    why: str
    reason_code: int = Reason.UNSPECIFIED_ERROR
    refused: bool = False  # trying again at once is no use: credentials, certificate, permission
    silent: bool = False  # the peer took our CONNECT and said nothing
    pushed: bool = False  # the peer let us in, and closed without a reason, with no SUBSCRIBE to blame


class Link(Protocol):
    """A connection, as sources and targets see it."""

    version: int
    ended: asyncio.Future[Ending]
    answered: bool  # the peer has answered a message of the owner's: the connection was good for something
    refused: bool  # and has refused one: some close the connection over it
    limits: p.Properties  # what the peer takes, as CONNACK said

    def publish(
        self, topic: bytes, payload: bytes, qos: int, properties: bytes, token: Any, *, retain: bool = False
    ) -> int:
        """Send; 0 or a reason code. See `Session.publish`."""
        ...

    def announce(self, topic: bytes, payload: bytes, qos: int, *, retain: bool) -> None:
        """Publish our birth; its answer goes to the host."""
        ...

    def subscribe(self, subscriptions: tuple[p.Subscription, ...]) -> None:
        """Send SUBSCRIBE; SUBACK comes to the owner as news."""
        ...

    def unsubscribe(self, topic_filters: tuple[str, ...]) -> None:
        """Send UNSUBSCRIBE; UNSUBACK comes to the owner as news."""
        ...

    def acknowledge(self, delivery: Marked) -> None:
        """Answer a message that came over this connection."""
        ...

    def withdraw(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """Take back messages that were not sent yet; returns their tokens."""
        ...

    def pause(self) -> None:
        """Stop reading."""
        ...

    def resume(self) -> None:
        """Go on reading."""
        ...

    async def drain(self) -> None:
        """Return when the peer takes bytes again."""
        ...

    def close(self, *, with_will: bool = False) -> None:
        """Say goodbye; the peer then closes (`ended`)."""
        ...

    def abort(self) -> None:
        """Drop the connection without a word."""
        ...


Credentials = tuple[str | None, bytes | None]  # user name and password
BIRTH = object()  # the token of our birth message: its answer is the host's, not the owner's


class Host(Protocol):
    """Who made a link and looks after it for the owner."""

    def welcome(self, link: Link, connack: p.Connack) -> None:
        """Begin: the peer let us in."""
        ...

    def birth_answered(self, reason_code: int) -> None:
        """Note what the peer said to our birth message."""
        ...

    def lost(self, answers: list[Answer]) -> None:
        """End, after `welcome`: these will get no answer."""
        ...


def for_the_owner(host: Host, answers: list[Answer]) -> list[Answer]:
    """Take the host's answer, if it is there, out of the owner's."""
    for token, reason_code in answers:
        if token is BIRTH:
            host.birth_answered(reason_code)
            return [answer for answer in answers if answer[0] is not BIRTH]
    return answers


class Owner(Protocol):
    """Who uses a connection. Called on the loop's thread; must not block."""

    def connected(self, link: Link, *, session_present: bool) -> None:
        """Begin: the peer let us in."""
        ...

    def received(self, link: Link, received: Received) -> None:
        """Take messages, answers and news."""
        ...

    def acknowledged(self, count: int) -> None:
        """Note that so many answers (PUBACK, PUBREC, PUBCOMP) were written, in the order of receipt."""
        ...

    def disconnected(self, lost: list[Answer]) -> None:
        """Note the end; `lost` will get no answer."""
        ...


REFUSALS = frozenset(
    {
        Reason.CLIENT_IDENTIFIER_NOT_VALID,
        Reason.BAD_USER_NAME_OR_PASSWORD,
        Reason.NOT_AUTHORIZED,
        Reason.BANNED,
        Reason.BAD_AUTHENTICATION_METHOD,
        Reason.SESSION_TAKEN_OVER,
        Reason.TOPIC_NAME_INVALID,
        Reason.USE_ANOTHER_SERVER,
        Reason.SERVER_MOVED,
    }
)


def words(packet: p.Connack | p.Disconnect) -> str:
    """Say the reason as the peer did, its own text included."""
    words = reason_name(packet.reason_code)
    properties = packet.properties
    if properties.reason_string:
        words += f" ({properties.reason_string})"
    if properties.server_reference:
        words += f", use {properties.server_reference}"
    return words
