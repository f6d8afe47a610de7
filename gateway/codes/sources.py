"""Fault codes 3xx: sources, devices, serial lines."""

from __future__ import annotations

from gateway.codes.code import Code

SOURCE_DOWN = Code(
    301,
    "A source is not connected",
    "Nothing is received by it. A broker keeps QoS 1 messages for the gateway's session meanwhile; it is tried again "
    "by itself.",
    "edge-gateway status",
)
SOURCE_REFUSED = Code(
    302,
    "A broker refuses this gateway",
    "User, password or certificate is wrong, or the client id is not allowed. Nothing is received by it.",
    "edge-gateway check",
)
FILTER_REFUSED = Code(
    303,
    "A broker refuses a subscription",
    "Nothing is received by that topic filter; the others are.",
    "edge-gateway status --json",
    "Allow the filter in the broker's access control list.",
)
NOT_LISTENING = Code(
    304,
    "The gateway cannot listen",
    "Another program has the port, or the address is not this machine's. Devices cannot send there; it is tried again.",
    "sudo ss -ltnp",
)
PORT_GONE = Code(
    305,
    "A serial port cannot be opened, or was unplugged",
    "Nothing is read from it; it is looked for every two seconds at most, under whatever name it comes back.",
    "edge-gateway serial list",
)
PORT_STUCK = Code(
    306,
    "A serial port takes nothing",
    "Commands to it were dropped; reading goes on.",
    "edge-gateway serial list",
    "Look at `flow`, at the cable, and whether the device hangs.",
)
MESSAGE_REJECTED = Code(
    307,
    "A message cannot be decoded",
    "It is acknowledged and kept as a dead letter with its bytes and the reason; nothing waits behind it.",
    "edge-gateway dead-letters list",
    "Mend the profile, then `edge-gateway dead-letters retry ID`.",
)
UNKNOWN_DEVICES = Code(
    308,
    "Devices that no profile reads",
    "Their messages are acknowledged and not kept.",
    "edge-gateway devices list --unknown",
    "Take or write a profile: docs/guides/add-a-device.md.",
)
COMMAND_FAILED = Code(
    309,
    "A device did not do what it was told",
    "The command could not be sent or was not confirmed in time; it is an event of its own, and rules see it.",
    "edge-gateway events --type command_failed",
)
BLOB_NOT_KEPT = Code(
    310,
    "A picture is not kept",
    "It is larger than the limit, or the disk refuses it. Its event is kept, with the hash and the reason.",
    "edge-gateway status",
)
SOURCE_PAUSED = Code(
    311,
    "Sources are paused",
    "The disk does not keep up: no more is read, and senders keep what they have.",
    "edge-gateway journal stat",
)
COMMAND_UNANSWERED = Code(
    312,
    "Commands cannot be published",
    "A broker does not take what is published to devices.",
    "edge-gateway status",
)
USERS_UNREADABLE = Code(
    313,
    "Nobody can log in",
    "The passwords that the config names cannot be read: devices that log in are refused, and keep what they have.",
    "edge-gateway check",
)
BROKER_FORGETS = Code(
    350,
    "A broker may lose what it has acknowledged",
    "The gateway loses nothing that it has; what a broker still holds for it is as safe as the broker's settings.",
    "edge-gateway doctor broker",
    "Or let devices connect to the gateway's own listener, which acknowledges what is on the disk.",
)
SENDS_AT_QOS_0 = Code(
    351,
    "Devices publish at QoS 0",
    "Nobody acknowledges such a message, so a kill, an outage or a full queue may lose it.",
    "edge-gateway doctor devices",
)
