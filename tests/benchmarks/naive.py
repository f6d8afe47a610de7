"""What one would write by hand: subscribe, parse, look at the temperature, publish. No buffer, no journal.

``python tests/benchmarks/naive.py EDGE_URL CLOUD_URL``
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

import aiomqtt
import orjson

HOT_CEL = 25.0


async def forward(edge_url: str, cloud_url: str) -> None:
    """Forward everything, for ever."""
    edge_at, cloud_at = urlsplit(edge_url), urlsplit(cloud_url)
    async with (
        aiomqtt.Client(edge_at.hostname or "", edge_at.port or 1883, identifier="naive", clean_session=False) as edge,
        aiomqtt.Client(cloud_at.hostname or "", cloud_at.port or 1883, identifier="naive-up") as cloud,
    ):
        await edge.subscribe("load/#", qos=1)
        async for message in edge.messages:
            assert isinstance(message.payload, bytes)
            reading = orjson.loads(message.payload)
            if reading.get("temperature", 0) > HOT_CEL:
                await edge.publish(f"cmd/{message.topic.value}", b'{"alert":"hot"}', qos=1)
            await cloud.publish(f"gw/{message.topic.value}", message.payload, qos=1)


if __name__ == "__main__":
    asyncio.run(forward(*sys.argv[1:3]))
