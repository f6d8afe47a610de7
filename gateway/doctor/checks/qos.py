"""Devices that publish at QoS 0, by what they speak, with what to set there."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.codes.sources import SENDS_AT_QOS_0
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, note, ok
from gateway.doctor.scene import Scene
from gateway.quantity import counted

AREA = "devices"
NAMED_MAX = 4  # devices that a line names
NOTES, QOS = "$", "qos"  # in a device's last values: what goes with them, and the QoS it last sent at
ADVICE = {  # what people speak of -> what to write where; keys are the second part of a device's id
    "z2m": "in Zigbee2MQTT's configuration.yaml: device_options: {qos: 1}",
    "tasmota": "Tasmota sends at QoS 0 only: what matters goes over Zigbee2MQTT, or a rule asks again",
    "shelly": "Shelly (gen 1) : MQTT settings, Max QoS 1; gen 2 and later send at QoS 0 but for what RPC answers",
    "zwave": "Z-Wave JS UI: Settings, MQTT, QoS 1",
    "esphome": "in ESPHome's yaml, under mqtt and under each sensor: qos: 1",
    "frigate": "Frigate sends at QoS 0 only; its events come again by rule or over its web service",
    "homie": "a Homie device should send at QoS 1 by its convention: look for a newer firmware",
    "ha": "in the device's own settings: qos 1",
}
OTHER = "in the device's own settings for MQTT: QoS 1"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Devices of sources that speak MQTT, by QoS."""

    asked: bool = True  # there was somebody to ask
    by_dialect: dict[str, list[str]] = {}  # dialect -> ids of those that last sent at QoS 0
    acknowledged: int = 0  # that send at 1 or 2
    unknown: int = 0  # that have not sent since this is noted
    subscribed_at_0: tuple[str, ...] = ()  # sources that ask for QoS 0 themselves


def subjects(scene: Scene) -> list[Subject]:
    """Return one for all sources that speak MQTT, if there is one."""
    return [Subject("devices' QoS")] if _speaking(scene) else []


def look(scene: Scene, _subject: Subject) -> Facts:
    """Go through the last values of devices."""
    if scene.values is None:
        return Facts(asked=False)
    sources, by_dialect = _speaking(scene), dict[str, list[str]]()
    acknowledged = unknown = 0
    for device, known in scene.values.items():
        source, _, rest = device.partition("/")
        if source not in sources:
            continue
        qos = known.get(NOTES, {}).get(QOS)
        if qos == 0:
            by_dialect.setdefault(rest.partition(":")[0], []).append(device)
        elif qos is None:
            unknown += 1
        else:
            acknowledged += 1
    at_0 = tuple(name for name, options in sources.items() if getattr(options, "qos", 1) == 0)
    return Facts(by_dialect=by_dialect, acknowledged=acknowledged, unknown=unknown, subscribed_at_0=at_0)


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whose messages nobody acknowledges, and what to set."""
    for source in facts.subscribed_at_0:
        text = f"source {source} asks its broker for QoS 0: everything comes unacknowledged"
        yield note(text, f"in gateway.toml, under [sources.{source}]: qos = 1", SENDS_AT_QOS_0)
    for dialect, devices in sorted(facts.by_dialect.items()):
        named = ", ".join(sorted(devices)[:NAMED_MAX])
        more = f" and {len(devices) - NAMED_MAX} more" if len(devices) > NAMED_MAX else ""
        text = f"{counted(len(devices), 'device')} last sent at QoS 0, which a kill may lose: "
        yield note(f"{text}{named}{more}", ADVICE.get(dialect, OTHER), SENDS_AT_QOS_0, devices=sorted(devices))
    if not facts.asked:
        yield note(
            "nothing is known of devices: no gateway answers and its journal cannot be read", "sudo edge-gateway doctor"
        )
    elif not facts.by_dialect and not facts.subscribed_at_0:
        unknown = f"; of {facts.unknown} it is not known yet" if facts.unknown else ""
        yield ok(f"{facts.acknowledged} devices send at QoS 1 or 2, none at 0{unknown}")


def _speaking(scene: Scene) -> dict[str, object]:
    """Return the sources that speak MQTT, by name."""
    if scene.config is None:
        return {}
    kinds = ("MqttSourceOptions", "ListenerOptions")
    return {name: options for name, options in scene.config.sources.items() if type(options).__name__ in kinds}
