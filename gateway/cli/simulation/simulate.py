"""`simulate` and `verify`: a house from a scenario file, and the oracle over what arrived."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gateway.cli.terminal.printing import complain, printable, say, say_json
from gateway.cli.terminal.screen import Screen
from gateway.cli.verb import BAD, INTERRUPTED, OK, USAGE
from gateway.errors import GatewayError, probably_meant

if TYPE_CHECKING:
    import asyncio

    from simulators.house.scenario import FaultTable
    from simulators.house.show import Options, Ran

SPEED_MAX = 100_000.0
SHIPPED = Path(__file__).resolve().parents[3] / "simulators" / "scenarios"
T = TypeVar("T")


def simulate(words: argparse.Namespace) -> int:
    """Run a scenario, or a capture; 1 when an expectation was not met, 130 after Ctrl-C."""
    if "help" in words.fault:
        return _fault_names()
    if not 0 < words.speed <= SPEED_MAX:
        raise GatewayError(f"--speed is more than 0 and at most {SPEED_MAX:g}")
    if words.play or (words.record and not words.scenario and not words.from_config):
        return _capture(words)
    if not words.scenario and not words.from_config:
        complain("say which scenario: a file, --from-config, or one of " + ", ".join(_shipped()))
        return USAGE
    with _folder(words.keep) as folder:
        file = _own(words, folder) if words.from_config else _found(words.scenario)
        options = _options(words, file, folder)
        if words.print:
            return _print(options)
        ran = _run(lambda stopping, screen: _show(options, screen, stopping), words)
        _write(words, ran, file, folder)
    return _tell(words, ran)


def verify(words: argparse.Namespace) -> int:
    """Compare two files; 1 when they do not balance."""
    from simulators.house.oracle import summary, verify_files

    sent = words.sent or words.far_end.with_name("sent.ndjson")
    for file in (words.far_end, sent):
        if not file.is_file():
            raise GatewayError(f"{file} is not there")
    verdict = verify_files(words.far_end, sent).json()
    if words.json:
        say_json(verdict)
    else:
        for line in summary(verdict):
            say(printable(line))
        good = verdict["balanced"]
        say("balanced: all that was acknowledged arrived" if good else "NOT BALANCED", "green" if good else "red")
    return OK if verdict["balanced"] else BAD


# ---- what is to be done --------------------------------------------------------------------------------


def _options(words: argparse.Namespace, file: Path, folder: Path) -> Options:
    from simulators.house.scenario import read, seconds
    from simulators.house.show import Options
    from simulators.wire import address_of

    scenario = read(file)
    broker = address_of(_listener(words) if words.listener else words.broker)
    try:
        if words.lasts:
            seconds(words.lasts)
            scenario = msgspec.structs.replace(scenario, lasts=words.lasts)
        faults: list[FaultTable] = [_fault(text) for text in words.fault]
    except ValueError as error:
        raise GatewayError(str(error)) from None
    return Options(
        scenario=scenario, folder=folder, here=file.parent, speed=words.speed, lasts_s=scenario.lasts_s, faults=faults,
        seed=scenario.seed if words.seed is None else words.seed, gateway=words.gateway, mosquitto=words.mosquitto,
        broker=broker, record=words.record, sent=words.sent, qos=words.qos, ports=words.ports,
    )  # fmt: skip


def _fault(text: str) -> FaultTable:
    from simulators.house.scenario import fault_of

    return fault_of(text)


def _found(name: str) -> Path:
    file = Path(name)
    if not file.exists() and file.suffix == "" and (SHIPPED / f"{name}.toml").is_file():
        return SHIPPED / f"{name}.toml"
    if not file.is_file():
        hint = probably_meant(name, _shipped()) or f"shipped ones: {', '.join(_shipped())}"
        raise GatewayError(f"{name} is not there ({hint})")
    return file


def _shipped() -> list[str]:
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


def _own(words: argparse.Namespace, folder: Path) -> Path:
    """Write the scenario of an installation; say what is not in it."""
    from gateway.config.load import load
    from simulators.house.own import House, Installed, scenario_of

    config = load(words.config)
    devices = [Installed(each.id, each.name, each.room, each.kind or "", tuple(each.labels)) for each in config.devices]
    rules, place, told = config.rules.folder, config.rules.location, config.document.data.get("notify", {})
    house = House(
        str(rules) if rules.is_dir() else "", config.rules.modes, (place.latitude, place.longitude) if place else None,
        {name: said for name, said in told.items() if isinstance(said, list)},
        [name for name, said in told.items() if isinstance(said, dict)],
    )  # fmt: skip
    text, left_out = scenario_of(devices, house)
    for line in left_out:
        complain(printable(f"left out: {line}"))
    if len(left_out) == len(devices):
        raise GatewayError(f"no device of {config.gateway.devices} can be simulated")
    file = folder / "house.toml"
    file.write_text(text, encoding="utf-8")
    return file


def _listener(words: argparse.Namespace) -> str:
    from gateway.config.load import load
    from gateway.sources.listener import ListenerOptions

    for options in load(words.config).sources.values():
        if isinstance(options, ListenerOptions):
            return f"mqtt://127.0.0.1:{options.port}"
    raise GatewayError(f'{words.config} has no listener: write  [sources.house]  listen = "127.0.0.1:1883"')


def _fault_names() -> int:
    from simulators.house.scenario import FAULTS

    for name in FAULTS:
        say(name)
    return OK


# ---- doing it ------------------------------------------------------------------------------------------


def _print(options: Options) -> int:
    from simulators.house.house import House, line_of

    house = House(options.scenario, options.seed, options.faults)
    for sent in house.upto(options.lasts_s):
        sys.stdout.write(line_of(sent).decode())
    return OK


async def _show(options: Options, screen: Screen, stopping: asyncio.Event) -> Ran:
    import asyncio

    from simulators.house.show import run
    from simulators.processes import listening

    host, port = options.broker
    if not options.gateway and not await asyncio.to_thread(listening, host, port):
        raise GatewayError(f"nobody listens at {host}:{port}: start a broker there, or let --gateway bring its own")
    return await run(options, lambda said: screen.show(_progress(options, said)), stopping)


def _run(make: Callable[[asyncio.Event, Screen], Coroutine[Any, Any, T]], words: argparse.Namespace) -> T:
    """Run it; Ctrl-C ends it early with what there is, a second one at once."""
    import asyncio

    async def _until_stopped() -> T:
        stopping = asyncio.Event()
        loop, myself = asyncio.get_running_loop(), asyncio.current_task()
        assert myself is not None

        def stop() -> None:
            if stopping.is_set():
                myself.cancel()
            stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop)
        return await make(stopping, screen)

    screen = Screen(quiet=words.json)
    try:
        return asyncio.run(_until_stopped())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        screen.leave()


def _capture(words: argparse.Namespace) -> int:
    from simulators.house import capture
    from simulators.wire import address_of

    broker = address_of(_listener(words) if words.listener else words.broker)

    async def work(stopping: asyncio.Event, screen: Screen) -> dict[str, Any]:
        def show(said: dict[str, Any]) -> None:
            screen.show([", ".join(f"{count} {name.replace('_', ' ')}" for name, count in said.items())])

        if words.play:
            lines = capture.read(words.play)
            ports = words.ports or Path(tempfile.mkdtemp(prefix="edge-gateway-ports-"))
            if any(not line.topic for line in lines) and not words.json:
                say(f"serial ports appear in {ports}")
            return await capture.play(lines, broker, ports, speed=words.speed, stopping=stopping, show=show)
        if words.port:
            port, _, baud = words.port.rpartition(":")
            if not port or not baud.isdecimal():
                raise GatewayError(f"--port {words.port!r}: write device and baud, as /dev/ttyUSB0:57600")
            return await capture.record_port(words.record, port, int(baud), stopping, show)
        return await capture.record(words.record, broker, stopping, show)

    result = _run(work, words)
    if words.json:
        say_json(result)
    return OK


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Give a folder to write in; one that nobody wants to keep is removed."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise GatewayError(f"{keep} is not empty")
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="edge-gateway-house-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


# ---- saying it -----------------------------------------------------------------------------------------


def _progress(options: Options, said: dict[str, Any]) -> Iterator[str]:
    at_s = max(0.0, said["at_s"])
    hours, minutes = divmod(int(at_s) // 60, 60)
    share = min(100, round(100 * at_s / options.lasts_s))
    yield f"{options.scenario.title or 'house'}   {hours}:{minutes:02d} of the house's time, {share} %"
    waiting = f"   {said['waiting']} wait" if said["waiting"] else ""
    yield f"devices   {said['sent']:6d} messages sent   {said['acknowledged']} answered for{waiting}"
    if said["commands"]:
        yield f"commands  {said['commands']:6d} heard by devices"
    if status := said.get("status"):
        queued = sum(lane["queued"] for lane in status["lanes"])
        yield f"gateway   {queued:6d} events wait   {status['rules']['fired']} rule calls"


def _write(words: argparse.Namespace, ran: Ran, file: Path, folder: Path) -> None:
    from simulators.house.evidence import evidence, junit

    if words.junit:
        junit(words.junit, ran.result["title"] or file.stem, ran.results, ran.result["seconds"])
    if words.evidence:
        evidence(words.evidence, file, folder if words.gateway else None, ran.result)


def _tell(words: argparse.Namespace, ran: Ran) -> int:
    result = ran.result
    if words.json:
        say_json({name: value for name, value in result.items() if name != "rss_bytes"})
    else:
        say()
        for line in ran.results:
            say(
                printable(f"  {'met' if line.met else 'NOT MET':<8} {line.name}: {line.what}"),
                None if line.met else "red",
            )
        for each in result.get("coverage", ()):
            if each["never"]:
                say(f"  rule {each['rule']}: {'; '.join(each['never'])}", "yellow")
        say(f"{result['sent']} messages of {result['devices']} devices in {result['dialects']} dialects, "
            f"{result['acknowledged']} answered for, {result['commands']} commands")  # fmt: skip
    if result["interrupted"]:
        return INTERRUPTED
    return OK if ran.good else BAD
