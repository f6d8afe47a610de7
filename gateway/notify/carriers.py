"""The ways to people: a webhook, apprise, an MQTT topic, the log. What an address says decides which."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from gateway.clock import Clock
from gateway.codes.service import GATEWAY_FAULT
from gateway.errors import ConfigError, ProtocolError, TargetDown
from gateway.logs.about import about
from gateway.notify.courier import Courier
from gateway.notify.options import CarrierName, Directory, RecipientOptions
from gateway.notify.outbox import Notice
from gateway.notify.webhook import Leaving, message, post, without_secrets
from gateway.targets.target import DELIVERED, Outcome, Verdict

log = logging.getLogger(__name__)

Publish = Callable[[str, str, bytes], bool]
"""Publishes through a source ("": the first): source, topic, payload; False when it is not connected."""


class Carriers:
    """Sends one message to one recipient, whatever it takes."""

    def __init__(self, directory: Directory, clock: Clock, publish: Publish, *, gateway: str) -> None:
        self._directory = directory
        self._clock = clock
        self._publish = publish
        self._gateway = gateway
        self._courier = Courier()

    async def send(self, notice: Notice, leaving: Leaving) -> Outcome:
        """Send; raises nothing. `leaving` is awaited before the first byte. A reason has no secret in it."""
        options = self._directory.recipients[notice.to]
        try:
            return await self._send(notice, options, leaving)
        except TimeoutError:
            return Outcome(Verdict.RETRY, f"took longer than {options.timeout_s:g} s")
        except ConfigError as error:  # a secret that can't be read
            return Outcome(Verdict.STOP, error.faults[0].what)
        except Exception as error:  # a bug: it costs one try, not all notifications for ever
            log.exception(
                "notification %s to %s: a fault of the gateway", notice.id, notice.to, extra=about(GATEWAY_FAULT)
            )
            return Outcome(Verdict.RETRY, f"a fault of the gateway: {type(error).__name__}")

    async def _send(self, notice: Notice, options: RecipientOptions, leaving: Leaving) -> Outcome:
        if options.carrier in ("log", "mqtt"):
            await leaving()
        if options.carrier == "log":
            log.info("to %s: %s", notice.to, notice.text)
            return DELIVERED
        if options.carrier == "mqtt":
            payload = msgspec.json.encode(message(notice, self._gateway))
            taken = self._publish(options.source, options.topic, payload)
            return DELIVERED if taken else Outcome(Verdict.DOWN, "the broker is not connected")
        assert options.url is not None
        url = options.url()
        try:
            if (options.carrier or carrier_of(url)) == "webhook":
                outcome = await post(url, notice, options, self._gateway, self._clock, leaving)
            else:
                await leaving()
                outcome = await self._courier.send(url, notice, notice.title or self._gateway, options.timeout_s)
        except (TargetDown, ProtocolError) as error:
            outcome = Outcome(Verdict.DOWN if isinstance(error, TargetDown) else Verdict.RETRY, str(error))
        return msgspec.structs.replace(outcome, reason=without_secrets(outcome.reason, url))


def carrier_of(url: str) -> CarrierName:
    """Return what an address is for."""
    return "webhook" if url.lower().startswith(("http://", "https://")) else "apprise"
