"""Fault codes 7xx: the service, reload, apply."""

from __future__ import annotations

from gateway.codes.code import Code

GATEWAY_FAULT = Code(
    701,
    "A fault of the gateway itself",
    "What it was about is set aside with the reason, and the rest goes on. The log has where in the program it was.",
    "journalctl -u edge-gateway GATEWAY_CODE=EG-701 -o verbose",
    "Please report it, with these lines.",
)
NO_API = Code(
    702,
    "There is no local API",
    "The socket cannot be made: `status` and the other verbs find nobody. Events are received, kept and sent.",
    "edge-gateway check",
)
LIBRARIES_DIFFER = Code(
    750,
    "A library is missing or too old",
    "The part of the gateway that needs it does not work, or not as tested.",
    "edge-gateway doctor system",
)
MACHINE_IN_NEED = Code(
    751,
    "The machine has too little power, cooling or memory",
    "Cards are damaged by a supply that is too weak; without memory the kernel ends programs.",
    "edge-gateway doctor system",
)
