"""MQTT 3.1.1 on raw bytes, for simulators: built ahead of time, parsed without objects.

Independent of the gateway's codec on purpose (section numbers are OASIS MQTT 3.1.1's).  A load generator that
builds its packets before the clock starts costs 2 us a message, which a client library cannot do.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

CONNECT_TIMEOUT_S = 30.0
CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
DUP, RETAIN = 0x08, 0x01
DISCONNECT_PACKET = b"\xe0\x00"
PINGREQ_PACKET = b"\xc0\x00"


def remaining_length(n: int) -> bytes:
    """Encode a remaining length, 7 bits a byte (section 2.2.3)."""
    out = bytearray()
    while True:
        byte, n = n & 0x7F, n >> 7
        out.append(byte | 0x80 if n else byte)
        if not n:
            return bytes(out)


def string(text: str) -> bytes:
    """Encode a UTF-8 string with its length (section 1.5.3)."""
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def connect(client_id: str, *, clean: bool = True, keepalive_s: int = 0, login: tuple[str, str] | None = None) -> bytes:
    """Build CONNECT (section 3.1); `login` is a user's name and password."""
    flags = (2 if clean else 0) | (0xC0 if login else 0)
    body = string("MQTT") + bytes([4, flags]) + keepalive_s.to_bytes(2, "big") + string(client_id)
    body += b"".join(map(string, login or ()))
    return b"\x10" + remaining_length(len(body)) + body


def subscribe(packet_id: int, topic_filter: str, qos: int = 1) -> bytes:
    """Build SUBSCRIBE to one filter (section 3.8)."""
    body = packet_id.to_bytes(2, "big") + string(topic_filter) + bytes([qos])
    return b"\x82" + remaining_length(len(body)) + body


def publish(topic: str, payload: bytes, packet_id: int = 0, *, retain: bool = False) -> bytes:
    """Build PUBLISH: QoS 1 with a packet id, QoS 0 without (section 3.3)."""
    head = string(topic) + (packet_id.to_bytes(2, "big") if packet_id else b"")
    first = PUBLISH | (0x02 if packet_id else 0) | (RETAIN if retain else 0)
    return bytes([first]) + remaining_length(len(head) + len(payload)) + head + payload


def as_duplicate(packet: bytes) -> bytes:
    """Return a PUBLISH with its DUP flag set (section 3.3.1.1)."""
    return bytes([packet[0] | DUP]) + packet[1:]


def packets(buffer: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (first byte, body start, body end) of each complete packet in `buffer`."""
    at, end = 0, len(buffer)
    while end - at >= 2:
        length, shift, body = 0, 0, at + 1
        while True:
            if body >= end:
                return
            byte = buffer[body]
            length |= (byte & 0x7F) << shift
            shift += 7
            body += 1
            if byte < 0x80:
                break
        if body + length > end:
            return
        yield buffer[at], body, body + length
        at = body + length


def dial(
    host: str,
    port: int,
    client_id: str,
    *,
    clean: bool = True,
    subscribe_to: str = "",
    login: tuple[str, str] | None = None,
) -> socket.socket:
    """Connect over TCP and MQTT, optionally subscribe at QoS 1; return the socket once CONNACK is in.

    Raises OSError when the peer is away or refuses.
    """
    connection = socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(connect(client_id, clean=clean, login=login))
        answer = b""
        while len(answer) < 4:
            chunk = connection.recv(4 - len(answer))
            if not chunk:
                raise ConnectionError("closed before CONNACK")
            answer += chunk
        if answer[0] != CONNACK or answer[3]:
            raise ConnectionError(f"refused: CONNACK {answer.hex()}")
        if subscribe_to:
            connection.sendall(subscribe(1, subscribe_to))
    except OSError:
        connection.close()
        raise
    return connection


def address_of(url: str) -> tuple[str, int]:
    """Split ``mqtt://host:port`` (scheme optional, port 1883 if absent)."""
    rest = url.split("://", 1)[-1].rstrip("/")
    host, _, port = rest.partition(":")
    return host, int(port or 1883)
