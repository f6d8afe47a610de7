"""Several lanes read as one, in the order of their sequence."""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep

from gateway.errors import DiskRefused
from gateway.event import Lane
from gateway.journal.journal import Journal

READ_BYTES_MAX = 1024 * 1024  # of one lane, in one read
REFUSED_S = 0.5  # between two reads of a disk that is gone


class Merged:
    """Reads what is durable in several lanes; belongs to the one thread that calls it at a time.

    It reads what is there, given up for routes or not: rules need it whatever the cloud does.
    """

    def __init__(self, journal: Journal, lanes: Sequence[Lane]) -> None:
        self._journal = journal
        self._readers = [journal.reader(lane, given_up=True) for lane in lanes]

    def read(self, after: int, limit: int) -> tuple[Sequence[tuple[int, bytes]], int]:
        """Return (sequence, bytes) behind `after`, oldest first, and up to where there is nothing else. BLOCKING.

        While the disk is gone that is nothing, up to `after`, after a pause.
        """
        through = self._journal.durable_sequence
        try:
            lanes = [reader.read(after, limit, READ_BYTES_MAX) for reader in self._readers]
        except DiskRefused:
            sleep(REFUSED_S)
            return (), after
        # a lane that gave something may have more right behind it: what the others have beyond that has to wait
        cut = min([through, *(stored[-1].sequence for stored in lanes if stored)])
        records = [(record.sequence, record.raw) for stored in lanes for record in stored if record.sequence <= cut]
        return sorted(records), cut

    def close(self) -> None:
        """Close what the readers have open."""
        for reader in self._readers:
            reader.close()
