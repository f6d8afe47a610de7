"""Fault codes 6xx: clock, identity."""

from __future__ import annotations

from gateway.codes.code import Code

CLOCK_UNSYNCED = Code(
    601,
    "The clock is not synchronised",
    "Events are kept in order and marked `clock: unsynced`; rules that need the hour wait for it.",
    "timedatectl",
)
CLOCK_BEHIND = Code(
    602,
    "The clock is behind",
    "It shows a time that is surely over. Events keep their order and get their true time once the clock is set; "
    "certificates may look as if they were not valid yet: connections then wait for the clock.",
    "timedatectl",
    "See that the machine reaches a time server, or give it a clock chip.",
)
CLOCK_STEPPED = Code(
    603,
    "The clock was set while the gateway ran",
    "Order, windows, timers and times to live go by the time since boot; what was unsynced is marked.",
    "edge-gateway events --type clock_*",
    "Once after a start is usual. If it happens again and again, two programs set the clock.",
)
WAITS_FOR_CLOCK = Code(
    604,
    "A connection waits for the clock",
    "The certificate of the other side is right but for its dates, and nobody has set this machine's clock. The "
    "connection is made at once when the clock is set; events are kept until then.",
    "timedatectl",
)
OTHER_MACHINE = Code(
    610,
    "This card or state folder belongs to another machine",
    "It may be a copy, and two gateways must not be one. Events are taken, kept and sent under ids that the other "
    "machine does not give out.",
    "edge-gateway identity show",
    "The other machine is gone: identity adopt --replace. Both go on: identity adopt --copy.",
)
NO_IDENTITY = Code(
    611,
    "The identity cannot be read or written",
    "The gateway runs; a copy of its card would not be noticed.",
    "edge-gateway identity show",
)
CLIENT_ID_TAKEN = Code(
    612,
    "Two programs use one MQTT client id, it seems",
    "A broker keeps only one of them connected, so they push each other off. The gateway waits up to a minute in "
    "between; events wait on the disk, and leave whenever it is connected.",
    "edge-gateway identity show",
    "A copied card: give the copy a name of its own ([gateway] name), and type `edge-gateway identity adopt --copy` "
    "there. Else give one of them a `client_id`.",
)
