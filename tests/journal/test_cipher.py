"""Encrypted journals: what is on the disk, and what other keys and other hands do to them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.clock import SystemClock
from gateway.errors import ConfigError, JournalError
from gateway.event import Event, Lane
from gateway.journal import block
from gateway.journal.cipher import WrongKey, keys_of
from gateway.journal.compression import Codec
from gateway.journal.inspection import Inspection
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.secrets import Secret
from tests.journal.busy import noise

PLAIN = JournalOptions(bytes_max=12 * 16 * 1024, segment_bytes=16 * 1024, preallocate=False)
WORD = "kitchen-window-that-nobody-shall-know"
OTHER = "bathroom-scales-that-nobody-shall-know"
Named = Callable[[str], Secret]


@pytest.fixture
def named(tmp_path: Path) -> Named:
    """Make keys by name."""

    def make(name: str) -> Secret:
        path = tmp_path / f"{name}.key"
        path.write_text(hashlib.sha256(name.encode()).hexdigest() + "\n")
        return Secret("file", str(path), tmp_path / "gateway.toml", 7)

    return make


def sealed(key: Secret | None, *old: Secret) -> JournalOptions:
    """Return options with a key."""
    return msgspec.structs.replace(PLAIN, key=key, old_keys=old)


def fill(folder: Path, options: JournalOptions, count: int, word: str = WORD, *, delivered: bool = False) -> Journal:
    """Open a journal, append events, commit each ten and close it."""
    journal = Journal.open(folder, options, SystemClock())
    for number in range(count):
        data = {"word": f"{word}-{number}", "x": noise(number)}
        journal.append(Event(source="/pi/house", type="reading_taken", data=data))
        if number % 10 == 9:
            journal.put("values", word, {"n": number})
            if delivered:
                journal.put("cursors", "route:cloud:telemetry", {"after": journal.last_sequence})
            journal.commit()
    journal.close()
    return journal


def words(folder: Path, options: JournalOptions) -> list[str]:
    """Return what the events say, and their sequences have no hole that was not skipped."""
    inspection = Inspection(folder, keys=keys_of(options))
    reader = inspection.reader(Lane.TELEMETRY)
    found = [msgspec.json.decode(each.raw)["data"]["word"] for each in reader.read(0, 1 << 20, 1 << 30)]
    reader.close()
    assert not [segment for segment in inspection.verify() if segment.damaged_blocks]
    return found


def files(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def heads(folder: Path) -> list[tuple[str, int, block.Header]]:
    """Return every block with a sound header: its file, its place."""
    found = []
    for name, content in sorted(files(folder).items()):
        for offset in range(0, len(content), 512):
            header = block.decode_header(content, offset)
            if header is not None:
                found.append((name, offset, header))
    return found


def legible(folder: Path) -> bytes:
    """Return what somebody with the files and zstd can read: every byte, and every payload that inflates."""
    found = [*files(folder).values()]
    for name, offset, header in heads(folder):
        stored = files(folder)[name][offset + block.HEADER_BYTES :][: header.stored]
        for content in (stored, stored[12:-16]):
            with suppress(JournalError):
                found.append(Codec().inflate(content, header.plain))
    return b"".join(found)


def test_nothing_legible_is_on_the_disk(tmp_path: Path, named: Named) -> None:
    """Events, rows and checkpoints are sealed, and so is the copy of a damaged block; all of it can be read again."""
    folder, options = tmp_path / "journal", sealed(named("a"))
    fill(folder, options, 200)
    assert words(folder, options) == [f"{WORD}-{number}" for number in range(200)]
    everything = heads(folder)
    assert {bool(header.flags & block.ENCRYPTED) for _, _, header in everything} == {True}
    assert {bool(header.flags & block.CHECKPOINT) for _, _, header in everything} == {True, False}
    name, offset, hurt = next(each for each in reversed(everything) if each[2].events)
    content = bytearray(files(folder)[name])
    content[offset + block.HEADER_BYTES + 20] ^= 1
    (folder / name).write_bytes(content)
    again = fill(folder, options, 10)
    assert again.recovery.damaged_records == hurt.events
    assert again.recovery.set_aside
    assert [
        part for part in (WORD, "reading_taken", "/pi/house", "telemetry") if part.encode() in legible(folder)
    ] == []
    fill(tmp_path / "plain", PLAIN, 10)
    assert WORD.encode() in legible(tmp_path / "plain")


def test_the_disk_holds_what_the_module_says(tmp_path: Path, named: Named) -> None:
    """A payload can be opened with HKDF written out and AES-GCM alone, and no nonce comes twice."""
    folder = tmp_path / "journal"
    fill(folder, sealed(named("a")), 200)
    master = bytes.fromhex(named("a")())
    nonces = set()
    for name, offset, header in heads(folder):
        stored = files(folder)[name][offset + 160 :][: header.stored]
        salt = header.log_id + struct.pack("<I", header.epoch) + header.mark[8:]
        secret = hmac.digest(salt, master, "sha256")
        key = hmac.digest(secret, b"edge-gateway journal block\x01", "sha256")
        associated = bytearray(files(folder)[name][offset + 6 : offset + 156])
        associated[104 - 6 : 108 - 6] = bytes(4)
        payload = AESGCM(key).decrypt(stored[:12], stored[12:], bytes(associated))
        assert header.flags & block.RAW or Codec().inflate(payload, header.plain)
        nonces.add(stored[:12])
        identity = hmac.digest(header.log_id, master, "sha256")
        assert header.mark[:8] == hmac.digest(identity, b"edge-gateway journal key\x01", "sha256")[:8]
    assert len(nonces) == len(heads(folder)) > 20


@pytest.mark.parametrize("text", ["", "secret", "0" * 63, "0" * 66, base64.b64encode(bytes(31)).decode(), "ü" * 32])
def test_what_is_no_key(tmp_path: Path, named: Named, text: str) -> None:
    """A key that is no 32 bytes is refused with the place in the config, before the folder is even made."""
    key = named("a")
    Path(key.name).write_text(text)
    with pytest.raises(ConfigError, match=r"gateway\.toml:7: what is in file .* is no key \(64 hex digits"):
        fill(tmp_path / "journal", sealed(key), 1)
    assert not (tmp_path / "journal").exists()


def test_a_key_in_base64_is_the_same_key(tmp_path: Path, named: Named) -> None:
    """64 hex digits and base64 of the same bytes are one key."""
    fill(tmp_path / "journal", sealed(named("a")), 10)
    other = named("b")
    Path(other.name).write_text(base64.b64encode(bytes.fromhex(named("a")())).decode())
    assert len(words(tmp_path / "journal", sealed(other))) == 10


def test_a_wrong_or_missing_key_touches_nothing(tmp_path: Path, named: Named) -> None:
    """Another key, none, or one that cannot be read: an error that says so, and every byte is as it was."""
    folder = tmp_path / "journal"
    fill(folder, sealed(named("a")), 200)
    (folder / "00000099.filling").write_bytes(bytes(100))  # what a start would remove
    name, offset, _ = sorted(heads(folder), key=lambda each: each[2].number)[-3]
    content = bytearray(files(folder)[name])
    content[offset + 200] ^= 1  # and what it would set aside
    (folder / name).write_bytes(content)
    before = files(folder)
    gone = Secret("file", str(tmp_path / "gone.key"), tmp_path / "gateway.toml", 7)
    for options, says in (
        (sealed(named("b")), "gateway.toml:7: the journal is encrypted with key .*; this is .*Nothing was changed"),
        (sealed(named("b"), named("c")), "is encrypted with key"),
        (PLAIN, r"the journal is encrypted \(key .*\), and no key is named \(write key"),
        (sealed(gone), "cannot read the secret in file .*gone.key"),
    ):
        with pytest.raises(ConfigError, match=says):
            Journal.open(folder, options, SystemClock())
        with pytest.raises(ConfigError, match=says):
            Inspection(folder, keys=keys_of(options))
        assert files(folder) == before
    journal = Journal.open(folder, sealed(named("a")), SystemClock())
    assert files(folder) != before
    assert journal.recovery.damaged_blocks == 1
    journal.close()


def test_an_existing_journal_is_encrypted_from_now_on(tmp_path: Path, named: Named) -> None:
    """Turned on, new segments are sealed and the old ones are read; the ring makes all of it encrypted in time."""
    folder, on = tmp_path / "journal", sealed(named("a"))
    fill(folder, PLAIN, 60)
    fill(folder, on, 60, OTHER)
    assert words(folder, on) == [f"{WORD}-{n}" for n in range(60)] + [f"{OTHER}-{n}" for n in range(60)]
    by_file: dict[str, set[bool]] = {}
    for name, _, header in heads(folder):
        by_file.setdefault(name, set()).add(bool(header.flags & block.ENCRYPTED))
    assert sorted(map(sorted, by_file.values())) == [[False], [True]], "a segment is one or the other"
    with pytest.raises(WrongKey):
        Journal.open(folder, PLAIN, SystemClock())
    turn(folder, on)
    assert {bool(header.flags & block.ENCRYPTED) for *_, header in live(folder, on)} == {True}


def turn(folder: Path, options: JournalOptions) -> None:
    """Write until the ring has gone round."""
    for _ in range(3):
        fill(folder, options, 1000, delivered=True)


def live(folder: Path, options: JournalOptions) -> list[tuple[str, int, block.Header]]:
    """Return the blocks of the segments that the index names."""
    lives = {entry.life for entry in Inspection(folder, keys=keys_of(options)).entries}
    return [each for each in heads(folder) if each[2].life in lives]


def test_a_key_is_changed_and_turned_off(tmp_path: Path, named: Named) -> None:
    """The old key stays readable as `old_keys` until the ring has gone round; then a start without it succeeds."""
    folder = tmp_path / "journal"
    fill(folder, sealed(named("a")), 60)
    both = sealed(named("b"), named("a"))
    fill(folder, both, 60, OTHER)
    assert len(words(folder, both)) == 120
    before = files(folder)
    with pytest.raises(WrongKey):
        Journal.open(folder, sealed(named("b")), SystemClock())
    assert files(folder) == before
    turn(folder, both)
    fill(folder, sealed(named("b")), 10)
    off = sealed(None, named("b"))
    fill(folder, off, 60)
    assert words(folder, off)[-60:] == [f"{WORD}-{n}" for n in range(60)]
    newest = max((header for *_, header in live(folder, off)), key=lambda header: header.number)
    assert newest.flags & block.ENCRYPTED == 0
    turn(folder, off)
    fill(folder, PLAIN, 10)


@pytest.mark.parametrize("field", ["life", "epoch", "number", "first", "events", "counts", "flags", "wall_ns", "mark"])
def test_a_payload_belongs_to_its_header(tmp_path: Path, named: Named, field: str) -> None:
    """A sealed payload under a header that says something else, sums and all, does not hold."""
    codec = Codec(keys=keys_of(sealed(named("a"))))
    header = block.Header(
        log_id=b"abcdef", life=3, epoch=2, previous_crc=1, number=9, durable_through=8, first=100, records_before=99,
        wall_ns=5, boot_ns=6, events=2, counts=(1, 1, 0, 0, 0, 0, 0, 0),
    )  # fmt: skip
    payload = b"two events, some of them longer than the other one, " * 4
    data, written = block.encode(header, block.deflate(payload, codec), 512)
    stored = data[160 : 160 + written.stored]
    assert block.payload_of(written, stored, codec) == payload
    value = getattr(written, field)
    changed = {
        "counts": (2, 0, 0, 0, 0, 0, 0, 0),
        "flags": written.flags ^ block.START,
        "mark": written.mark[:8] + bytes(8),
    }.get(field)
    forged = msgspec.structs.replace(written, **{field: value + 1 if changed is None else changed})
    assert block.decode_header(block.encode_header(forged)[0]) is not None, "its CRC holds"
    with pytest.raises(JournalError, match="does not hold"):
        block.payload_of(forged, stored, codec)


def test_a_payload_that_was_written_over_does_not_hold(named: Named) -> None:
    """A changed ciphertext with a CRC that fits is damage, not an event."""
    codec = Codec(keys=keys_of(sealed(named("a"))))
    header = block.Header(
        log_id=b"abcdef", life=3, epoch=2, previous_crc=1, number=9, durable_through=8, first=100, records_before=99,
        wall_ns=5, boot_ns=6,
    )  # fmt: skip
    data, written = block.encode(header, block.deflate(b"x" * 300, codec), 512)
    for at in range(written.stored):
        stored = bytearray(data[160 : 160 + written.stored])
        stored[at] ^= 1
        forged = msgspec.structs.replace(written, payload_crc=zlib.crc32(stored))
        with pytest.raises(JournalError, match="does not hold"):
            block.payload_of(forged, bytes(stored), codec)


def test_a_plain_journal_is_what_it_was(tmp_path: Path) -> None:
    """Without a key no block has the flag, and the header's place for the mark is zeros."""
    fill(tmp_path / "journal", PLAIN, 100)
    for name, offset, header in heads(tmp_path / "journal"):
        assert header.flags & block.ENCRYPTED == 0
        assert files(tmp_path / "journal")[name][offset + 140 : offset + 156] == bytes(16)


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, named: Named, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key without `cryptography` is a fault with the command to type; a journal without a key needs neither."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match=r"gateway\.toml:7: .*edge-gateway\[encryption\]"):
        fill(tmp_path / "journal", sealed(named("a")), 1)
    fill(tmp_path / "journal", PLAIN, 1)
