"""The rule of the side-by-side benchmark: what is hot is told so."""

from __future__ import annotations

from gateway.rules import Context, Event, above, rule


@rule("reading_taken", where={"temperature": above(25)}, late="run")
def hot(event: Event, ctx: Context) -> None:
    """Answer a hot thermostat with a command."""
    ctx.command(event.device, "show", "hot")
