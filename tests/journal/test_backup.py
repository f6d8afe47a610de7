"""A journal copied while it is written, its archive hurt, and the copy started elsewhere."""

from __future__ import annotations

import errno
import io
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.event import Event, Lane
from gateway.journal import archive
from gateway.journal.archive import ArchiveWriter, BackupError, Kept, Manifest
from gateway.journal.backup import JournalCopy
from gateway.journal.compression import compressing, decompressing
from gateway.journal.disk import OsDisk
from gateway.journal.inspection import Inspection
from gateway.journal.journal import Journal
from gateway.journal.options import SEQUENCE_SKIP, JournalOptions
from gateway.journal.restore import EPOCH_RANDOM, EPOCH_STEP, Staging, next_epoch
from tests.journal.busy import TINY, busy, noise

RECORDS = 1500
OPTIONS = JournalOptions(bytes_max=2 * 1024 * 1024, segment_bytes=64 * 1024, preallocate=False)


def backup(folder: Path, options: JournalOptions, disk: OsDisk | None = None) -> bytes:
    """Copy a journal into an archive."""
    raw = io.BytesIO()
    writer = ArchiveWriter(raw, 0)
    part, files = JournalCopy(folder, options, writer, lambda _done, _total: None, disk).run()
    writer.finish(manifest(part, files))
    return raw.getvalue()


def manifest(part: archive.JournalPart, files: list[Kept]) -> Manifest:
    """Return the manifest of a backup that is a journal and nothing else."""
    return Manifest(
        made="2026-11-23T00:00:00Z",
        made_s=0,
        program="0",
        gateway="pi",
        config="",
        places={},
        journal=part,
        files=files,
    )


def contents(data: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """Read an archive: its manifest, and what is in its files."""
    files: dict[str, bytes] = {}

    def take(name: str, _length: int, pieces: Iterator[bytes]) -> None:
        files[name] = b"".join(pieces)

    return archive.read(io.BytesIO(data), take), files


def staged(data: bytes, folder: Path, options: JournalOptions) -> Journal:
    """Put a journal from an archive into a folder and start it once; returns it closed."""
    found, files = contents(data)
    staging = Staging(folder)
    for kept in found.files:
        staging.add(Path(kept.name).name, iter([files[kept.name]]), kept)
    return staging.start(found, options, SystemClock())


def restore(data: bytes, folder: Path, options: JournalOptions) -> Journal:
    """Restore a journal and open it as a gateway does."""
    staged(data, folder, options)
    return Journal.open(folder, options, SystemClock())


def records(journal: Journal | Inspection) -> dict[int, bytes]:
    """Return every record of a journal."""
    found: dict[int, bytes] = {}
    for lane in Lane:
        reader = journal.reader(lane)
        found.update({each.sequence: each.raw for each in reader.read(0, 1 << 20, 1 << 30)})
        reader.close()
    return found


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, dict[int, bytes]]:
    """Make a journal that was killed: its folder, and what is in it."""
    journal = Journal.open(tmp_path / "journal", OPTIONS, SystemClock())
    for number in range(RECORDS):
        journal.append(Event(source="/pi/house", type="reading_taken", data={"n": number, "x": noise(number)}))
        if number % 20 == 19:
            journal.commit()
    journal.put("values", "house/z2m:a", {"open": True})
    journal.commit()
    held = records(journal)
    journal._lock.release()
    journal._writer.close()
    return tmp_path / "journal", held


def test_a_copy_goes_on_with_numbers_that_were_never_used(made: tuple[Path, dict[int, bytes]], tmp_path: Path) -> None:
    """Everything is there byte for byte; what comes then shares no id and no sequence with what the original gives."""
    folder, held = made
    data = backup(folder, OPTIONS)
    original = Journal.open(folder, OPTIONS, SystemClock())
    later = [msgspec.json.decode(original.append(Event(source="/pi", type="x_changed", data={}))) for _ in range(50)]
    original.commit()
    copy = restore(data, tmp_path / "copy", OPTIONS)
    assert records(copy) == held
    assert copy.log_id == original.log_id
    assert copy.table("values") == {"house/z2m:a": {"open": True}}
    (row,) = copy.table("restores").values()
    assert row["skipped"] >= SEQUENCE_SKIP
    assert row["first"] == RECORDS + 1 + row["skipped"]
    mine = [msgspec.json.decode(copy.append(Event(source="/pi", type="x_changed", data={}))) for _ in range(50)]
    assert not {event["id"] for event in mine} & {event["id"] for event in later}
    assert int(mine[0]["sequence"]) >= row["first"]
    assert copy.epoch > original.epoch + EPOCH_STEP
    assert not copy.recovery.unclean
    copy.close()
    original.close()


def test_copies_under_load_are_whole(tmp_path: Path) -> None:
    """While every segment is used again and again, each copy is one moment of the log, and none before it began."""
    copies: list[tuple[int, bytes]] = []
    with busy(tmp_path / "journal") as reached:
        while reached[0] < 6000:
            copies.append((reached[0], backup(tmp_path / "journal", TINY)))
    for number, (before, data) in enumerate([copies[0], *copies[-3:]]):
        copy = restore(data, tmp_path / f"copy{number}", TINY)
        report = copy.recovery
        assert (report.damaged_blocks, report.missing_records, report.rebuilt) == (0, 0, False)
        held = sorted(records(copy))
        assert held == list(range(held[0], held[-1] + 1))
        assert held[-1] >= before
        assert copy.table("cursors")["route:cloud:telemetry"]["after"] == held[-1]
        copy.close()


def test_a_file_that_was_hurt_is_refused(made: tuple[Path, dict[int, bytes]]) -> None:
    """A flipped byte anywhere, and a cut at any place, is found before anything is made of the backup."""
    data = backup(made[0], OPTIONS)
    chance = random.Random(1)
    sound, refused = contents(data), 0
    for _ in range(60):
        hurt = bytearray(data)
        hurt[chance.randrange(len(hurt))] ^= 1 << chance.randrange(8)
        try:
            assert contents(bytes(hurt)) == sound, "a bit that means nothing to zstd"
        except BackupError:
            refused += 1
    assert refused > 50
    for cut in [0, 1, 100, len(data) - 1, *(chance.randrange(len(data)) for _ in range(40))]:
        with pytest.raises(BackupError):
            archive.read(io.BytesIO(data[:cut]), lambda *_: None)


def rewritten(data: bytes, change: tuple[str, str]) -> bytes:
    """Return an archive with something replaced in its manifest, hashes of the rest as they were."""
    raw = io.BytesIO()
    writer = ArchiveWriter(raw, 0)
    with tarfile.open(fileobj=decompressing(io.BytesIO(data)), mode="r|") as tar:
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            content = file.read()
            if info.name == "manifest.json":
                content = content.replace(change[0].encode(), change[1].encode())
            writer.add(info.name, len(content), iter([content]))
    writer._tar.close()
    writer._stream.close()
    raw.write(archive.END)
    return raw.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"format": 1', '"format": 2'), "newer version"),
        (('"bytes": ', '"bytes": 1'), "is not what was put there"),
        (("journal/0", "journal/../0"), "does not belong in a backup"),
        (("journal/0", "config/../../0"), "does not belong in a backup"),
        (('"name": "journal/', '"name": "/journal/'), "does not belong in a backup"),
        (('"log_id"', '"lag_id"'), "manifest cannot be read"),
    ],
)
def test_a_manifest_that_says_something_else(
    made: tuple[Path, dict[int, bytes]], change: tuple[str, str], says: str
) -> None:
    """A newer format, other lengths, names that lead out of a folder: refused, with words."""
    with pytest.raises(BackupError, match=says):
        archive.read(io.BytesIO(rewritten(backup(made[0], OPTIONS), change)), lambda *_: None)


def test_names_in_the_archive_cannot_lead_out_of_it() -> None:
    """Links, folders and names that would be put somewhere else do not belong in a backup."""
    for name, kind in (("journal/../x", tarfile.REGTYPE), ("/etc/x", tarfile.REGTYPE), ("journal/x", tarfile.SYMTYPE)):
        raw = io.BytesIO()
        with compressing(raw) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            info = tarfile.TarInfo(name)
            info.type = kind
            tar.addfile(info)
        raw.write(archive.END)
        with pytest.raises(BackupError, match="does not belong in a backup"):
            archive.read(raw, lambda *_: None)


def test_what_the_disk_refuses_to_read_is_counted(made: tuple[Path, dict[int, bytes]], tmp_path: Path) -> None:
    """A segment with bad sectors is in the backup as zeros; a start from it loses and counts just those blocks."""
    folder, held = made
    bad = min(folder.glob("*.segment")).name

    class Worn(OsDisk):
        """A card that cannot read the middle of one file any more."""

        def __init__(self) -> None:
            self.handles: dict[int, str] = {}

        def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
            """See `Disk.open`."""
            handle = super().open(path, create=create, write=write)
            self.handles[handle] = path.name
            return handle

        def pread(self, handle: int, length: int, offset: int) -> bytes:
            """See `Disk.pread`."""
            if self.handles[handle] == bad and length > 40_000:
                raise OSError(errno.EIO, "Input/output error")
            return super().pread(handle, length, offset)

    data = backup(folder, OPTIONS, Worn())
    found = archive.read(io.BytesIO(data), lambda *_: None)
    assert found.journal.unreadable_bytes > 0
    started = staged(data, tmp_path / "copy", OPTIONS)
    there = records(Inspection(tmp_path / "copy"))
    assert there.items() < held.items()
    assert started.recovery.damaged_records + started.recovery.missing_records == len(held) - len(there)


def test_an_epoch_leaves_room() -> None:
    """Whatever the clock says, an epoch is beyond what starts of the original, counted by one, come to."""
    chance = random.Random(1)
    for now_s in (0, 1_600_000_000, 1_800_000_000, 3_000_000_000):
        for before in (1, 5000, 28_000_000):
            assert next_epoch(before, now_s, chance) >= before + EPOCH_STEP
    day = 86_400
    first = next_epoch(7, 1_800_000_000, chance)
    assert next_epoch(7, 1_800_000_000 + EPOCH_RANDOM + day, chance) > first + day // 2 - EPOCH_STEP
    with pytest.raises(BackupError, match="no room"):
        next_epoch((1 << 32) - 2, 0, chance)
