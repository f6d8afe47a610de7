"""The engine on a clock that is moved: order, numbers and bounds of what follows."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.event import Event, decode, encode
from gateway.rules.desk.virtual import FOLLOWING_MAX, TimedTables, renumbered
from tests.rules.scene import house


def test_what_follows_from_one_event_is_bounded(tmp_path: Path) -> None:
    """Events that multiply end at a limit that is named; the next event is looked at as ever."""
    source = """
    @rule("button_pressed")
    def first(event, ctx):
        for _ in range(100): ctx.emit("first_done")
    @rule("first_done")
    def second(event, ctx):
        for _ in range(20): ctx.emit("second_done")
    @rule("door_opened")
    def opened(event, ctx): ctx.emit("noted")
    """
    simulated = house(tmp_path, source)
    simulated.raises = False
    simulated.event("button_pressed", "bell-front")
    assert simulated.faults == [f"more than {FOLLOWING_MAX} events follow from one: the rest is not looked at"]
    simulated.set("door-front", open=True)
    assert simulated.emitted[-1].type == "noted"


def test_an_event_is_looked_at_after_what_follows_from_the_one_before(tmp_path: Path) -> None:
    """What one event leads to comes before the next, as deep as it goes."""
    source = """
    @rule("a", "b", "c")
    def chain(event, ctx):
        ctx.state["seen"] = ctx.state.get("seen", "") + event.type
        if event.type == "a": ctx.emit("b")
        if event.type == "b": ctx.emit("c")
    """
    simulated = house(tmp_path, source)
    for name in ("a", "a"):
        simulated.event(name)
    assert simulated.state("chain")["seen"] == "abcabc"


@given(st.text(), st.integers(1, 10**15), st.integers(1, 10**15))
def test_only_the_number_is_another(text: str, before: int, after: int) -> None:
    """Whatever stands in an event, a new number changes nothing else."""
    event = Event(
        id=text, source="/x", type="t", subject=f'"sequence":"{text}', sequence=f"{before:016d}",
        data={'"sequence":"': '"sequence":"0000000000000000"', "sequence": text},
    )  # fmt: skip
    found = decode(renumbered(encode(event), after))
    assert found == msgspec.structs.replace(event, sequence=f"{after:016d}")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 9))), max_size=20))
def test_the_next_timer_is_the_first_that_is_due(changes: list[tuple[str, int | None]]) -> None:
    """However timers are set, moved and cancelled, the tables know which one is next."""
    tables, model = TimedTables({}), dict[str, int]()
    for key, due in changes:
        tables.put("timers", key, None if due is None else {"due": due})
        model = {name: at for name, at in model.items() if name != key} | ({} if due is None else {key: due})
        found = tables.next_timer()
        expected = min(((at, name) for name, at in model.items()), default=None)
        assert (None if found is None else found[:2]) == expected
