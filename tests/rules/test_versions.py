"""The store of good versions, the plan of what to run, and the bytes that were read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from gateway.rules.files import snapshot
from gateway.rules.files.plan import Plan
from gateway.rules.files.snapshot import content
from gateway.rules.files.versions import INDEX, VERSIONS_MAX, Versions
from gateway.rules.protocol import RuleFault

FOLDER = Path("/rules")


def fault(name: str, what: str = "wrong") -> RuleFault:
    """Return a fault in a file."""
    return RuleFault("", str(FOLDER / name), 1, what)


def test_the_last_ten_versions_are_kept(tmp_path: Path) -> None:
    """Newest first, each with its time and who brought it; older texts are removed from the disk."""
    store = Versions(tmp_path / "store")
    for number in range(15):
        store.record({"a.py": b"x = %d" % number}, f"time-{number}", {"a.py": f"person:{number}"})
    again = Versions(tmp_path / "store")
    assert [version.time for version in again.index.history["a.py"]] == [f"time-{n}" for n in range(14, 4, -1)]
    assert again.index.history["a.py"][0].actor == "person:14"
    assert again.current() == {"a.py": b"x = 14"}
    assert again.text(again.index.history["a.py"][9].hash) == b"x = 5"
    assert len(list((tmp_path / "store").iterdir())) == VERSIONS_MAX + 1


def test_a_deleted_file_keeps_its_history(tmp_path: Path) -> None:
    """It is not what runs any more, and can be brought back."""
    store = Versions(tmp_path)
    store.record({"a.py": b"a", "b.py": b"b"}, "1", {})
    store.record({"b.py": b"b"}, "2", {})
    again = Versions(tmp_path)
    assert again.current() == {"b.py": b"b"}
    assert again.text(again.index.history["a.py"][0].hash) == b"a"
    assert len(again.index.history["b.py"]) == 1, "it did not change"


def test_damage_costs_only_what_is_damaged(tmp_path: Path) -> None:
    """A text that is not what its name says is left out; an index nobody can read is set aside."""
    store = Versions(tmp_path)
    store.record({"a.py": b"a", "b.py": b"b"}, "1", {})
    (tmp_path / content(b"a")).write_bytes(b"something else")
    assert Versions(tmp_path).current() == {"b.py": b"b"}
    (tmp_path / INDEX).write_text("{")
    assert Versions(tmp_path).current() == {}
    assert (tmp_path / "index.damaged").exists()


def test_a_cut_leaves_the_old_index_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is written last before the power fails, a complete set of texts runs at the next start."""
    files = [{"a.py": b"a1", "b.py": b"b1"}, {"a.py": b"a2", "b.py": b"b2"}]
    for steps in range(30):
        folder = tmp_path / str(steps)
        Versions(folder).record(files[0], "1", {})
        left = steps

        def step(*_: object, real=os.fsync) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(5, "the power is gone")
            real(*_)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", step)
            with contextlib.suppress(OSError):
                Versions(folder).record(files[1], "2", {})
        assert Versions(folder).current() in files
        if left > 0:
            assert Versions(folder).current() == files[1]
            return
    pytest.fail("it never came to an end")


def test_a_plan_puts_back_what_failed_and_nothing_else() -> None:
    """A changed file with a fault keeps what runs, a new one is left out, the others go on."""
    plan = Plan(FOLDER, {"a.py": b"2", "b.py": b"2", "new.py": b"1"}, {"a.py": b"1", "b.py": b"1"})
    assert plan.changed == ["a.py", "b.py", "new.py"]
    plan.refuse([fault("a.py"), fault("new.py")])
    assert plan.files == {"a.py": b"1", "b.py": b"2"}
    assert plan.changed == ["b.py"]
    assert set(plan.refused) == {"a.py", "new.py"}


def test_a_plan_blames_the_module_that_changed() -> None:
    """A fault in a file that did not change is due to what it imports; a deleted module comes back."""
    running = {"a.py": b"1", "lib/x.py": b"1", "lib/y.py": b"1"}
    uses = {"a.py": ["lib/x.py"]}
    plan = Plan(FOLDER, {**running, "lib/x.py": b"2", "lib/y.py": b"2"}, running, uses=uses)
    assert plan.to_test() == ["a.py"]
    plan.refuse([fault("a.py")])
    assert plan.files == {**running, "lib/y.py": b"2"}
    plan = Plan(FOLDER, {"a.py": b"1", "lib/y.py": b"1"}, running, uses=uses)
    plan.refuse([fault("a.py")])
    assert plan.files == running


def test_what_was_refused_is_not_tried_again_while_it_is_the_same() -> None:
    """Not with an edit of another file; but when what it imports changes, or if it clashed with another file."""
    running, uses = {"a.py": b"1", "lib/x.py": b"1"}, {"a.py": ["lib/x.py"]}
    plan = Plan(FOLDER, {**running, "a.py": b"2"}, running, uses=uses)
    plan.refuse([fault("a.py")])
    known = plan.refused
    assert "a.py" not in Plan(FOLDER, {**running, "a.py": b"2", "b.py": b"1"}, running, known=known, uses=uses).changed
    assert "a.py" in Plan(FOLDER, {**running, "a.py": b"3"}, running, known=known, uses=uses).changed
    assert "a.py" in Plan(FOLDER, {"a.py": b"2", "lib/x.py": b"2"}, running, known=known, uses=uses).changed
    plan = Plan(FOLDER, {**running, "a.py": b"2"}, running, uses=uses)
    plan.refuse([fault("a.py", "not Python: x")])
    changed = Plan(FOLDER, {"a.py": b"2", "lib/x.py": b"2"}, running, known=plan.refused, uses=uses).changed
    assert changed == ["lib/x.py"], "nothing it imports makes it Python"
    plan = Plan(FOLDER, {**running, "a.py": b"2"}, running, uses=uses)
    plan.refuse([fault("a.py", "there is a rule 'b' already, at b.py:1")])
    assert "a.py" in Plan(FOLDER, {**running, "a.py": b"2"}, running, known=plan.refused, uses=uses).changed


def test_a_snapshot_has_rule_files_and_lib_and_no_drafts(tmp_path: Path) -> None:
    """What editors leave, drafts, other folders and other kinds of files are not looked at."""
    for name in ("a.py", "lib/x.py", "lib/deep/y.py", "_draft.py", ".hidden.py", "a.txt", "other/z.py", "a.py~"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1")
    found = snapshot.read(tmp_path)
    assert sorted(found.files) == ["a.py", "lib/deep/y.py", "lib/x.py"]
    assert found.faults == {}
    assert snapshot.read(tmp_path / "nowhere").files == {}
