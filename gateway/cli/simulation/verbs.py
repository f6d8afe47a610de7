"""The words of `demo`, `simulate` and `verify`; what they do is in the modules beside."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli.verb import Verbs, add

BROKER = "mqtt://127.0.0.1:1883"
FAULT_HELP = "KIND[@DEVICE[@AT[@LASTS]]][,share=0.3][,by=2]; may be repeated; `help` lists them"


def add_verbs(verbs: Verbs) -> None:
    """Declare all three."""
    parser = add(
        verbs,
        "demo",
        "devices, rules, an outage and a cloud in one process tree; no hardware, nothing to set up",
        _demo,
        examples=["edge-gateway demo", "edge-gateway demo --seconds 30 --json"],
        json=True,
        config=False,
    )
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same devices and outage")
    parser = add(
        verbs,
        "simulate",
        "a simulated house from a scenario file: devices, people, faults; alone, or with a gateway that is judged",
        _simulate,
        examples=[
            "edge-gateway simulate flat --gateway --speed 1200",
            "edge-gateway simulate house.toml --broker mqtt://127.0.0.1:1883 --fault silent@kitchen*@10m",
            "edge-gateway simulate house.toml --gateway --junit results.xml --evidence evidence.json --json",
            "edge-gateway simulate --from-config --gateway --speed 600",
            "edge-gateway simulate --record monday.ndjson --broker mqtt://127.0.0.1:1883",
            "edge-gateway simulate --play monday.ndjson --speed 10",
        ],
        json=True,
    )
    parser.add_argument("scenario", nargs="?", metavar="SCENARIO", help="a TOML file, or the name of a shipped one")
    _where(parser)
    _how(parser)
    _results(parser)
    parser = add(
        verbs,
        "verify",
        "compare what arrived at the far end with what a simulated house sent, without the gateway's own books",
        _verify,
        examples=["edge-gateway verify --far-end received.ndjson --sent sent.ndjson --json"],
        json=True,
        config=False,
    )
    parser.add_argument("--far-end", type=Path, required=True, metavar="FILE", help="CloudEvents, one a line")
    parser.add_argument("--sent", type=Path, metavar="FILE", help="default: sent.ndjson beside it")


def _where(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where devices connect to")
    group.add_argument(
        "--broker", metavar="URL", default=BROKER, help=f"a broker, or a gateway's listener (default: {BROKER})"
    )
    group.add_argument("--listener", action="store_true", help="the listener of the gateway of --config")
    group.add_argument("--gateway", action="store_true", help="run a gateway beside it, on the house's clock")
    group.add_argument("--mosquitto", action="store_true", help="with --gateway: a real broker between them")
    group.add_argument("--ports", type=Path, metavar="FOLDER", help="where serial ports appear (default: a new one)")


def _how(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how")
    group.add_argument("--from-config", action="store_true", help="my house: made of gateway.toml and devices.toml")
    group.add_argument("--seed", type=int, metavar="N", help="same scenario and seed, same messages and times")
    group.add_argument("--speed", type=float, default=1.0, metavar="X", help="60: an hour in a minute (default: 1)")
    group.add_argument("--for", dest="lasts", metavar="TIME", help="how long, of the house's time: 90m, 2d")
    group.add_argument("--fault", action="append", default=[], metavar="FAULT", help=FAULT_HELP)
    group.add_argument("--qos", type=int, choices=(0, 1), default=1, help="of what devices publish (default: 1)")
    group.add_argument("--print", action="store_true", help="print the messages and send nothing")


def _results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files")
    group.add_argument("--record", type=Path, metavar="FILE", help="write a capture; without SCENARIO of a broker")
    group.add_argument("--port", metavar="DEVICE", help="with --record: of a serial port, as /dev/ttyUSB0:57600")
    group.add_argument("--play", type=Path, metavar="FILE", help="say a capture again")
    group.add_argument("--sent", type=Path, metavar="FILE", help="what was sent and answered for, for `verify`")
    group.add_argument("--junit", type=Path, metavar="FILE", help="expectations as JUnit XML")
    group.add_argument("--evidence", type=Path, metavar="FILE", help="seed, versions, hashes, what happened when")
    group.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the gateway's folder here")


def _demo(words: argparse.Namespace) -> int:
    """Run the demonstration."""
    from gateway.cli.simulation.demo import run

    return run(words)


def _simulate(words: argparse.Namespace) -> int:
    """Run a scenario, or a capture."""
    from gateway.cli.simulation.simulate import simulate

    return simulate(words)


def _verify(words: argparse.Namespace) -> int:
    """Compare what arrived with what was sent."""
    from gateway.cli.simulation.simulate import verify

    return verify(words)
