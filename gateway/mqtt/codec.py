"""The MQTT codec's face: bytes -> packets (`Decoder`), packets -> bytes (`encode`, `publish`, `puback`).

The types are in `packet`, the format's atoms and properties in `wire`. A client session and the listener
are built on this; nothing here knows a socket.
"""

from __future__ import annotations

from gateway.mqtt.decode import PACKET_BYTES_MAX, Decoder
from gateway.mqtt.encode import PINGREQ, PINGRESP, ack, encode, puback, publish, publish_size
from gateway.mqtt.wire import properties as encode_properties

__all__ = [
    "PACKET_BYTES_MAX",
    "PINGREQ",
    "PINGRESP",
    "Decoder",
    "ack",
    "encode",
    "encode_properties",
    "puback",
    "publish",
    "publish_size",
]
