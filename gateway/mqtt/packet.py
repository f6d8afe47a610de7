"""The fifteen control packets of MQTT 3.1.1 and 5 as plain values, with the words of the specification.

One set of types serves both versions: what 3.1.1 does not know (properties, most reason codes) stays at
its default there. Reason codes are MQTT 5's (section 2.4) everywhere; 3.1.1's CONNACK codes 1-5 stay as
they are on the wire and `connack_reason` translates them.

Packets are records, not guards: `codec` checks what is on the wire, `session` checks what may happen when.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

V311: Final = 4  # protocol level in CONNECT, 3.1.2.2
V5: Final = 5
PACKET_ID_MAX: Final = 65_535
REMAINING_LENGTH_MAX: Final = 268_435_455  # four bytes of seven bits


class Properties(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """MQTT 5 properties by their names in section 2.2.2.2; None or () = not present."""

    payload_format_indicator: int | None = None  # 1 = UTF-8
    message_expiry_interval: int | None = None  # seconds
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifier: tuple[int, ...] = ()
    session_expiry_interval: int | None = None  # seconds; 0xFFFFFFFF = never
    assigned_client_identifier: str | None = None
    server_keep_alive: int | None = None  # seconds
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_interval: int | None = None  # seconds
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None  # QoS 1 and 2 messages in flight
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_property: tuple[tuple[str, str], ...] = ()
    maximum_packet_size: int | None = None  # bytes, fixed header included
    wildcard_subscription_available: int | None = None
    subscription_identifier_available: int | None = None
    shared_subscription_available: int | None = None


NO_PROPERTIES: Final = Properties()


class Reason(IntEnum):
    """MQTT 5 reason codes, section 2.4. From 0x80 on they are refusals."""

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL_MESSAGE = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


_CONNACK_311: Mapping[int, Reason] = {  # 3.1.1 table 3.1
    1: Reason.UNSUPPORTED_PROTOCOL_VERSION,
    2: Reason.CLIENT_IDENTIFIER_NOT_VALID,
    3: Reason.SERVER_UNAVAILABLE,
    4: Reason.BAD_USER_NAME_OR_PASSWORD,
    5: Reason.NOT_AUTHORIZED,
}


def reason_name(code: int) -> str:
    """Return the specification's words for a reason code, ``Not authorized``; ``0xC3`` if it has none."""
    try:
        words = Reason(code).name.replace("_", " ").capitalize()
    except ValueError:
        return f"0x{code:02X}"
    return words.replace("Qos", "QoS").replace("qos", "QoS")


def connack_reason(code: int, version: int) -> int:
    """Return CONNACK's code as a reason code of MQTT 5."""
    return code if version == V5 or not code else _CONNACK_311.get(code, Reason.UNSPECIFIED_ERROR)


class Publish(msgspec.Struct, gc=False):
    """PUBLISH, section 3.3. Not frozen: a session fills in the topic of an alias."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0  # 0 only at QoS 0
    properties: Properties = NO_PROPERTIES


class Puback(msgspec.Struct, frozen=True, gc=False):
    """PUBACK, section 3.4: the answer to a PUBLISH of QoS 1."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrec(msgspec.Struct, frozen=True, gc=False):
    """PUBREC, section 3.5: the first answer to a PUBLISH of QoS 2."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubrel(msgspec.Struct, frozen=True, gc=False):
    """PUBREL, section 3.6: the sender has seen PUBREC."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Pubcomp(msgspec.Struct, frozen=True, gc=False):
    """PUBCOMP, section 3.7: the packet identifier is free again."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Will(msgspec.Struct, frozen=True, gc=False):
    """The message a server publishes when a connection ends without DISCONNECT, section 3.1.3.2."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = NO_PROPERTIES


class Connect(msgspec.Struct, frozen=True, gc=False):
    """CONNECT, section 3.1. `clean_start` is 3.1.1's clean session bit."""

    client_id: str
    version: int = V5
    clean_start: bool = True
    keep_alive: int = 0  # seconds; 0 = none
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = NO_PROPERTIES

    def __repr__(self) -> str:
        """Leave out the password and the will's payload: a packet may end up in a log or a traceback."""
        return f"Connect(client_id={self.client_id!r}, version={self.version}, username={self.username!r})"


class Connack(msgspec.Struct, frozen=True, gc=False):
    """CONNACK, section 3.2. `reason_code` is a return code (0-5) in 3.1.1: see `connack_reason`."""

    session_present: bool = False
    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Subscription(msgspec.Struct, frozen=True, gc=False):
    """One topic filter of a SUBSCRIBE with its options, section 3.8.3.1."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0  # 0 send retained, 1 only for a new subscription, 2 never


class Subscribe(msgspec.Struct, frozen=True, gc=False):
    """SUBSCRIBE, section 3.8: at least one subscription."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = NO_PROPERTIES


class Suback(msgspec.Struct, frozen=True, gc=False):
    """SUBACK, section 3.9: one reason code a subscription, in its order (granted QoS, or >= 0x80)."""

    packet_id: int
    reason_codes: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


class Unsubscribe(msgspec.Struct, frozen=True, gc=False):
    """UNSUBSCRIBE, section 3.10: at least one topic filter."""

    packet_id: int
    topic_filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


class Unsuback(msgspec.Struct, frozen=True, gc=False):
    """UNSUBACK, section 3.11; 3.1.1 has no reason codes here."""

    packet_id: int
    reason_codes: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


class Pingreq(msgspec.Struct, frozen=True, gc=False):
    """PINGREQ, section 3.12."""


class Pingresp(msgspec.Struct, frozen=True, gc=False):
    """PINGRESP, section 3.13."""


class Disconnect(msgspec.Struct, frozen=True, gc=False):
    """DISCONNECT, section 3.14; from the server only in MQTT 5."""

    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


class Auth(msgspec.Struct, frozen=True, gc=False):
    """AUTH, section 3.15; MQTT 5 only."""

    reason_code: int = 0
    properties: Properties = NO_PROPERTIES


Packet = (
    Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Connect
    | Connack
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
