"""What the gateway takes from a worker: answers to what it was asked, about what rules may touch.

Rules run in the worker's process and can write to its socket, with a forged answer if they care to.  So nothing of an
outcome is believed that a rule could not have done by the context it was given.
"""

from __future__ import annotations

from typing import Final

from gateway.rules.engine.tables import NAMES
from gateway.rules.protocol import Outcome

GATEWAYS_OWN: Final = frozenset(
    {"timer_fired", "rules_loaded", "rules_changed", "clock_set"}
)  # records of the lane timer
OUTPUTS_MAX: Final = 20_000  # of one outcome; their bytes are bounded by the frame
LOGS_MAX: Final = 1000


def objection(outcome: Outcome, source: str, committed: int, position: int) -> str:
    """Return why an outcome is not taken, or nothing.

    source     what outputs of rules have as their source
    committed  sequence up to which there are outcomes
    position   sequence up to which records were sent
    """
    if not committed <= outcome.upto <= position:
        return f"an outcome of records up to {outcome.upto}, which it was not sent"
    if len(outcome.outputs) > OUTPUTS_MAX or len(outcome.logs) > LOGS_MAX:
        return f"{len(outcome.outputs)} outputs and {len(outcome.logs)} lines at once"
    for event in outcome.outputs:
        if event.source != source or event.lane == "timer" or event.type in GATEWAYS_OWN:
            return f"an event {event.type!r} of {event.source!r}, which is not for rules to make"
    for table, _, _ in outcome.puts:
        if table not in NAMES:
            return f"a change of the table {table!r}"
    return ""
