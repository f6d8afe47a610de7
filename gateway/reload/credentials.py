"""What sources, targets and services are let in with: whether it has changed behind the same words, and can be used.

A secret or a certificate that is replaced in its file leaves the config as it was. Contents are compared by keyed
hashes; nothing of them is kept or shown.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.config.load import Config
from gateway.errors import ConfigError, Fault
from gateway.mqtt.options import TlsOptions
from gateway.mqtt.tls import tls_context
from gateway.secrets import Secret, named_in
from gateway.sources.exposure import server_tls

SECTIONS: Final = ("sources", "targets", "http", "notify")
CONTENT_BYTES_MAX: Final = 1024 * 1024  # of a file that is looked at
_KEY: Final = os.urandom(32)  # of this process: hashes mean nothing to any other

Prints = Mapping[str, bytes]
"""By part (``sources.house``): the hash of the contents of what it names; parts that name nothing are left out."""


def prints(config: Config) -> dict[str, bytes]:
    """Look at the contents of all secrets and certificates. BLOCKING."""
    found: dict[str, bytes] = {}
    for section in SECTIONS:
        for name, options in _parts(config, section).items():
            named = list(named_in(options))
            if named:
                whole = hashlib.blake2b(key=_KEY, digest_size=32)
                for each in named:
                    whole.update(_content(each))
                found[f"{section}.{name}"] = whole.digest()
    return found


def touched(before: Prints, after: Prints) -> set[str]:
    """Return the parts that were there and name the same files with other contents, or others."""
    return {part for part in before.keys() & after.keys() if before[part] != after[part]}


def unusable(config: Config, parts: Collection[str]) -> Iterator[Fault]:
    """Find what these parts could not be started with: secrets and certificates that can't be read, or do not fit.

    BLOCKING.
    """
    for part in sorted(parts):
        section, _, name = part.partition(".")
        options = _parts(config, section).get(name)
        for each in named_in(options):
            if isinstance(each, Secret):
                try:
                    each()
                except ConfigError as error:
                    yield from error.faults
        try:
            _try_tls(options)
        except (ValueError, ssl.SSLError) as error:
            yield config.document.fault((section, name, "tls"), f"TLS of {section[:-1]} {name}: {error}")
        except ConfigError as error:
            yield from (config.document.fault((section, name, "certificate"), fault.what) for fault in error.faults)


def _parts(config: Config, section: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = config.notify.recipients if section == "notify" else getattr(config, section)
    return found


def _try_tls(options: Any) -> None:
    tls = getattr(options, "tls", None)
    if isinstance(tls, TlsOptions) and tls != TlsOptions():
        tls_context(tls)
    elif hasattr(options, "certificate"):
        server_tls(options.certificate, options.key, options.client_ca)


def _content(named: Secret | Path) -> bytes:
    """Return a hash of a content; of one that cannot be read always the same."""
    try:
        if isinstance(named, Secret):
            content = named().encode()
        else:
            with named.open("rb") as stream:
                content = stream.read(CONTENT_BYTES_MAX)
    except (ConfigError, OSError):
        return b"unreadable"
    return hashlib.blake2b(content, key=_KEY, digest_size=32).digest()
