"""Blobs on the disk: whole or not at all, once, within their bytes, the oldest first to go."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.blobs.store import BlobOptions, BlobStore, blobs, path_of, read


def name(content: bytes) -> str:
    """Return what a blob is called."""
    return hashlib.sha256(content).hexdigest()


def store_in(folder: Path, bytes_max: int = 1000) -> BlobStore:
    """Open a store."""
    store = BlobStore(folder / "blobs", BlobOptions(bytes_max=bytes_max))
    store.open()
    return store


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    """The same bytes, under their hash, once."""
    store = store_in(tmp_path)
    for _ in range(2):
        assert store.write(name(b"one"), b"one")
    again = store_in(tmp_path)
    assert (len(again), again.bytes, again.has(name(b"one"))) == (1, 3, True)
    assert read(again.folder, name(b"one")) == b"one"
    assert read(again.folder, name(b"two")) is None


def test_a_board_that_boots_in_1970_keeps_its_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written while the clock is behind is newer than what was there, over a restart, too."""
    store = store_in(tmp_path, 10)
    store.write(name(b"old"), b"old")
    monkeypatch.setattr("gateway.blobs.store.time.time_ns", lambda: 10**9)
    store_in(tmp_path, 10).write(name(b"new"), b"new")
    assert [kept.sha256 for kept in blobs(store.folder)] == [name(b"old"), name(b"new")]
    store_in(tmp_path, 10).write(name(b"more!"), b"more!")
    assert [kept.sha256 for kept in blobs(store.folder)] == [name(b"new"), name(b"more!")]


def test_the_oldest_make_way(tmp_path: Path) -> None:
    """Also by age over a restart; one that came again is young again; one that is too large displaces nobody."""
    store = store_in(tmp_path, 10)
    for number, content in enumerate((b"aaaa", b"bbbb", b"aaaa")):
        store.write(name(content), content)
        os.utime(path_of(store.folder, name(content)), ns=(number * 10**9, number * 10**9))
    store = store_in(tmp_path, 10)
    assert not store.write(name(b"x" * 11), b"x" * 11)
    assert store.write(name(b"cccc"), b"cccc")
    assert [store.has(name(content)) for content in (b"aaaa", b"bbbb", b"cccc")] == [True, False, True]
    assert (store.bytes, store.evicted) == (8, 1)


def test_half_a_file_is_no_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut before the rename leaves nothing under the name; what it left is tidied up; a full disk raises."""
    store = store_in(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(name(b"one"), b"one")
    monkeypatch.undo()
    assert not store.has(name(b"one"))
    part = path_of(store.folder, name(b"one"))
    part.with_name(part.name + ".part").write_bytes(b"on")
    assert blobs(store_in(tmp_path).folder) == []
    assert list(part.parent.iterdir()) == []


def test_a_damaged_blob_is_not_given_out(tmp_path: Path) -> None:
    """Its bytes are not what its name says."""
    store = store_in(tmp_path)
    store.write(name(b"one"), b"one")
    path_of(store.folder, name(b"one")).write_bytes(b"0ne")
    assert read(store.folder, name(b"one")) is None


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_a_name_leads_nowhere_else(tmp_path: Path, sha256: str) -> None:
    """Only hashes are names."""
    with pytest.raises(ValueError, match="no SHA-256"):
        path_of(tmp_path, sha256)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=30))
def test_it_never_has_more_than_it_may(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    """Whatever comes: bytes on the disk are what is counted, and at most the limit; the last one that fits is there."""
    store = store_in(tmp_path_factory.mktemp("blobs"), 64)
    for content in contents:
        assert store.write(name(content), content)
        assert read(store.folder, name(content)) == content
        found = blobs(store.folder)
        assert sum(each.size for each in found) == store.bytes <= 64
        assert len(found) == len(store)
