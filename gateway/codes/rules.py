"""Fault codes 5xx: rules, alerts."""

from __future__ import annotations

from gateway.codes.code import Code

RULE_FAILED = Code(
    501,
    "A rule failed",
    "The call has no effect; the rule is called again with the next event. The line names the file and the line in it.",
    "edge-gateway rules logs",
)
RULE_STOPPED = Code(
    502,
    "A rule is stopped",
    "It failed again and again, hung, or took too much; it is not called any more. The others go on.",
    "edge-gateway rules list",
    "Mend the file: it is tried when it is saved. Or `edge-gateway rules rollback FILE`.",
)
RULE_FILE_FAULT = Code(
    503,
    "A rule file on the disk is not what runs",
    "It is broken, or its own tests fail; its last good version goes on.",
    "edge-gateway rules list",
    "Mend the line that is named, or `edge-gateway rules rollback FILE`.",
)
WORKER_ENDED = Code(
    504,
    "The process of the rules ended",
    "It is started again, and goes on at the event where it was; events, routes and acknowledgements do not wait.",
    "edge-gateway rules list",
)
WALLS_ARE_THIN = Code(
    505,
    "This kernel does not keep rules in",
    "Only the interpreter's own hook keeps rules from files, network and programs: let nobody write them whom you do "
    "not trust.",
    "edge-gateway rules list --json",
)
OUTPUTS_LOST = Code(
    506,
    "What a rule put out is lost",
    "The journal could not take it (too large, or a fault of the gateway); a rule_failed event says so.",
    "edge-gateway events --type rule_failed",
)
ALERTS_RAISED = Code(
    507,
    "Alerts are raised",
    "Something in the house wants attention, as a rule says.",
    "edge-gateway alerts list",
)
RULE_STORE_FAULT = Code(
    508,
    "Earlier versions of rules are not kept, or cannot be read",
    "The rules run; a rollback, or the last good version after a restart, may not be there.",
    "edge-gateway rules list",
)
