"""Start: find the newest checkpoint that holds, apply what lies behind it, cut the tail.

The work does not depend on how many records wait: the first 160 bytes of every segment file, one checkpoint, the
rest of the newest segment. Steps:

1. See which file holds which life (folder.py).
2. From the newest life go back along `previous life` until a checkpoint holds. None holds: start with empty tables
   and all that is left.
3. From there forward: apply each block's table changes; holes are damage (copied to the quarantine folder, counted);
   in the newest segment what nothing proves durable is the unsynced tail and is cut.
4. Index entries whose file is gone are lost and counted from the index; files that no entry names are free.

Before the newest segment is read it is synced and the cache dropped: what a killed process had written is otherwise
seen before it is durable, and after a failed sync the cache shows what the medium never got.

Nothing here is fatal but a newer format: a start is never refused for damage.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

import msgspec

from gateway.errors import JournalError, NewerFormat
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.block import HEADER_BYTES, Header
from gateway.journal.checkpoint import Image
from gateway.journal.cipher import Keys
from gateway.journal.compression import Codec
from gateway.journal.folder import File, Folder
from gateway.journal.lock import Hint
from gateway.journal.quarantine import keep_copy
from gateway.journal.reader import Damage
from gateway.journal.segment import NO_SPANS, Entry, Found, Hole, Link, Walk, spans_of, started
from gateway.journal.unreadable import around

LIVES_SKIPPED: Final = 64  # for each file whose life cannot be read


class Recovery(msgspec.Struct, kw_only=True):
    """What a start found. All counts are exact, but for the tail: at most one block, never acknowledged."""

    unclean: bool = False
    blocks: int = 0  # read behind the checkpoint
    tail_cut: bool = False  # a torn block was cut off
    damaged_blocks: int = 0
    damaged_records: int = 0
    missing_segments: int = 0
    missing_records: int = 0
    set_aside: list[str] = []  # names in the quarantine folder
    checkpoints_skipped: int = 0
    rebuilt: bool = False  # no checkpoint held at all: tables begin empty, what was in lost segments is not counted
    skipped_sequences: int = 0

    def lines(self) -> Iterator[str]:
        """Say what a person should know of it; nothing after a clean stop without damage."""
        if self.damaged_blocks:
            yield f"{self.damaged_blocks} damaged blocks with {self.damaged_records} records set aside"
        if self.missing_segments or self.missing_records:
            yield f"{self.missing_records} records are missing, {self.missing_segments} whole segments"
        if self.rebuilt:
            yield "no checkpoint was left: tables begin empty, and what vanished segments held is not known"
        if self.tail_cut:
            yield "a torn block at the end was cut off; nothing in it had been acknowledged"
        if self.checkpoints_skipped:
            yield f"{self.checkpoints_skipped} damaged checkpoints skipped"


class Recovered(msgspec.Struct, kw_only=True):
    """What the journal goes on with."""

    log_id: bytes  # empty: there was no journal
    epoch: int  # the greatest seen
    image: Image
    link: Link
    entry: Entry | None  # the segment in use
    entry_link: Link  # what its first block follows
    limit: int  # its length in bytes
    next_sequence: int
    next_life: int
    free: list[str]
    spares: list[str]
    names_taken: int
    damages: list[Damage]
    changed: dict[int, Entry | None]  # index entries that were corrected: to be written with the first block
    report: Recovery
    keys: Keys


class Recoverer:
    """Goes through a folder once."""

    def __init__(self, folder: Folder, segment_size: int = 0, hint: Hint | None = None) -> None:
        """`segment_size`: files of another size are not used again. `hint`: how far the log had come at least."""
        self._hint = hint or Hint()
        self._folder = folder
        self._size = segment_size
        self._codec = Codec(keys=folder.keys)
        self._image = Image()
        self._link = Link(0, 0, 0, 0)
        self._joined = 0  # life of the segment gone through before; 0: none yet
        self._known = False  # whether `_link` says what must come next
        self._next_sequence = 1
        self._clean = True
        heads = [file.head for file in folder.lives.values() if file.head is not None]
        self._epoch = max([head.epoch for head in heads], default=0)
        self._damages: list[Damage] = []
        self._report = Recovery()
        self._copies: list[tuple[str, str, int, int]] = []  # segment, name of the copy, offset, length

    def run(self) -> Recovered:
        """Recover. Raises NewerFormat, WrongKey, OSError when the folder cannot be read; nothing was changed then."""
        folder = self._folder
        if not folder.log_id and any(file.unreadable for file in folder.files.values()):
            raise OSError(errno.EIO, "none of the journal's segments can be read")  # a new log would hide them
        chain = self._chain()
        entry: Entry | None = None
        limit = 0
        for file, following in [*pairwise(chain), *[(file, None) for file in chain[-1:]]]:
            entry, limit = self._forward(file, following), file.size
            self._image.segments[entry.life] = entry
        if entry is not None:
            del self._image.segments[entry.life]
            if self._report.checkpoints_skipped or not entry.end or not self._same_key(chain[-1]):
                limit = 0  # what follows shall not depend on a damaged checkpoint, or an old key: begin a segment
        changed = self._reconcile(chain[0].head.life if chain and chain[0].head else 0)
        live = {each.name for each in self._image.segments.values()} | ({entry.name} if entry else set())
        self._heed(self._hint)
        self._report.unclean = not self._clean
        self._check_keys(entry)
        for segment, name, offset, length in self._copies:
            if folder.write and keep_copy(folder.disk, folder.path, segment, name, offset, length):
                self._report.set_aside.append(name)
        folder.tidy()
        self._report.set_aside += folder.set_aside_names
        return Recovered(
            log_id=folder.log_id or self._hint.log_id,
            epoch=self._epoch,
            image=self._image,
            link=self._link,
            entry=entry,
            entry_link=_link_before(chain[-1].head) if chain else self._link,
            limit=limit,
            next_sequence=self._next_sequence,
            next_life=max([*folder.lives, *self._image.segments, self._hint.life])
            + 1
            + folder.doubtful * LIVES_SKIPPED,
            free=folder.free(live, self._size),
            spares=folder.spares,
            names_taken=folder.names_taken,
            damages=self._damages,
            changed=changed,
            report=self._report,
            keys=folder.keys,
        )

    def _same_key(self, file: File) -> bool:
        """Return whether a segment is encrypted as blocks are now: with the same key, or not at all."""
        return file.head is not None and self._folder.keys.same(self._folder.log_id, file.head.mark)

    def _check_keys(self, active: Entry | None) -> None:
        """See that every live segment can be read. Raises WrongKey."""
        for life in [*self._image.segments, *([active.life] if active is not None else [])]:
            file = self._folder.lives.get(life)
            if file is not None and file.head is not None:
                self._folder.keys.check(self._folder.log_id, file.head.mark)

    def _heed(self, hint: Hint) -> None:
        """Count what the hint says there was behind the last block, and give none of its numbers out again."""
        self._epoch = max(self._epoch, hint.epoch)
        if hint.records > self._link.records_next:
            self._report.missing_records += hint.records - self._link.records_next
            self._link = msgspec.structs.replace(self._link, records_next=hint.records)
            self._clean = False
        self._next_sequence = max(self._next_sequence, hint.sequence + 1)

    # -- which segments to read -------------------------------------------------------------------------

    def _chain(self) -> list[File]:
        """Return the segments from the newest checkpoint that holds to the newest segment; loads that checkpoint."""
        mine = {
            life: file
            for life, file in self._folder.lives.items()
            if file.head is not None and not file.head.flags & blocks.SURVIVORS
        }
        chain: list[File] = []
        while mine and not chain:
            newest = max(mine)
            file = self._folder.refresh(mine.pop(newest).name)
            self._folder.lives.pop(newest)
            if file.head is None or file.head.log_id != self._folder.log_id:
                continue
            life = file.head.life  # an older one, when what a killed process had begun never reached the medium
            if life not in self._folder.lives:
                self._folder.lives[life] = file
                if life == newest:
                    chain = [file]
                elif not file.head.flags & blocks.SURVIVORS:
                    mine[life] = file
        while chain and not self._load(chain[0]):
            self._report.checkpoints_skipped += 1
            head = chain[0].head
            assert head is not None
            older = [life for life in mine if life < head.life]
            if not older:
                self._report.rebuilt = bool(head.previous_life)
                break
            chain.insert(0, mine[head.previous_life if head.previous_life in older else max(older)])
        return chain

    def _load(self, file: File) -> bool:
        """Load the checkpoint at a file's head; False when it does not hold."""
        head = file.head
        if not file.whole or head is None or not head.flags & blocks.CHECKPOINT:
            return False
        try:
            with self._folder.opened(file.name) as read:
                stored = read(head.stored, HEADER_BYTES)
            self._image = Image.decode(blocks.payload_of(head, stored, self._codec))
        except NewerFormat:
            raise
        except (OSError, JournalError):
            return False
        self._link = Link(head.number - 1, None, 0, head.records_before)
        self._known = True
        return True

    # -- going through them -----------------------------------------------------------------------------

    def _forward(self, file: File, following: File | None) -> Entry:
        """Apply a segment's blocks. The one nothing follows is the newest: its tail is cut."""
        head = file.head
        assert head is not None
        entry = started(head, file.name)
        if not file.whole:  # the head is gone; its numbers are those that must come next
            entry = msgspec.structs.replace(
                entry, number_first=self._link.number + 1, records_first=self._link.records_next
            )
        end, closing = file.size, None
        after = following.head if following is not None else None
        if following is not None and after is not None and after.previous_life == head.life:
            end = min(end, after.previous_end)
            closing = (after.number, after.records_before) if following.whole else None
        if not head.previous_life:  # the log begins here
            self._known = True
        joined = self._known and self._joined in {0, head.previous_life}
        self._joined = head.life
        handle = self._folder.disk.open(self._folder.path / file.name, write=False)
        walk = Walk(
            around(lambda length, offset: self._folder.disk.pread(handle, length, offset), self._folder.answers),
            self._folder.log_id,
            head.life,
            end,
            align=self._folder.align,
            codec=self._codec,
            link=self._link if joined else None,
            closing=closing,
        )
        try:
            for part in walk:
                if isinstance(part, Found):
                    entry = self._apply(entry, part)
                elif isinstance(part, Hole):
                    self._damaged(entry, part)
                elif following is None and part.header is not None:
                    self._report.tail_cut = True
                    self._clean = False
                    self._epoch = max(self._epoch, part.header.epoch)
                    length = part.header.stored + HEADER_BYTES
                    self._copy(file.name, f"{head.life}-{part.offset}.tail", part.offset, length)
            if self._folder.write:
                self._folder.disk.forget(handle)
        finally:
            self._folder.disk.close(handle)
        if closing is not None:
            self._link = Link(closing[0] - 1, None, self._link.epoch, closing[1])
            entry = msgspec.structs.replace(entry, number_next=closing[0], records_next=closing[1], end=end)
        return entry

    def _apply(self, entry: Entry, found: Found) -> Entry:
        header = found.header
        if self._known:
            self._report.missing_records += max(0, header.records_before - self._link.records_next)
        self._known = True
        self._report.blocks += 1
        self._link = Link.of(header)
        self._epoch = max(self._epoch, header.epoch)
        self._clean = bool(header.flags & blocks.CLEAN)
        self._next_sequence = max(self._next_sequence, header.first + header.events)
        last = header.first + header.events - 1
        if header.flags & blocks.CHECKPOINT or found.payload is None:
            return entry.grown(header, found.end, NO_SPANS, last)
        try:
            records = record.decode(found.payload, header.first, header.events)
        except JournalError:  # its CRC held, so it was written so; the rest of the log is still good
            return entry.grown(header, found.end, NO_SPANS, last)
        self._image.apply(records.changes)
        spans = spans_of(records.lanes, range(header.first, header.first + header.events))
        return entry.grown(header, found.end, spans, last)

    def _damaged(self, entry: Entry, hole: Hole) -> None:
        self._damages.append(Damage(entry.life, entry.name, hole.offset, hole.end, hole.blocks, hole.records))
        self._report.damaged_blocks += hole.blocks
        self._report.damaged_records += hole.records
        self._link = msgspec.structs.replace(
            self._link,
            number=self._link.number + hole.blocks,
            crc=None,
            records_next=self._link.records_next + hole.records,
        )
        if hole.end > hole.offset:
            self._copy(entry.name, f"{entry.life}-{hole.offset}.block", hole.offset, hole.end - hole.offset)

    def _copy(self, segment: str, name: str, offset: int, length: int) -> None:
        self._copies.append((segment, name, offset, length))  # made at the end: a newer format may still be met

    # -- index and files --------------------------------------------------------------------------------

    def _reconcile(self, oldest: int) -> dict[int, Entry | None]:
        """Compare the index with the files; returns what had to be corrected in it.

        `oldest`: life of the segment that was gone through first.
        """
        changed: dict[int, Entry | None] = {}
        gone: list[Entry] = []
        files = self._folder.files
        for life, entry in list(self._image.segments.items()):
            self._next_sequence = max(self._next_sequence, entry.last + 1)
            file = self._folder.lives.get(life)
            there = files.get(entry.name)
            if file is not None:
                if file.name != entry.name:
                    changed[life] = self._image.segments[life] = msgspec.structs.replace(entry, name=file.name)
                continue
            if there is not None and there.unreadable:
                continue  # it may be readable another time; readers will say if not
            changed[life] = None
            del self._image.segments[life]
            if self._damages and there is not None and there.head is not None and there.head.life > oldest:
                gone.append(entry)  # its file was used again since: it was given up, in a block that is damaged now
                continue
            self._report.missing_segments += 1
            self._report.missing_records += entry.records_next - entry.records_first
            if there is not None and there.head is None:
                self._folder.set_aside(entry.name)
        for entry in self._orphans(oldest) if gone else ():
            self._adopt(entry, gone, changed)
        return changed

    def _orphans(self, oldest: int) -> Iterator[Entry]:
        """Find segments of survivors that no index names and that are younger than where reading began."""
        for life, file in self._folder.lives.items():
            survivors = file.head is not None and file.whole and file.head.flags & blocks.SURVIVORS
            if survivors and life > oldest and life not in self._image.segments:
                entry = self._survivors(file)
                if entry is not None:
                    yield entry

    def _survivors(self, file: File) -> Entry | None:
        """Read a whole segment of survivors; None when any of it does not hold."""
        assert file.head is not None
        entry = started(file.head, file.name)
        with suppress(OSError, JournalError), self._folder.opened(file.name) as read:
            life = file.head.life
            walk = Walk(read, self._folder.log_id, life, file.size, align=self._folder.align, codec=self._codec)
            for part in walk:
                if isinstance(part, Hole) or (not isinstance(part, Found) and part.header is not None):
                    return None
                if isinstance(part, Found) and part.payload is not None:
                    header = part.header
                    records = record.decode(part.payload, header.first, header.events, survivors=True)
                    sequences = records.sequences or ()
                    entry = entry.grown(header, part.end, spans_of(records.lanes, sequences), sequences[-1])
            return entry
        return None

    def _adopt(self, entry: Entry, gone: Sequence[Entry], changed: dict[int, Entry | None]) -> None:
        """Take survivors into the index whose victims are gone: the block that switched to them is damaged."""
        if not any(each.first <= entry.last and entry.first <= each.last for each in gone):
            return
        for life, other in list(self._image.segments.items()):
            if other.first <= entry.last and entry.first <= other.last:
                del self._image.segments[life]  # another victim, not used again yet
                changed[life] = None
        changed[entry.life] = self._image.segments[entry.life] = entry


def _link_before(head: Header | None) -> Link:
    """Return what a segment's first block follows."""
    assert head is not None
    return Link(head.number - 1, head.previous_crc, 0, head.records_before)
