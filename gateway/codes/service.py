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
APPLY_REFUSED = Code(
    721,
    "A bundle was refused",
    "It has a fault, or needs a newer program. Nothing was changed: what ran before runs on.",
    "edge-gateway check --bundle PATH",
    "Each fault is named with file and line, and with what was probably meant.",
)
APPLY_CLOUD = Code(
    722,
    "An applied configuration went back: the cloud was not reached",
    "The configuration before counts again and runs; no event is lost, what waited leaves now.",
    "edge-gateway apply --status",
    "Mend address, port or credentials in the bundle, and apply it again.",
)
APPLY_START = Code(
    723,
    "An applied configuration went back: the gateway did not start with it",
    "The configuration before counts again and runs; no event is lost, what waited leaves now.",
    "edge-gateway apply --status",
    "It says why. Mend the bundle, and apply it again.",
)
APPLIED_UNREADABLE = Code(
    724,
    "Which configuration counts cannot be read or noted",
    "The gateway goes by the config that it is started with, and by nothing that was applied.",
    "edge-gateway apply --status",
    "The file it names is damaged, or a newer version wrote it: apply the bundle again, or restore a backup.",
)
RELOAD_REFUSED = Code(
    725,
    "A reload has changed nothing: something has a fault",
    "The gateway goes on as before, with all of it; the line names file, line and what is wrong.",
    "edge-gateway check",
    "Mend it, then `edge-gateway reload`.",
)
RELOAD_NEEDS_RESTART = Code(
    726,
    "A reload has changed nothing: something needs a restart",
    "Name, state folder, API socket, rule folder, most of [journal] count from the start on. Nothing else was applied.",
    "sudo systemctl restart edge-gateway",
    "`edge-gateway config diff` shows all that has changed.",
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
