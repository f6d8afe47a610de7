"""zstd for blocks: the standard library's where Python has it (3.14), else the `zstandard` wheel.

One `Codec` belongs to one thread: the writer has one, each reader has one. For whole files there are `compressing`
and `decompressing`: streams around a stream, which stays open. A damaged one raises a STREAM_ERRORS.
"""

from __future__ import annotations

import sys
from typing import IO, Any, cast

from gateway.errors import JournalError
from gateway.journal.cipher import NO_KEYS, Keys


class _Keyed:
    """What blocks need beside compression: the keys of who writes or reads them."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def decrypt(self, header: Any, stored: bytes, associated: bytes) -> bytes:
        """Return the payload of an encrypted block as it was before. Raises WrongKey, JournalError."""
        return self.keys.open(header.log_id, header.epoch, header.mark, stored, associated)


WINDOW_BYTES_MAX = 128 * 1024 * 1024  # zstd's own limit
LEVEL = 1  # level 3 costs 1.6x the time for 2-4 % fewer bytes on 250-byte events

if sys.version_info >= (3, 14):
    from compression import zstd

    class Codec(_Keyed):
        """Deflate and inflate byte strings."""

        def __init__(self, level: int = LEVEL, keys: Keys = NO_KEYS) -> None:
            super().__init__(keys)
            self._level = level

        def deflate(self, data: bytes) -> bytes:
            """Compress `data` into one zstd frame."""
            return zstd.compress(data, level=self._level)

        def inflate(self, data: bytes, size: int) -> bytes:
            """Return exactly `size` bytes, or raise JournalError; never allocates more than that."""
            try:
                plain = zstd.ZstdDecompressor().decompress(data, max_length=size)
            except zstd.ZstdError as error:
                raise JournalError(f"a block's payload is no zstd frame: {error}") from error
            if len(plain) != size:
                raise JournalError(f"a block's payload inflates to {len(plain)} bytes, its header says {size}")
            return plain

    STREAM_ERRORS: tuple[type[Exception], ...] = (zstd.ZstdError, EOFError)
    _OPTIONS: dict[Any, Any] = {
        zstd.CompressionParameter.compression_level: LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }

    def compressing(raw: IO[bytes]) -> IO[bytes]:
        """Return a stream that compresses into `raw`, with a checksum; close it to finish."""
        return cast("IO[bytes]", zstd.ZstdFile(raw, "wb", options=_OPTIONS))

    def decompressing(raw: IO[bytes], window_bytes_max: int = WINDOW_BYTES_MAX) -> IO[bytes]:
        """Return a stream of what is compressed in `raw`; a window is a power of two, and memory."""
        options: dict[Any, Any] = {zstd.DecompressionParameter.window_log_max: window_bytes_max.bit_length() - 1}
        return cast("IO[bytes]", zstd.ZstdFile(raw, "rb", options=options))

else:
    import zstandard

    STREAM_ERRORS: tuple[type[Exception], ...] = (zstandard.ZstdError, EOFError)

    def compressing(raw: IO[bytes]) -> IO[bytes]:
        """Return a stream that compresses into `raw`, with a checksum; close it to finish."""
        return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).stream_writer(raw, closefd=False)

    def decompressing(raw: IO[bytes], window_bytes_max: int = WINDOW_BYTES_MAX) -> IO[bytes]:
        """Return a stream of what is compressed in `raw`; a window is a power of two, and memory."""
        return zstandard.ZstdDecompressor(max_window_size=window_bytes_max).stream_reader(raw, closefd=False)

    class Codec(_Keyed):
        """Deflate and inflate byte strings."""

        def __init__(self, level: int = LEVEL, keys: Keys = NO_KEYS) -> None:
            super().__init__(keys)
            self._compressor = zstandard.ZstdCompressor(level=level, write_content_size=True)
            self._decompressor = zstandard.ZstdDecompressor()

        def deflate(self, data: bytes) -> bytes:
            """Compress `data` into one zstd frame."""
            return self._compressor.compress(data)

        def inflate(self, data: bytes, size: int) -> bytes:
            """Return exactly `size` bytes, or raise JournalError; never allocates more than that."""
            try:
                if zstandard.frame_content_size(data) not in {-1, size}:
                    raise JournalError("a block's payload and its header differ in length")
                plain = self._decompressor.decompress(data, max_output_size=size)
            except zstandard.ZstdError as error:
                raise JournalError(f"a block's payload is no zstd frame: {error}") from error
            if len(plain) != size:
                raise JournalError(f"a block's payload inflates to {len(plain)} bytes, its header says {size}")
            return plain
