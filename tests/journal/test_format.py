"""What an older program does with a newer journal, and a newer one with an older. Budget: 3 s."""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.errors import JournalError, NewerFormat
from gateway.event import Event
from gateway.journal import block as blocks
from gateway.journal.checkpoint import Checkpoint, Image
from gateway.journal.inspection import Inspection
from gateway.journal.journal import Journal
from gateway.journal.segment import QUARANTINE
from tests.cli.site import command
from tests.journal.golden_maker import OPTIONS, make, seen

GOLDEN = sorted((Path(__file__).parent / "golden").iterdir())


def golden(source: Path, folder: Path) -> dict[str, Any]:
    """Copy a golden journal; returns what is in it."""
    shutil.copytree(source, folder)
    (folder / "expected.json").unlink()
    expected: dict[str, Any] = json.loads((source / "expected.json").read_text())
    return expected


def opened(folder: Path) -> Journal:
    return Journal.open(folder, OPTIONS, SystemClock())


def holds(journal: Journal, expected: dict[str, Any]) -> None:
    """Compare records and tables."""
    found = json.loads(json.dumps(seen(journal)))
    assert found == {name: expected[name] for name in ("log_id", "records", "tables")}


@pytest.mark.parametrize("source", GOLDEN, ids=lambda path: path.name)
def test_a_journal_of_each_version_is_read(source: Path, tmp_path: Path) -> None:
    """Every record and row of a golden journal is there; it is gone on with, and all of it is there after that."""
    expected = golden(source, tmp_path / "journal")
    looked = Inspection(tmp_path / "journal")
    assert sum(segment.damaged_blocks for segment in looked.verify()) == 0
    journal = opened(tmp_path / "journal")
    assert journal.recovery.unclean
    assert (journal.recovery.damaged_blocks, journal.recovery.missing_records) == (0, 0)
    assert journal.recovery.tail_cut
    assert journal.epoch == expected["epoch"] + 1
    holds(journal, expected)
    journal.append(Event(source="/gw/house", type="x_changed", data={"n": "later"}))
    last = journal.last_sequence
    journal.close()
    again = opened(tmp_path / "journal")
    later = [record for record in seen(again)["records"] if record[0] == last]
    holds(again, {**expected, "records": sorted([*expected["records"], [last, "telemetry", later[0][2]]])})
    again.close()


def test_the_version_written_today_has_a_golden_journal() -> None:
    """Whoever changes the format's version adds a journal of it, which later programs must read."""
    assert f"format-{blocks.VERSION}" in [path.name for path in GOLDEN]


def test_the_golden_journal_can_be_made_again(tmp_path: Path) -> None:
    """The maker makes one that holds what it says, in the version that is written today."""
    files, expected = make(seed=7)
    (tmp_path / "journal").mkdir()
    for name, content in files.items():
        (tmp_path / "journal" / name).write_bytes(content)
    assert expected["version"] == blocks.VERSION
    journal = opened(tmp_path / "journal")
    holds(journal, json.loads(json.dumps(expected)))
    journal.close()


# -- a newer journal ---------------------------------------------------------------------------------------------------


def newer(file: Path, block: int) -> None:
    """Give the n-th block of a file the next version, with a CRC that holds; -1: the last."""
    content = bytearray(file.read_bytes())
    starts = [at for at in range(0, len(content), 512) if content[at : at + 4] == blocks.MAGIC]
    at = starts[block]
    content[at + 4 : at + 6] = (blocks.VERSION + 1).to_bytes(2, "little")
    content[at + 156 : at + 160] = zlib.crc32(content[at : at + 156]).to_bytes(4, "little")
    file.write_bytes(content)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def newest(folder: Path) -> Path:
    """Return the file that the log ends in."""
    return folder / Inspection(folder).entries[-1].name


@pytest.mark.parametrize("block", [0, 1, 3])
def test_a_newer_journal_is_refused_and_not_touched(block: int, tmp_path: Path) -> None:
    """Wherever the newer version is met, also behind a damaged block, no byte and no name changes."""
    golden(GOLDEN[-1], tmp_path / "journal")
    file = newest(tmp_path / "journal")
    newer(file, block)
    (tmp_path / "journal" / "00000099.filling").write_bytes(b"left over")
    (tmp_path / "journal" / "00000098.segment").write_bytes(b"not ours")
    if block == 3:  # damage before it, which a start would set aside
        content = bytearray(file.read_bytes())
        second = [at for at in range(0, len(content), 512) if content[at : at + 4] == blocks.MAGIC][1]
        content[second + 200] ^= 0xFF
        file.write_bytes(content)
    before = files(tmp_path / "journal")
    with pytest.raises(NewerFormat, match=f"newer version .format {blocks.VERSION + 1}.*nothing was changed"):
        opened(tmp_path / "journal")
    assert files(tmp_path / "journal") == before
    assert not (tmp_path / "journal" / QUARANTINE).exists()


def test_a_newer_checkpoint_is_not_taken_for_a_damaged_one() -> None:
    """A checkpoint of a later version refuses the start, where a damaged one is replaced by the one before."""
    payload = blocks.msgspec.msgpack.encode(Checkpoint(version=99, segments=[], tables={}))
    with pytest.raises(NewerFormat, match="checkpoint format 99"):
        Image.decode(payload)
    with pytest.raises(JournalError) as damaged:
        Image.decode(payload[:-3])
    assert not isinstance(damaged.value, NewerFormat)


def test_the_command_line_says_so_with_78(tmp_path: Path) -> None:
    """`run` ends with 78, so that no supervisor starts it again for ever, and says what to do; `stat` does, too."""
    folder = tmp_path / "state" / "journal"
    golden(GOLDEN[-1], folder)
    newer(newest(folder), 0)
    before = files(folder)
    config = tmp_path / "gateway.toml"
    config.write_text(f'[gateway]\nname = "gw"\nstate = "{tmp_path / "state"}"\n[sources.a]\nlisten = "127.0.0.1:0"\n')
    for words in (("run",), ("journal", "stat")):
        said = command(*words, "--config", str(config))
        assert said.code == 78, said
        assert "newer version" in said.err
        assert "Traceback" not in said.err
    assert files(folder) == before
