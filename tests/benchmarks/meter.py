"""What processes cost, as the kernel counts it: CPU to the nanosecond, memory, bytes written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

KIB = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes now: `rss` counts pages that processes share once for each, `pss` once in all."""

    rss_mb: float
    pss_mb: float


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes since the processes started."""

    device: int  # write_bytes: pages that were made dirty, as the kernel accounts them
    calls: int  # wchar: what was handed to write calls, sockets not among them


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds of all living threads (`/proc/PID/stat` has only hundredths)."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*"):
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (OSError, IndexError):  # it ended
                continue
    return total / 1e9


def memory(pids: Iterable[int]) -> Memory:
    """Add up the memory of processes."""
    found = [_numbers(Path(f"/proc/{pid}/smaps_rollup")) for pid in pids]
    rss, pss = (sum(each.get(name, 0) for each in found) * KIB / 1e6 for name in ("Rss", "Pss"))
    return Memory(rss, pss)


def written(pids: Iterable[int]) -> Written:
    """Add up what processes wrote."""
    found = [_numbers(Path(f"/proc/{pid}/io")) for pid in pids]
    return Written(*(sum(each.get(name, 0) for each in found) for name in ("write_bytes", "wchar")))


def _numbers(file: Path) -> Mapping[str, int]:
    numbers = {}
    try:
        for line in file.read_text().splitlines():
            name, colon, value = line.partition(":")
            if colon and (words := value.split()) and words[0].isdecimal():
                numbers[name] = int(words[0])
    except OSError:  # it ended
        pass
    return numbers
