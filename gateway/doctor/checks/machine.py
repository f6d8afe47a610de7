"""The machine: memory, swap, heat, and on a Raspberry Pi whether its supply is strong enough."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.codes.service import MACHINE_IN_NEED
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import Scene, text
from gateway.quantity import size

AREA = "system"
AVAILABLE_BYTES_MIN = 48 << 20
AVAILABLE_BYTES_SCARCE = 16 << 20
HOT_C, VERY_HOT_C = 75.0, 85.0  # a Raspberry Pi slows down from 80 on
LOW_NOW, CAPPED_NOW, SLOWED_NOW, HOT_NOW = 1 << 0, 1 << 1, 1 << 2, 1 << 3
LOW_BEFORE, SLOWED_BEFORE = 1 << 16, 1 << 18
THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel says."""

    total_bytes: int = 0
    available_bytes: int = 0
    swap_on: tuple[str, ...] = ()  # disks or files that are swapped to
    hottest_c: float | None = None
    throttled: int | None = None  # the firmware's bits; None: not a Raspberry Pi, or not to be seen
    low_voltage: bool = False  # hwmon's alarm


def subjects(_scene: Scene) -> list[Subject]:
    """There is one machine."""
    return [Subject("machine")]


def look(scene: Scene, _subject: Subject) -> Facts:
    """Read proc and sysfs."""
    memory = {}
    for line in text(scene.roots.proc / "meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        memory[name] = int(words[0]) * 1024 if words and words[0].isdecimal() else 0
    swaps = [line.split()[0] for line in text(scene.roots.proc / "swaps").splitlines()[1:] if line.split()]
    heat = [text(zone) for zone in (scene.roots.sys / "class/thermal").glob("thermal_zone*/temp")]
    temperatures = [int(each) / 1000 for each in heat if each.removeprefix("-").isdecimal()]
    alarms = (scene.roots.sys / "class/hwmon").glob("hwmon*/in0_lcrit_alarm")
    return Facts(
        total_bytes=memory.get("MemTotal", 0),
        available_bytes=memory.get("MemAvailable", 0),
        swap_on=tuple(each for each in swaps if not each.startswith(("/dev/zram", "/zram"))),
        hottest_c=max(temperatures, default=None),
        throttled=_throttled(scene),
        low_voltage=any(text(alarm) == "1" for alarm in alarms),
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say what it lacks."""
    findings = [*_power(facts), *_memory(facts), *_heat(facts)]
    yield from findings
    if not findings:
        heat = f", {facts.hottest_c:.0f} °C" if facts.hottest_c is not None else ""
        power = ", supply good" if facts.throttled is not None else ""
        yield ok(f"{size(facts.available_bytes)} of {size(facts.total_bytes)} of memory available{heat}{power}")


def _power(facts: Facts) -> Iterator[Finding]:
    bits = facts.throttled or 0
    command = "vcgencmd get_throttled; use the maker's own supply and a short cable"
    if bits & LOW_NOW or facts.low_voltage:
        text = "the supply voltage is too low now: cards are damaged and serial adapters drop out by it"
        yield bad(text, command, MACHINE_IN_NEED)
    elif bits & LOW_BEFORE:
        yield note("the supply voltage was too low at some time since boot", command, MACHINE_IN_NEED)
    if bits & (CAPPED_NOW | SLOWED_NOW):
        yield note("the processor is slowed down now", command, MACHINE_IN_NEED)


def _memory(facts: Facts) -> Iterator[Finding]:
    if facts.total_bytes and facts.available_bytes < AVAILABLE_BYTES_MIN:
        text = f"{size(facts.available_bytes)} of {size(facts.total_bytes)} of memory available"
        scarce = facts.available_bytes < AVAILABLE_BYTES_SCARCE
        yield (bad if scarce else note)(text, "ps -eo rss,comm --sort=-rss | head", MACHINE_IN_NEED)
    if facts.swap_on:
        text = f"memory is swapped to {', '.join(facts.swap_on)}: that wears a card and makes everything wait"
        yield note(text, "sudo apt install zram-tools; sudo dphys-swapfile swapoff (Raspberry Pi OS)", MACHINE_IN_NEED)


def _heat(facts: Facts) -> Iterator[Finding]:
    hot = facts.hottest_c is not None and facts.hottest_c >= HOT_C
    if hot or (facts.throttled or 0) & HOT_NOW:
        said = f"{facts.hottest_c:.0f} °C" if facts.hottest_c is not None else "hot"
        very = (facts.hottest_c or 0) >= VERY_HOT_C
        yield (bad if very else note)(f"the processor is {said}", "more air, or a heat sink", MACHINE_IN_NEED)


def _throttled(scene: Scene) -> int | None:
    """Read the firmware's bits, from sysfs where an older kernel has them, else by the maker's program."""
    said = text(scene.roots.sys / THROTTLED)
    if not said and text(scene.roots.proc / "device-tree/model").startswith("Raspberry Pi"):
        said = (scene.run("vcgencmd", "get_throttled") or "").partition("=")[2].strip()
    try:
        return int(said, 16) if said else None
    except ValueError:
        return None
