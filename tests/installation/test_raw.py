"""Messages as they come, for whoever looks."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.api.line import ApiError
from gateway.framing.options import Line, framer_of
from gateway.installation.raw import FOLLOWERS_MAX, RING_MAX, Raw, secrets_in, shown
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.secrets import Secret
from gateway.sources.source import Delivery
from gateway.targets.http import HttpTargetOptions


class Port:
    """A serial source as far as it is looked at: a framer, and bytes that come."""

    def __init__(self) -> None:
        """Frame by lines."""
        self.framer = framer_of(Line())

    def received(self, data: bytes) -> None:
        """Take bytes."""
        self.framer.feed(data)


class Scene:
    """A decoder that reads the shipped profiles, somebody who looks, and nothing else."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self.decoder = Decoder(Catalogue.load(), "gw", "house", Devices(), self.values)
        self.port = Port()
        self.raw = Raw({"house": self.decoder}, {"port": self.port}, self.values, lambda: ["hunter22", "abc"])  # type: ignore[dict-item]

    def say(self, topic: str, payload: Any) -> None:
        """Let a message come."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.decoder.decode(Delivery("house", topic, body, 0, None))  # type: ignore[arg-type]

    async def seen(self, *messages: tuple[str, Any], topic: str = "") -> list[dict[str, Any]]:
        """Look while messages come; return what was shown."""
        found: list[dict[str, Any]] = []

        async def look() -> None:
            async with aclosing(self.raw.follow(topic=topic)) as items:  # type: ignore[type-var]
                async for item in items:
                    found.append(item)  # noqa: PERF401 - it is read meanwhile

        looking = asyncio.create_task(look())
        while not self.raw.followed:
            await asyncio.sleep(0)
        for each in messages:
            self.say(*each)
        wanted = len(messages) if not topic else 1
        async with asyncio.timeout(30):
            while len(found) < min(wanted, RING_MAX):
                await asyncio.sleep(0.01)
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        return found


def test_each_message_says_who_reads_it_or_why_nobody_does() -> None:
    """A reading with its event, a copy that changes nothing, one nobody reads, one that is broken."""
    door = ("zigbee2mqtt/hall", {"contact": False, "battery": 80})
    items = asyncio.run(
        Scene().seen(door, door, ("zigbee2mqtt/hall2", {"zorp": 1}), ("zigbee2mqtt/hall", b'{"contact":'))
    )
    assert [item["profile"] for item in items] == ["zigbee2mqtt-contact", "zigbee2mqtt-contact", "", ""]
    assert items[0]["fields"]["open"] is True
    assert items[0]["events"][0]["type"] == "door_opened"
    assert items[1]["events"] == []
    assert items[2]["why_not"].startswith("no profile claims: ")
    assert "not JSON" in items[3]["why_not"]


def test_nothing_is_in_the_path_of_messages_when_nobody_looks() -> None:
    """The decoder's own method is called before and after somebody looked."""
    scene = Scene()
    own = Decoder.decode
    assert scene.decoder.decode.__func__ is own  # type: ignore[attr-defined]
    items = asyncio.run(scene.seen(("a/b", 1), ("zigbee2mqtt/x", {"contact": True}), topic="zigbee2mqtt/#"))
    assert [item["topic"] for item in items] == ["zigbee2mqtt/x"]
    assert not scene.raw.followed
    assert scene.decoder.decode.__func__ is own  # type: ignore[attr-defined]
    assert not scene.port.__dict__.get("received")


def test_who_looks_slowly_is_told_what_was_missed() -> None:
    """The ring is bounded: the oldest go, and their number is said."""
    messages = [(f"a/{number}", 1) for number in range(RING_MAX + 7)]
    items = asyncio.run(Scene().seen(*messages))
    assert items[0]["topic"] == "a/7"
    assert {"missed": 7} in items


def test_bytes_that_the_framing_refuses_are_shown() -> None:
    """Of a serial line what no frame is made of is shown as it came, with the reason."""

    async def look() -> dict[str, Any]:
        scene = Scene()
        items = scene.raw.follow(seconds=30)
        first = asyncio.ensure_future(anext(items))
        while not scene.raw.followed:
            await asyncio.sleep(0)
        scene.port.received(b"\xff\xfe" + b"x" * 100_000 + b"\n")
        async with asyncio.timeout(30):
            return await first

    item = asyncio.run(look())
    assert (item["bytes"], item["payload"][:9]) == (100_003, "hex ff fe")
    assert sum(item["refused"].values()) >= 1


def test_wrong_questions_are_answered() -> None:
    """A filter that is none, a source that is not there, and one person too many get a reason."""

    async def ask() -> None:
        scene = Scene()
        with pytest.raises(ApiError, match="is not a topic filter"):
            scene.raw.follow(topic="a/#/b")
        with pytest.raises(ApiError, match="there is no source 'attic': there are house"):
            scene.raw.follow(source="attic")
        looking = [asyncio.ensure_future(anext(scene.raw.follow())) for _ in range(FOLLOWERS_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="which is the limit"):
            scene.raw.follow()
        for each in looking:
            each.cancel()
        await asyncio.gather(*looking, return_exceptions=True)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (b'{"network_key":[1,2],"wifi":{"psk":"x","ssid":"home"},"n":1}',
         '{"network_key":"***","wifi":{"psk":"***","ssid":"home"},"n":1}'),
        (b'[{"apiKey":"a","accessToken":"b","keypad":"c","pin":12}]',
         '[{"apiKey":"***","accessToken":"***","keypad":"c","pin":"***"}]'),
        (b"user=anna password=hunter2;", "user=anna password=***;"),
        (b"it is hunter22, said abc", "it is ***, said abc"),
        (b"\x55\x00\x0a", "hex 55 00 0a"),
        (b"\xff" * 100, "hex " + " ".join(["ff"] * 64) + "… (100 bytes)"),
        ("ü".encode() * 3000, "ü" * 2048 + "… (6000 bytes)"),
        (b"x" + "ü".encode() * 3000, "x" + "ü" * 2047 + "… (6001 bytes)"),
        (b"", ""),
        (b"\x00", "hex 00"),
    ],
)  # fmt: skip
def test_payloads_are_readable_and_secrets_hidden(payload: bytes, wanted: str) -> None:
    """JSON without secret members, text without secret pairs, anything else as hexadecimal with its length."""
    assert shown(payload, ["hunter22"]) == wanted


def test_secrets_of_a_config_are_found(tmp_path: Path) -> None:
    """What options name as a secret is read, wherever it stands; one that can't be read costs nothing."""
    (tmp_path / "token").write_text("hunter22\n")
    options = HttpTargetOptions(
        url="https://cloud.example", bearer=Secret("file", str(tmp_path / "token")),
        signature=Secret("file", str(tmp_path / "gone")),
    )  # fmt: skip
    assert list(secrets_in({"cloud": options})) == ["hunter22"]
