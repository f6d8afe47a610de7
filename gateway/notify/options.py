"""[notify] in gateway.toml: who can be told, where they are reached, and when they want to sleep.

::

    [notify]
    family = ["anna", "ben"]                       # a group; "everyone" is one by itself
    [notify.anna]
    url = { credential = "anna" }                  # https://... (a POST), or an address of apprise (extra "notify")
    quiet = "22:00-07:00"
    [notify.kitchen]
    carrier = "mqtt"
    topic = "kitchen/display/text"

An address is a secret: it has the token in it. The file, the credential or the variable holds it, nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from gateway.mqtt.options import TlsOptions
from gateway.rules.language.hours import Hours
from gateway.rules.language.recipients import EVERYONE
from gateway.secrets import Secret
from gateway.topic import is_name

RECIPIENTS_MAX = 100
CarrierName = Literal["webhook", "apprise", "mqtt", "log"]


class RecipientOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recipient."""

    url: Secret | None = None  # where a message goes: https://... gets a POST, anything else is apprise's
    carrier: CarrierName | None = None  # default: webhook for http:// and https://, else apprise
    quiet: str = ""  # hours in which only what is urgent is sent, as "22:00-07:00"; the rest waits
    per_hour_max: int = 20  # what is urgent may come on top, once more as often
    bearer: Secret | None = None  # webhook: token, sent as Authorization: Bearer
    signature: Secret | None = None  # webhook: shared secret of Standard Webhooks headers
    tls: TlsOptions = TlsOptions()  # webhook, for https://
    source: str = ""  # mqtt: through which source's broker; default: the first
    topic: str = ""  # mqtt: where the message is published, as JSON
    timeout_s: float = 30.0  # for one try
    retry_first_s: float = 5.0  # full jitter, as everywhere
    retry_max_s: float = 600.0  # between two tries; they end with the message's time to live

    def __post_init__(self) -> None:
        needs_url = self.carrier in (None, "webhook", "apprise")
        if needs_url and self.url is None:
            raise ValueError('url is missing: write url = { file = "…" } or { credential = "…" }, or carrier = "log"')
        if self.carrier == "mqtt" and not is_name(self.topic):
            raise ValueError(f'carrier = "mqtt" needs a topic to publish to, not {self.topic!r}')
        if self.per_hour_max < 1:
            raise ValueError("per_hour_max must be over 0")
        if min(self.timeout_s, self.retry_first_s, self.retry_max_s) <= 0:
            raise ValueError("timeout_s, retry_first_s and retry_max_s must be over 0")
        if self.hours is not None and self.hours.needs_sun:
            raise ValueError(f'quiet = "{self.quiet}": quiet hours are by the clock, as "22:00-07:00"')

    @property
    def hours(self) -> Hours | None:
        """The quiet hours."""
        return Hours.read(self.quiet, None) if self.quiet else None


class Directory:
    """Everybody who can be told."""

    def __init__(
        self,
        recipients: Mapping[str, RecipientOptions] | None = None,
        groups: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.recipients = dict(recipients or {})
        self.groups = {EVERYONE: tuple(self.recipients), **(groups or {})}

    @property
    def names(self) -> list[str]:
        """All names of recipients and groups."""
        return sorted({*self.recipients, *self.groups})

    def members(self, name: str) -> tuple[str, ...] | None:
        """Return the recipients that a name stands for; None if nobody has it."""
        return (name,) if name in self.recipients else self.groups.get(name)
