"""Fault codes 2xx: targets, routes, what is told."""

from __future__ import annotations

from gateway.codes.code import Code

ROUTE_DOWN = Code(
    201,
    "A target cannot be reached",
    "Events for it wait on the disk, and leave when it is back, alarms first. Nothing is lost until the limits of the "
    "journal; `status` says how many hours are left.",
    "edge-gateway status",
)
ROUTE_REFUSED = Code(
    202,
    "A target refuses this gateway",
    "Credentials or permissions are wrong, or there is no such place. Events wait on the disk; it is asked again every "
    "minute.",
    "edge-gateway check",
    "Mend user, password, certificate or path at the target or in gateway.toml.",
)
EVENT_REFUSED = Code(
    203,
    "A target refused single events",
    "They are set aside as dead letters with the target's reason, and everything behind them goes on.",
    "edge-gateway dead-letters list",
    "Mend the cause, then `edge-gateway dead-letters retry ID`, or drop them.",
)
EVENTS_DROPPED = Code(
    204,
    "Events were dropped before the cloud had them",
    "A limit of size or age was reached, and what the limits say made way. It is counted by route and reason, and the "
    "cloud is told how many (events_dropped).",
    "edge-gateway status",
    "Let the target come back sooner, or give the journal more room: [journal] bytes_max.",
)
BROKER_IS_OLD = Code(
    205,
    "A broker does not know MQTT 5",
    "MQTT 3.1.1 is spoken; a broker that refuses a single message cannot say so, and closes or forgets it.",
    "edge-gateway status",
)
BIRTH_REFUSED = Code(
    206,
    "A broker refuses the gateway's birth message",
    "It is not sent any more on that connection; events go their way.",
    "edge-gateway check",
)
NOT_TOLD = Code(
    207,
    "Somebody cannot be told",
    "The notification is kept and tried again until its time is over; escalation goes on to the next one.",
    "edge-gateway notifications list",
)
TOLD_TOO_OFTEN = Code(
    208,
    "Notifications are held back",
    "A rule or a recipient is over the limit of an hour; what is urgent still goes.",
    "edge-gateway notifications list",
)
OFFERS_FULL = Code(
    209,
    "More is offered than a broker is given",
    "What is over the limit is not offered to other programs; events and rules are not touched.",
    "edge-gateway status",
)
OFFER_STAYS = Code(
    210,
    "What was offered stays on a broker",
    "The source by which it could be taken away is gone from the config.",
    "mosquitto_pub -r -n -t TOPIC",
    "Remove the retained message there by hand.",
)
REPLAY_FAILED = Code(
    211,
    "A replay does not go on",
    "Live events of its route are not touched. It waits for the disk, or has ended as failed.",
    "edge-gateway replay list",
)
NAME_UNKNOWN = Code(
    250,
    "A name cannot be resolved",
    "The name server does not know the host, or none answers. Events wait on the disk.",
    "resolvectl query HOST",
)
SERVER_UNTRUSTED = Code(
    251,
    "A server's certificate is not trusted",
    "Nothing is sent to a server that cannot prove who it is. Events wait on the disk.",
    "edge-gateway doctor cloud broker",
    "Most often the clock is wrong, the certificate has ended, or `tls.ca` names another authority.",
)
