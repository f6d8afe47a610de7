"""Records by which the gateway and its rules know of each other's doings, and rows of the rules that the gateway reads.

The engine runs in another process and is not loaded by the gateway: what that needs of it is here and in protocol.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DISABLED, ENABLED = "rule_disabled", "rule_enabled"  # what a person wants of a rule
GIVEN, LET_GO = "command_given", "claim_released"  # what a person asked of the local API
ACKNOWLEDGE = "acknowledge_requested"  # of an alert, by a person
WITHDRAWN = "command_withdrawn"  # of the lane "command": what was told of a field is not told again
HTTP_REQUESTED, HTTP_ANSWERED = "http_requested", "http_answered"  # a call to a web service, and what came of it
QUARANTINED = "rule_quarantined"  # key of the alert about a rule that is stopped


def disabled_rows(rows: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the disabled rules of the table "rule_state", with what is known of each."""
    return {key.removesuffix("|disabled"): row for key, row in rows.items() if key.endswith("|disabled")}


def quarantined(rows: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rules in quarantine, and why, by the table "rule_state"."""
    troubled = {key.partition("|")[0]: row for key, row in rows.items() if key.endswith("|trouble")}
    return [(rule, row["why"]) for rule, row in sorted(troubled.items()) if row.get("quarantined")]
