"""Looks around once: brokers and what speaks on them, serial ports, neighbours. Sends nothing but subscriptions.

A broker is listened to for some seconds; what it keeps (retained messages) comes at once. Zigbee2MQTT and Frigate are
known by what they keep, whatever their base topic; what profiles read is decoded as a gateway would, what they do not
read is tried with other prefixes (fit.py).

Bounds: `TOPICS_MAX` topics and `BYTES_MAX` bytes of a broker, `NEIGHBOURS_MAX` machines, each for `KNOCK_S`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.clock import SystemClock
from gateway.importers.imports import Imports, names
from gateway.installation.fit import advice, fit_of
from gateway.installation.unknown import Stranger, Unknown
from gateway.mqtt.options import ConnectionOptions
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.profiles.report import NOTES
from gateway.sources.mqtt import MqttSource, MqttSourceOptions
from gateway.sources.ports import Found
from gateway.sources.source import Delivery

TOPICS_MAX = 50_000
BYTES_MAX = 32 * 1024 * 1024
CONNECT_S_MAX = 15.0
LISTEN_S = 3.0
PREFIX_VOTES_MIN = 2  # strangers that a prefix must explain before it is believed
STRANGERS_TRIED_MAX = 40  # with other prefixes
STRANGERS_SHOWN_MAX = 25
NEIGHBOURS_MAX = 254
KNOCK_S = 3.0
MQTT_PORT = 1883
COPIED = ("username", "username_from", "password", "tls", "version", "proxy")  # of how a broker is reached
ON_A_BROKER = "mosquitto_sub -v -t"  # shows what a running gateway does not ask for
ARP = Path("/proc/net/arp")  # neighbours this machine has spoken with lately
_ID = re.compile(r"[a-z0-9]+")


class Known(NamedTuple):
    """What a person has decided already about what is on a broker."""

    devices: Devices
    prefixes: Mapping[str, str]  # first words of topics that are others here


NOTHING = Known(Devices(), {})


class Bridge(msgspec.Struct, frozen=True):
    """Software on a broker that many devices are behind."""

    kind: str  # zigbee2mqtt, frigate
    prefix: str
    version: str = ""
    devices: int = 0


class Broker(msgspec.Struct, frozen=True):
    """What one broker has."""

    url: str
    error: str = ""  # why it could not be listened to
    topics: int = 0
    bridges: Sequence[Bridge] = ()
    prefixes: Mapping[str, str] = {}  # that are others than usual
    devices: Mapping[str, str] = {}  # id -> the profile that reads it
    called: Mapping[str, str] = {}  # id -> what it is called in its dialect, where the id does not say it
    strangers: int = 0  # devices that no profile reads
    unknown: Sequence[Mapping[str, Any]] = ()  # the first `STRANGERS_SHOWN_MAX` of them, with the profile that may fit

    @property
    def refused(self) -> bool:
        """Whether it wants to know who we are."""
        return any(word in self.error.lower() for word in ("not authorized", "credentials", "user name", "refused: "))


class SerialPort(msgspec.Struct, frozen=True):
    """A serial port, and the profile that probably reads it."""

    identity: str
    path: str
    title: str
    profile: str = ""


@contextmanager
def quietly() -> Iterator[None]:
    """Say nothing in the log meanwhile: what is wrong is in what is returned."""
    logger = logging.getLogger("gateway")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


# ---- brokers -------------------------------------------------------------------------------------------------------


async def listen_to(
    connection: ConnectionOptions, catalogue: Catalogue, source: str, seconds: float, known: Known = NOTHING
) -> Broker:
    """Listen to a broker for some seconds and say what is on it; ids of devices begin with the source's name."""
    said = {name: getattr(connection, name) for name in COPIED}
    options = MqttSourceOptions(
        url=connection.url, filters=("#",), qos=0, clean_start=True, session_expiry_s=0,
        client_id=f"edge-gateway-setup-{secrets.token_hex(4)}", connect_timeout_s=CONNECT_S_MAX, **said,
    )  # fmt: skip
    heard: dict[str, Delivery] = {}
    room = BYTES_MAX

    def take(deliveries: Sequence[Delivery]) -> None:
        nonlocal room
        for delivery in deliveries:
            if len(heard) < TOPICS_MAX and room > len(delivery.payload):
                room -= len(delivery.payload)
                heard[delivery.topic] = delivery

    listening = MqttSource(source, options, (), SystemClock())
    with quietly():
        running = asyncio.create_task(listening.run(take))
        try:
            error = await _connected(listening, running)
            if not error:
                await asyncio.sleep(seconds)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    if error:
        return Broker(str(connection.address), error)
    return await asyncio.to_thread(described, str(connection.address), heard, catalogue, source, known)


async def _connected(source: MqttSource, running: asyncio.Task[None]) -> str:
    """Wait for the connection; return why there is none."""
    ready = asyncio.create_task(source.ready())
    end = asyncio.get_running_loop().time() + CONNECT_S_MAX
    try:
        while not ready.done() and not running.done() and asyncio.get_running_loop().time() < end:
            await asyncio.wait({ready, running}, timeout=0.05)
            error = source.status().get("last_error")
            if error and not ready.done():
                return str(error)
    finally:
        ready.cancel()
    return "" if ready.done() and not ready.cancelled() else "no answer"


def described(
    url: str, heard: Mapping[str, Delivery], catalogue: Catalogue, source: str, known: Known = NOTHING
) -> Broker:
    """Say what the last messages of a broker's topics are about."""
    bridges = tuple(_bridges(heard))
    prefixes = {each.kind: each.prefix for each in bridges if each.prefix != each.kind}
    prefixes = {usual: prefix for usual, prefix in prefixes.items() if usual in catalogue.prefixes}
    prefixes.update(known.prefixes)
    values, unknown = _decoded(heard, catalogue, source, prefixes, known.devices)
    strangers = list(unknown.strangers())
    usual = {*(topic.partition("/")[0] for topic in heard), *(each.kind for each in bridges)}
    if found := _prefixes(strangers[:STRANGERS_TRIED_MAX], catalogue, usual):
        prefixes |= found
        values, unknown = _decoded(heard, catalogue, source, prefixes, known.devices)
        strangers = list(unknown.strangers())
    devices = {
        device: str(known[NOTES]["profile"])
        for device, known in sorted(values.items())
        if known.get(NOTES, {}).get("profile") and known[NOTES].get("class") != "gateway"
    }
    called = {device: name for device in devices if (name := values[device][NOTES].get("name"))}
    spoken = Catalogue([catalogue.profiles[name] for name in catalogue.of_kind("mqtt")])
    told = [advice(each, fit_of(each, spoken), ON_A_BROKER) for each in strangers[:STRANGERS_SHOWN_MAX]]
    return Broker(url, "", len(heard), bridges, prefixes, devices, called, len(unknown), told)


def _bridges(heard: Mapping[str, Delivery]) -> Iterator[Bridge]:
    """Find Zigbee2MQTT by its `bridge/info` or `bridge/state`, Frigate by `available` beside `stats` or `events`."""
    for topic, delivery in sorted(heard.items()):
        base, _, rest = topic.partition("/bridge/")
        if rest == "info" or (rest == "state" and f"{base}/bridge/info" not in heard):
            info = _json(delivery.payload)
            devices = _json(heard[f"{base}/bridge/devices"].payload) if f"{base}/bridge/devices" in heard else []
            known = [each for each in devices or () if isinstance(each, dict) and each.get("type") != "Coordinator"]
            yield Bridge(
                "zigbee2mqtt", base, str(info.get("version", "")) if isinstance(info, dict) else "", len(known)
            )
        base, _, rest = topic.rpartition("/")
        if rest == "available" and delivery.payload in (b"online", b"offline", b"stopped"):
            stats = _json(heard[f"{base}/stats"].payload) if f"{base}/stats" in heard else None
            if isinstance(stats, dict) and "cameras" in stats:
                version = str(stats.get("service", {}).get("version", ""))
                yield Bridge("frigate", base, version, len(stats["cameras"]))
            elif base == "frigate":
                yield Bridge("frigate", base)


def _decoded(
    heard: Mapping[str, Delivery], catalogue: Catalogue, source: str, prefixes: Mapping[str, str], devices: Devices
) -> tuple[dict[str, dict[str, Any]], Unknown]:
    """Decode as a gateway would: first what devices say about themselves, then what they send."""
    values: dict[str, dict[str, Any]] = {}
    imports, unknown = Imports(names(None), prefixes), Unknown()
    decoder = Decoder(catalogue, "", source, devices, values, prefixes, None, imports)
    announcements = [each for topic, each in heard.items() if imports.wants(topic)]
    for delivery in (*announcements, *heard.values()):
        decoded = decoder.decode(delivery)
        if decoded.unclaimed:
            unknown.note(delivery, decoded)
    return values, unknown


def _prefixes(strangers: Sequence[Stranger], catalogue: Catalogue, usual: Collection[str]) -> dict[str, str]:
    """Find the prefix that explains most strangers, by its usual word; not in place of a word that is in use."""
    votes: Counter[tuple[str, str]] = Counter()
    for stranger in strangers:
        fit = fit_of(stranger, catalogue)
        if fit is not None and fit.how == "prefix" and fit.prefix[0] not in usual:
            votes[fit.prefix] += 1
    found: dict[str, str] = {}
    for (word, prefix), count in votes.most_common():
        if count >= PREFIX_VOTES_MIN and word != "zigbee2mqtt":  # that one says where it is, and anything is like it
            found.setdefault(word, prefix)
    return found


def _json(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return {}


# ---- the neighbourhood ---------------------------------------------------------------------------------------------


async def neighbours(port: int = MQTT_PORT, arp: Path = ARP) -> list[str]:
    """Return the addresses of machines this one knows, and that answer on a port."""
    with suppress(OSError):
        lines = (await asyncio.to_thread(arp.read_text)).splitlines()[1:]
        hosts = [words[0] for line in lines if len(words := line.split()) > 2 and words[2] != "0x0"][:NEIGHBOURS_MAX]
        answers = await asyncio.gather(*(_knock(host, port) for host in hosts))
        return [host for host, answered in zip(hosts, answers, strict=True) if answered]
    return []


async def _knock(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(KNOCK_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


# ---- serial ports --------------------------------------------------------------------------------------------------


def serial_ports(ports: Sequence[Found], catalogue: Catalogue) -> list[SerialPort]:
    """Return the ports, with the one profile whose words are in what the device calls itself."""
    return [SerialPort(port.identity, str(port.path), port.title, _profile_of(port.title, catalogue)) for port in ports]


def _profile_of(title: str, catalogue: Catalogue) -> str:
    words = set(_ID.findall(title.lower()))
    found = {
        compiled.source.id
        for compiled in catalogue.profiles.values()
        if compiled.source.link.kind == "serial" and any(word.lower() in words for word in compiled.source.link.ports)
    }
    return found.pop() if len(found) == 1 else ""
