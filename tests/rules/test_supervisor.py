"""The worker process and its supervisor, with the real journal."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.rules.rig import running

GOOD = {
    "good.py": """
    @rule("door_opened")
    def good(event, ctx):
        ctx.state["count"] = ctx.state.get("count", 0) + 1
        ctx.emit("door_counted", {"count": ctx.state["count"]})
    """
}


def test_outputs_state_and_cursor_in_one_outcome(tmp_path: Path) -> None:
    """What a rule puts out comes back with its state and the cursor behind its cause."""

    async def run() -> None:
        async with running(tmp_path, GOOD) as rig:
            cause = rig.event("door_opened", open=True)
            await rig.until(lambda: rig.outputs)
            (output,) = rig.outputs
            assert (output.type, output.data, output.cause) == ("door_counted", {"count": 1}, cause.id)
            outcome = next(outcome for outcome in rig.outcomes if outcome.outputs)
            assert ("rule_state", "good|state|count", 1) in outcome.puts
            assert rig.journal.get("cursors", "rules")["after"] >= int(cause.sequence)

    asyncio.run(run())
