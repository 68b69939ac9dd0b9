"""Faust as its documentation shows it: one agent, one event at a time, nothing done with it. Default settings.

python -m benchmarks.plain_faust BOOTSTRAP TOPIC GROUP SECONDS EVENTS
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import faust
from faust.contrib.asgi import faust_app_running

from benchmarks.stopwatch import Stopwatch


async def main(bootstrap_servers: str, topic: str, group: str, watch: Stopwatch) -> None:
    # Not the defaults, and all three in its favour: bytes are not decoded, no web server, no topic of its own.
    app = faust.App(group, broker=f"kafka://{bootstrap_servers}", web_enabled=False, topic_disable_leader=True)
    events = app.topic(topic, key_serializer="raw", value_serializer="raw")
    over = asyncio.Event()

    async def noop(stream: faust.StreamT[Any]) -> None:
        async for _ in stream.events():
            if watch.tick():
                over.set()
                await asyncio.sleep(3_600)

    app.agent(events)(noop)
    async with faust_app_running(app):
        await over.wait()
        print(watch.result(), flush=True)
        os._exit(0)  # a stop would first work off all that is fetched


if __name__ == "__main__":
    address, name, consumer_group, seconds, count = sys.argv[1:]
    asyncio.run(main(address, name, consumer_group, Stopwatch(seconds=float(seconds), events=int(count))))
