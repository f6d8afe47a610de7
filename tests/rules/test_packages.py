"""Packages of rules' own: installed beside, tested with the rules, live with them; with real pip and a local wheel."""

from __future__ import annotations

import asyncio
import hashlib
import zipfile
from pathlib import Path

from tests.rules.rig import Rig, running
from tests.rules.test_edits import live, refused, said, speak

RULE = """
import tiny_sun
@rule("door_opened")
def says(event, ctx): ctx.emit("was_said", {"version": tiny_sun.VERSION})
def test_is_small(house):
    house.set("door-a", open=True)
    assert house.emitted[0].data["version"] < 3
"""


def wheel(folder: Path, version: int) -> str:
    """Make a wheel of a module with a number in it; return its line in a lock."""
    folder.mkdir(exist_ok=True)
    file = folder / f"tiny_sun-{version}.0-py3-none-any.whl"
    about = f"tiny_sun-{version}.0.dist-info"
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("tiny_sun.py", f"VERSION = {version}\n")
        out.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: tiny-sun\nVersion: {version}.0\n")
        out.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        out.writestr(f"{about}/RECORD", "")
    return f"tiny-sun=={version}.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


def lock(rig: Rig, text: str) -> None:
    """Save the lock."""
    (rig.rules.edits.folder / "requirements.lock").write_text(text)


def test_packages_come_with_a_lock_and_are_tested_before_they_are_live(tmp_path: Path) -> None:
    """Without its package a rule is refused, with it live; a wrong hash or a failing test keeps what there is."""
    wheels = tmp_path / "wheels"
    lines = {version: wheel(wheels, version) for version in (1, 2, 3)}

    async def first() -> None:
        async with running(tmp_path, {"says.py": RULE}, wheels=(wheels,)) as rig:
            await refused(rig, "says.py", "No module named 'tiny_sun'")
            lock(rig, lines[1])
            await live(rig, 1)
            await speak(rig)
            assert said(rig) == [1]
            lock(rig, lines[2].replace("sha256:", "sha256:0")[:-2] + "\n")
            await refused(rig, "requirements.lock", "its packages can't be installed: ERROR")
            lock(rig, lines[3])
            await refused(rig, "requirements.lock", "test_is_small fails")
            await speak(rig)
            assert said(rig) == [1, 1]

    async def second() -> None:
        async with running(tmp_path, {}, wheels=(tmp_path / "nowhere",)) as rig:
            await speak(rig)
            assert said(rig) == [1], "they are kept over a restart"

    asyncio.run(first())
    asyncio.run(second())
