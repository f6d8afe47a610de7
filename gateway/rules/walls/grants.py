"""What an installation may grant its rules: the words of `[rules] grant` and `[rules.grant_to]`, and what they open.

All rules run in one process.  The kernel's walls are the process's: what is granted to one file is open for all of
them there, and only the audit hook (`fence.py`) still tells the files apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from gateway.errors import probably_meant

NETWORK, PROCESSES, THREADS, C, READ, WRITE = "network", "subprocess", "threads", "ctypes", "read", "write"
WORDS = (NETWORK, PROCESSES, THREADS, C)
WITH_PATH = (READ, WRITE)

Grants = Mapping[str, Sequence[str]]
"""By file name below the rules folder; those of "" are everybody's."""


def check(words: Iterable[str]) -> None:
    """Raise ValueError for a word that grants nothing; it says what was probably meant."""
    for word in words:
        name, colon, path = word.partition(":")
        if colon and name in WITH_PATH:
            if not PurePath(path).is_absolute():
                raise ValueError(f'grant {word!r} needs a whole path: write "{name}:/var/lib/house"')
        elif word not in WORDS:
            known = [*WORDS, *(f"{each}:/path" for each in WITH_PATH)]
            hint = probably_meant(word, known) or f"there are {', '.join(known)}"
            raise ValueError(f"there is no grant {word!r}: {hint}")


def of_all(grants: Grants) -> frozenset[str]:
    """Return everything that is granted to anybody: what the kernel's walls leave open."""
    return frozenset(word for words in grants.values() for word in words)


def of_file(grants: Grants, file: str) -> frozenset[str]:
    """Return what is granted to one file, by its name."""
    return frozenset(grants.get("", ())).union(grants.get(PurePath(file).name, ()))


def paths(words: Iterable[str], kind: str) -> list[str]:
    """Return the paths granted for reading or writing."""
    return [word.partition(":")[2] for word in words if word.startswith(f"{kind}:")]


def described(grants: Grants) -> list[str]:
    """Say what is granted to whom, for a person: one line a grant."""
    return [f"{word} to {file}" if file else f"{word} to all rules" for file, words in grants.items() for word in words]
