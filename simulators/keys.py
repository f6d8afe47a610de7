"""Keys of simulated journals: one seed in four is encrypted, with one of two keys, or not, as each start has it."""

from __future__ import annotations

import hashlib
import os
import random

import msgspec

from gateway.journal.options import JournalOptions
from gateway.secrets import Secret

SHARE = 4
_NAMES = ("EDGE_GATEWAY_SIMULATED_KEY_1", "EDGE_GATEWAY_SIMULATED_KEY_2")
for _name in _NAMES:
    os.environ.setdefault(_name, hashlib.sha256(_name.encode()).hexdigest())
SECRETS = tuple(Secret("env", name) for name in _NAMES)


def keyed(options: JournalOptions, seed: int, chance: random.Random) -> JournalOptions:
    """Return options as a start of the run of this seed has them; all that was written before can be read."""
    if seed % SHARE != SHARE - 1:
        return options
    key = chance.choice((*SECRETS, *SECRETS, None))
    return msgspec.structs.replace(options, key=key, old_keys=SECRETS)
