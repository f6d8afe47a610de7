"""What of an installation nobody else may read: its secrets; and, when asked for, whose house it is."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets as chance
from typing import Final

from gateway.config.named import secrets
from gateway.doctor.scene import Scene
from gateway.errors import ConfigError
from gateway.support.scrub import Scrub

ID_PART_CHARS_MIN: Final = 5  # of a device's id that is looked for by itself


def scrub_of(scene: Scene, *, anonymous: bool) -> Scrub:
    """Return what hides the secrets of an installation; `anonymous`: names, too, as aliases of this one bundle."""
    known, names = _secrets(scene)
    return Scrub(known, names, _people(scene) if anonymous else (), chance.token_bytes(16))


def _secrets(scene: Scene) -> tuple[list[str], list[str]]:
    """Return every secret that can be read, and the names of variables that hold some."""
    known: list[str] = []
    names: list[str] = []
    environment = scene.environment() or {}
    for _, secret in secrets(scene.config) if scene.config is not None else ():
        if secret.place == "env":
            names.append(secret.name)
            known += [environment[secret.name]] if secret.name in environment else []
        with contextlib.suppress(ConfigError):
            known.append(secret())
    return known, names


def _people(scene: Scene) -> set[str]:
    """Return everything that says whose house it is: names of devices, rooms, the gateway, the machine."""
    found = {platform.node(), platform.node().partition(".")[0], os.environ.get("SUDO_USER", "")}
    ids = set(scene.values or ())
    for known in (scene.values or {}).values():
        found.add(str(known.get("$", {}).get("name", "")))
    if scene.config is not None:
        found.add(scene.config.gateway.name)
        for device in scene.config.devices:
            ids.add(device.id)
            found |= {device.name, device.room or ""}
    for device_id in ids:
        rest = device_id.partition("/")[2]
        parts = {rest.partition(":")[2], *rest.partition(":")[2].split("/")}
        found |= {part for part in parts if len(part) >= ID_PART_CHARS_MIN}
    return {each for each in found if each}
