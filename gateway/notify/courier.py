"""apprise, in a thread: more than a hundred services by address, for recipients that need more than a POST.

It is imported when it is first used (20 MB). A thread that takes longer than its time is left alone and asked again
later: what it brings to an end after all is not sent a second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import threading
from typing import Any

from gateway.notify.outbox import Notice
from gateway.notify.webhook import without_secrets
from gateway.targets.target import DELIVERED, Outcome, Verdict

MODULE, EXTRA = "apprise", "notify"
REASON_CHARS_MAX = 300
MISSING = f"{MODULE} is not installed"
HOW_TO_INSTALL = f"pip install 'edge-gateway[{EXTRA}]'"


def installed() -> bool:
    """Return whether the extra is there, without importing it."""
    return importlib.util.find_spec(MODULE) is not None


class Courier:
    """At most one thread a recipient."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[str, asyncio.Future[str]]] = {}  # recipient -> id of the notice, its end

    async def send(self, url: str, notice: Notice, title: str, timeout_s: float) -> Outcome:
        """Send one message; raises TimeoutError when it takes too long."""
        if not installed():
            return Outcome(Verdict.STOP, f"{MISSING}: {HOW_TO_INSTALL}")
        running, end = self._running.get(notice.to, ("", None))
        if end is None:
            running, end = notice.id, self._start(url, notice, title)
            self._running[notice.to] = running, end
        async with asyncio.timeout(timeout_s):
            error = await asyncio.shield(end)
        del self._running[notice.to]
        if running != notice.id:  # that was the one before, which had taken too long
            return await self.send(url, notice, title, timeout_s)
        return Outcome(Verdict.RETRY, error) if error else DELIVERED

    def _start(self, url: str, notice: Notice, title: str) -> asyncio.Future[str]:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[str] = loop.create_future()

        def work() -> None:
            error = _notify(url, title, notice.text, urgent=notice.urgent)
            with contextlib.suppress(RuntimeError):  # the loop is closed: the gateway has ended meanwhile
                loop.call_soon_threadsafe(_settle, end, error)

        threading.Thread(target=work, name=f"notify {notice.to}", daemon=True).start()
        return end


def _settle(end: asyncio.Future[str], error: str) -> None:
    if not end.done():
        end.set_result(error)


def _notify(url: str, title: str, text: str, *, urgent: bool) -> str:
    """Send with apprise; returns why it could not, or nothing."""
    try:
        return _send(url, title, text, urgent=urgent)
    except Exception as error:  # noqa: BLE001 - a plugin's bug costs one try, and its text may have the address in it
        return f"apprise failed: {type(error).__name__}: {without_secrets(str(error), url)}"[:REASON_CHARS_MAX]


def _send(url: str, title: str, text: str, *, urgent: bool) -> str:
    apprise: Any = importlib.import_module(MODULE)
    logging.getLogger(MODULE).propagate = False  # it names what it sends to
    asset = apprise.AppriseAsset(
        app_id="edge-gateway",
        app_desc="edge-gateway",
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    sender = apprise.Apprise(asset=asset)
    if not sender.add(url):
        return "apprise does not know such an address"
    kind = apprise.NotifyType.WARNING if urgent else apprise.NotifyType.INFO
    with apprise.LogCapture(level=logging.WARNING) as said:
        if sender.notify(body=text, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT):
            return ""
        words = " ".join(str(said.getvalue()).split())
    return without_secrets(f"not sent: {words}" if words else "not sent", url)[:REASON_CHARS_MAX]
