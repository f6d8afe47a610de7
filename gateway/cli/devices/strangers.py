"""`devices list --unknown`: what no profile reads, which one may fit, and what to type.

The running gateway knows what came to it and nobody read. From a broker only that comes what some profile asks for, so
each broker is listened to as well, by this process and for some seconds: the gateway has no work with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.cli.asking.running import connected
from gateway.cli.terminal.printing import complain, printable, say, say_json
from gateway.cli.verb import BAD, OK
from gateway.errors import GatewayError
from gateway.quantity import counted

if TYPE_CHECKING:
    from gateway.config.load import Config

LISTEN_S = 3.0  # what a broker keeps comes at once, what devices send when they do
NAMED_MAX = 5  # that `setup` names

Stranger = Mapping[str, Any]


def unknown(words: argparse.Namespace) -> int:
    """List what no profile reads, of the running gateway and on its brokers. 1: nobody could be asked."""
    from gateway.config.load import read

    config, _ = read(words.config)
    found: list[Stranger] = []
    silent: list[str] = []
    try:
        with connected(words.config) as client:
            found += client.ask("devices_unknown")
    except GatewayError as error:
        silent.append(str(error))
    asked = not silent
    on_brokers = _on_brokers(config, words.seconds, quiet=words.json) if config and words.seconds else ()
    for name, refused, strangers in on_brokers:
        seen = {each["device"] for each in found if each["source"] == name}
        found += [each for each in strangers if each["device"] not in seen]
        asked = asked or not refused
        if refused:
            silent.append(f"source {name}: {refused}")
    for text in silent:
        complain(printable(text))
    if not asked:
        return BAD
    if words.json:
        say_json(found)
        return OK
    for each in found:
        _tell(each)
    if not found:
        say("some profile reads everything that was heard; what devices send seldom: --for 10m", "dim")
    return OK


def _on_brokers(config: Config, seconds: float, *, quiet: bool) -> Iterator[tuple[str, str, Sequence[Stranger]]]:
    """Yield each broker's source, why it could not be listened to, and what nobody reads on it."""
    import asyncio

    from gateway.installation.around import Known, listen_to
    from gateway.profiles.catalogue import Catalogue
    from gateway.sources.mqtt import MqttSourceOptions

    brokers = {name: each for name, each in config.sources.items() if isinstance(each, MqttSourceOptions)}
    if not brokers:
        return
    catalogue = Catalogue.load(config.profiles)
    for name, options in brokers.items():
        if not quiet:
            say(f"listening to {options.address} for {seconds:g} s ...", "dim")
        known = Known(config.devices, options.prefixes)
        broker = asyncio.run(listen_to(options, catalogue, name, seconds, known))
        yield name, broker.error, broker.unknown


def _tell(stranger: Stranger) -> None:
    said = counted(stranger["messages"], "message")
    say(printable(f"{stranger['device']} (source {stranger['source']}), {said}"), "bold")
    for topic in stranger["topics"]:
        say(printable(f"    {topic['topic']}  {topic['reason']}"))
    if stranger["more_topics"]:
        say(f"    and {stranger['more_topics']} topics more")
    say(f"    {fitting(stranger)}")
    say(f"    do: {stranger['do']}", "green")


def fitting(stranger: Stranger) -> str:
    """Return which profile fits a stranger."""
    fit = stranger["fit"]
    if fit is None:
        return "no profile reads anything of it"
    return f"fits best: {fit['profile']} reads {', '.join(fit['fields'])}; {fit['why']}"
