"""devices.toml of a running gateway: read again when it changes, and live everywhere between two messages.

As with rule files, what has a fault is said with file and line and changes nothing: the last good file counts. A look
at what the file system says of it is taken every `LOOK_S`; two looks that see the same file find it quiet. Who edits it
by a verb says so beforehand (`expect`) and needs not wait (`settled`).

What changed is an event about each device, with who did it: `device_adopted`, `device_renamed`, `device_inverted`,
`device_changed` (room, kind, labels ...), `device_forgotten`.

Bounds: `EVENTS_MAX` events of one change, then `devices_changed` with the number of the others.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.actors import by_file
from gateway.clock import rfc3339
from gateway.codes.config import DEVICES_FAULT
from gateway.codes.disk import NOT_IN_THE_JOURNAL
from gateway.config.acting import acting
from gateway.config.crosscheck import CrossCheck, unknown_profiles
from gateway.errors import ConfigError, DiskRefused, Fault, JournalError
from gateway.event import Event
from gateway.installation.fit import advice, fit_of
from gateway.installation.unknown import Unknown
from gateway.logs.about import about
from gateway.profiles.devices import Device, Devices
from gateway.rules.protocol import DeviceEntry, Inventory

if TYPE_CHECKING:
    from gateway.daemon import Daemon

log = logging.getLogger(__name__)

LOOK_S = 0.25
EVENTS_MAX = 1000  # of one change
EXPECTED_MAX = 20  # texts that somebody is known to be about to save
FITS_MAX = 25  # devices for which a profile is looked for in one answer
NAMED_MAX = 5  # devices that the log names
NEW = Device(id="new/new:new")  # what is so with a device that nobody has decided anything about

Signature = tuple[int, int, int]


class Installation:
    """The installed devices of a running gateway. Belongs to the event loop's thread."""

    def __init__(self, daemon: Daemon) -> None:
        """Begin with what the config read; `daemon` may still be in the making."""
        self._daemon = daemon
        self.file: Path = daemon.config.gateway.devices
        self.devices: Devices = daemon.config.devices
        self.since = ""  # when the file took effect that counts; empty: at the start
        self.faults: list[str] = []  # why the file on the disk is not what counts
        self.unknown = Unknown()
        self._seen = self._judged = _signature(self.file)
        self._hash = _hash(self.file)  # of the last text that was judged
        self._expected: dict[str, str] = {}  # hash of a text -> who is about to save it

    # ---- what others ask ----------------------------------------------------------------------------

    def entries(self) -> list[DeviceEntry]:
        """Return the installed devices, and those that were only heard so far, as rules get them."""
        heard = [DeviceEntry(device) for device in self._daemon.values if self.devices.get(device) is None]
        return [*map(_entry, self.devices), *heard]

    def expect(self, text_hash: str, actor: str = "person") -> bool:
        """Take note of who is about to save a text."""
        while len(self._expected) >= EXPECTED_MAX:
            del self._expected[next(iter(self._expected))]
        self._expected[text_hash] = actor
        return True

    def settled(self) -> dict[str, Any]:
        """Look now. Returns the hash of the text on the disk, since when it counts, and why it does not."""
        self._judged = None
        self.look(quiet=True)
        return {"hash": self._hash, "since": self.since or self._daemon.started, "faults": self.faults}

    async def strangers(self) -> list[Mapping[str, Any]]:
        """Return the devices that no profile reads, with the profile that may fit."""
        found, catalogue = list(self.unknown.strangers()), self._daemon.catalogue
        fits = await asyncio.to_thread(lambda: [fit_of(each, catalogue) for each in found[:FITS_MAX]])
        fits += [None] * (len(found) - len(fits))
        return [advice(each, fit) for each, fit in zip(found, fits, strict=True)]

    # ---- the watch ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch the file until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def become(self, file: Path) -> None:
        """Go by this file from now on, and look at it if it is another one than it was."""
        if file != self.file:
            self.file, self._judged, self._hash = file, None, ""
        self.look(quiet=True)

    def look(self, *, quiet: bool = False) -> None:
        """Read the file if it is another one, and nobody writes to it (or `quiet`: somebody knows that nobody does)."""
        now = _signature(self.file)
        quiet, self._seen = quiet or now == self._seen, now
        if now == self._judged or not quiet:
            return
        self._judged = now
        text_hash = _hash(self.file)
        if text_hash == self._hash and not self.faults:
            return
        self._hash = text_hash
        actor = self._expected.pop(text_hash, "") or by_file(self.file)
        try:
            self._take(self._read(), actor)
        except ConfigError as error:
            self.faults = [str(fault) for fault in error.faults]
            for fault in self.faults:
                log.error("%s; the devices as they were still count", fault, extra=about(DEVICES_FAULT))

    def _read(self) -> Devices:
        """Read the file and see what routes make of it. Raises ConfigError."""
        if not self.file.exists() and len(self.devices):
            raise ConfigError([Fault(self.file, None, "it is gone")])
        found = Devices.load(self.file)
        config = dataclasses.replace(self._daemon.config, devices=found)
        faults = [*CrossCheck(config).words_of_routes(), *unknown_profiles(config, self._daemon.catalogue)]
        if faults:  # the gateway would not start with it
            raise ConfigError(faults)
        return found

    def _take(self, found: Devices, actor: str) -> None:
        """Let another installation count, and say what is new."""
        before = {device.id: device for device in self.devices}
        self.faults = []
        news = list(_news(before, {device.id: device for device in found}))
        if not news and found.kinds == self.devices.kinds:
            return
        self.devices.become(found)
        self.since = rfc3339(self._daemon.clock.wall_ns())
        self._spread(before)
        self._record(news, actor)
        named = ", ".join(f"{device} {kind.partition('_')[2]}" for kind, device, _ in news[:NAMED_MAX])
        more = f" and {len(news) - NAMED_MAX} more" if len(news) > NAMED_MAX else ""
        log.info("%s took effect: %d devices; by %s: %s%s", self.file.name, len(found), actor, named or "kinds", more)

    def _spread(self, before: dict[str, Device]) -> None:
        """Tell every stage."""
        daemon = self._daemon
        for decoder in daemon.decoders.values():
            decoder.installed(self.devices)
        daemon.gates.forget()
        routes = CrossCheck(daemon.config).routes()
        for forwarder in daemon.forwarders:
            forwarder.selection.installed(routes[forwarder.name].devices)
        said = acting(daemon.config)
        daemon.commands.observe_devices(said.observed_devices)
        removed = [DeviceEntry(device) for device in before if self.devices.get(device) is None]
        daemon.rules.installed(Inventory([*self.entries(), *removed], said))

    # ---- what is kept of it --------------------------------------------------------------------------

    async def forget(self, device: str, actor: str = "person") -> bool:
        """Forget the last values of a device, and what was recorded about commands to it, on the disk, too.

        Returns whether there were any.
        """
        daemon = self._daemon
        known = device in daemon.values
        daemon.pipeline.values.forget(device)
        for decoder in daemon.decoders.values():
            decoder.installed(self.devices)  # bindings remember that the device is known
        daemon.pipeline.keep("observed", device, None)
        installed = self.devices.get(device)
        entry = _entry(installed) if installed else DeviceEntry(device)
        daemon.rules.installed(Inventory([entry], gone=(device,)))
        self._record([("device_data_forgotten", device, {})], actor)
        await daemon.committer.flush()
        return known

    def _record(self, news: Sequence[tuple[str, str, dict[str, Any]]], actor: str) -> None:
        daemon, now = self._daemon, rfc3339(self._daemon.clock.wall_ns())
        rest = len(news) - EVENTS_MAX
        told = list(news) if rest <= 0 else [*news[:EVENTS_MAX], ("devices_changed", "", {"more": rest})]
        events = [
            Event(source=f"/{daemon.name}/installation", type=kind, subject=device, time=now, actor=actor, data=data)
            for kind, device, data in told
        ]
        try:
            if events:
                daemon.pipeline.record_all(events)
        except (JournalError, DiskRefused) as error:
            said = about(NOT_IN_THE_JOURNAL)
            log.error("%s: what changed is in effect, and not in the journal: %s", self.file.name, error, extra=said)


def _entry(device: Device) -> DeviceEntry:
    return DeviceEntry(device.id, device.name or device.id, device.room, device.kind or "", tuple(device.labels))


def _news(before: dict[str, Device], after: dict[str, Device]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (event type, device, data) for each device that is another now."""
    for device_id, device in after.items():
        was = before.get(device_id)
        if was is None:
            yield "device_adopted", device_id, _different(NEW, device)
        elif was != device:
            different, previous = _different(was, device), _different(device, was)
            for key, kind in (("name", "device_renamed"), ("invert", "device_inverted")):
                if key in different:
                    yield kind, device_id, {key: different.pop(key), "previous": previous.pop(key)}
            if different:
                yield "device_changed", device_id, {**different, "previous": previous}
    for device_id, was in before.items():
        if device_id not in after:
            yield "device_forgotten", device_id, _different(NEW, was)


def _different(was: Device, device: Device) -> dict[str, Any]:
    """Return the fields in which a device differs from what it was, but the id."""
    now, then = msgspec.to_builtins(device), msgspec.to_builtins(was)
    return {key: value for key, value in now.items() if key != "id" and then[key] != value}


def _signature(file: Path) -> Signature | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def text_hash_of(text: bytes) -> str:
    """Return what tells a text from others."""
    return hashlib.sha256(text).hexdigest()


def _hash(file: Path) -> str:
    try:
        return text_hash_of(file.read_bytes())
    except OSError:
        return ""
