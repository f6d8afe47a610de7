"""Encryption of blocks: AES-256-GCM, after compression, with the block's header as associated data.

    master key   32 bytes, as 64 hex digits or base64, where a Secret says (``openssl rand -hex 32``)
    block key    HKDF-SHA256(master, salt = log id, epoch, epoch salt; info = "edge-gateway journal block")
    key id       first 8 bytes of HKDF-SHA256(master, salt = log id; info = "edge-gateway journal key")
    mark         16 bytes in a block's header: key id, epoch salt (8 random bytes of each start)
    stored       nonce (12 random bytes), ciphertext as long as the payload, tag (16)

The associated data is the header from its flags on, with the payload's CRC as zero and without its own: a block cannot
be moved to another place, life, epoch or log. Checkpoints and survivors are blocks like all others, and what is set
aside of damaged ones is copied as it is stored.

What stays legible: headers (how many events of which lane, when), the hint in the lock, the history index (which types
and devices in which stretch, no payload). It protects what a lost card holds; who may write to the disk can put older
blocks back, and blocks without encryption are read.

A segment is written with one key. A start with another key begins a segment; `old_keys` read what the former ones
wrote, until the ring has used their segments again. Nothing is ever taken for damage because its key is not there: who
meets such a block stops (WrongKey), and a start has changed nothing by then.

`cryptography` is imported when a key is configured. Without one nothing here costs anything.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import ConfigError, Fault, JournalError

if TYPE_CHECKING:
    from gateway.journal.options import JournalOptions
    from gateway.secrets import Secret

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
SALT_BYTES: Final = 8
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SEAL_BYTES: Final = NONCE_BYTES + TAG_BYTES  # what a sealed payload is longer
BLOCK_KEYS_MAX: Final = 64  # derived keys kept in memory: one an epoch
MAKE_ONE: Final = "64 hex digits, as from: openssl rand -hex 32"
_BLOCK, _KEY = b"edge-gateway journal block", b"edge-gateway journal key"


class WrongKey(ConfigError):
    """The journal is encrypted, and the key is another one or none. Nothing was changed."""


class Keys:
    """The keys of one journal. What is derived is kept; any thread may use it."""

    def __init__(
        self, masters: Iterable[tuple[Secret, bytes]] = (), *, writes: bool = False, random: Callable[[int], bytes]
    ) -> None:
        """`masters`: all that may read; with `writes` the first one seals what is written."""
        self._masters = list(masters)
        self.writes = writes
        self._random = random
        self._salt = random(SALT_BYTES) if writes else b""
        self._ids: dict[bytes, dict[bytes, bytes]] = {}  # log id -> key id -> master key
        self._block_keys: dict[tuple[bytes, int, bytes], Any] = {}

    def mark(self, log_id: bytes) -> bytes:
        """Return the mark of blocks that are written now; no bytes: they are not encrypted."""
        return next(iter(self._of(log_id))) + self._salt if self.writes else b""

    def same(self, log_id: bytes, mark: bytes) -> bool:
        """Return whether blocks with this mark are sealed with the key that seals now, or neither are."""
        return mark[:KEY_ID_BYTES] == self.mark(log_id)[:KEY_ID_BYTES]

    def seal(self, log_id: bytes, epoch: int, mark: bytes, payload: bytes, associated: bytes) -> bytes:
        """Encrypt a payload: SEAL_BYTES longer."""
        nonce = self._random(NONCE_BYTES)
        sealed: bytes = self._block_key(log_id, epoch, mark).encrypt(nonce, payload, associated)
        return nonce + sealed

    def open(self, log_id: bytes, epoch: int, mark: bytes, stored: bytes, associated: bytes) -> bytes:
        """Decrypt a stored payload. Raises WrongKey, JournalError when it is not what was sealed under this header."""
        from cryptography.exceptions import InvalidTag

        key = self._block_key(log_id, epoch, mark)
        try:
            payload: bytes = key.decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], associated)
        except (InvalidTag, ValueError) as error:
            raise JournalError("an encrypted payload does not hold") from error
        return payload

    def check(self, log_id: bytes, mark: bytes) -> None:
        """Raise WrongKey when blocks with this mark cannot be read."""
        if mark and mark[:KEY_ID_BYTES] not in self._of(log_id):
            wanted = mark[:KEY_ID_BYTES].hex()
            if not self._masters:
                what = f"the journal is encrypted (key {wanted}), and no key is named"
                raise WrongKey([Fault("[journal]", None, what, 'write key = { file = "…" } under [journal]')])
            have = ", ".join(key_id.hex() for key_id in self._of(log_id))
            what = f"the journal is encrypted with key {wanted}; this is {have}. Nothing was changed"
            hint = "is it the right file? A key that was in use before belongs in [journal] old_keys"
            raise WrongKey([self._masters[0][0].fault(what, hint)])

    def _of(self, log_id: bytes) -> dict[bytes, bytes]:
        found = self._ids.get(log_id)
        if found is None:
            found = {_derived(master, log_id, _KEY, KEY_ID_BYTES): master for _, master in self._masters}
            self._ids[log_id] = found
        return found

    def _block_key(self, log_id: bytes, epoch: int, mark: bytes) -> Any:
        key = self._block_keys.get((log_id, epoch, mark))
        if key is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self.check(log_id, mark)
            master = self._of(log_id)[mark[:KEY_ID_BYTES]]
            salt = log_id + epoch.to_bytes(4, "little") + mark[KEY_ID_BYTES:]
            key = AESGCM(_derived(master, salt, _BLOCK, KEY_BYTES))
            if len(self._block_keys) >= BLOCK_KEYS_MAX:
                self._block_keys.clear()
            self._block_keys[log_id, epoch, mark] = key
        return key


NO_KEYS: Final = Keys(random=os.urandom)


def keys_of(options: JournalOptions, random: Callable[[int], bytes] = os.urandom) -> Keys:
    """Read the keys that [journal] names. Raises ConfigError when one cannot be read or is none."""
    named = [*([options.key] if options.key is not None else []), *options.old_keys]
    if not named:
        return NO_KEYS
    try:
        import cryptography  # noqa: F401 - whether it is there is told here, not in the middle of a block
    except ImportError:
        hint = "pip install 'edge-gateway[encryption]', or apt install python3-cryptography"
        raise ConfigError([named[0].fault("encryption needs the package `cryptography`", hint)]) from None
    masters = [(secret, _master(secret)) for secret in named]
    return Keys(masters, writes=options.key is not None, random=random)


def _master(secret: Secret) -> bytes:
    text = secret()
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text)
        except ValueError:
            continue
        if len(key) == KEY_BYTES:
            return key
    raise ConfigError([secret.fault(f"what is in {secret.where} is no key", MAKE_ONE)])


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _derived(master: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(master)
