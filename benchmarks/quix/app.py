"""Quix Streams with two of our stages: durable dedup by request_id and an hourly sum. Its defaults: RocksDB state,
changelog topics, a checkpoint every five seconds.

Runs in an environment of its own (requirements.lock beside this file), so it imports nothing of ours but the stopwatch.
The message key is the request_id, and Quix Streams keeps state by message key. So dedup needs no second topic. Nor does
the hourly window, which is by key too: a sum by feature would need `group_by`, a topic more to write and to read.

python -m benchmarks.quix.app BOOTSTRAP TOPIC GROUP SECONDS EVENTS
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from quixstreams import Application, State  # type: ignore[import-not-found]  # it is not in our environment

from benchmarks.stopwatch import Stopwatch


def is_new(_event: dict[str, Any], state: State) -> bool:
    if state.exists("seen"):
        return False
    state.set("seen", True)
    return True


def main(bootstrap_servers: str, topic: str, group: str, watch: Stopwatch) -> None:
    app = Application(bootstrap_servers, consumer_group=group, auto_offset_reset="earliest", state_dir="state")
    events = app.dataframe(app.topic(topic, value_deserializer="json"))

    def count(_event: Any) -> None:
        if watch.tick():
            app.stop()

    events = events.update(count)
    events = events.filter(is_new, stateful=True)
    events = events.apply(lambda event: event["output_tokens"])
    events = events.tumbling_window(timedelta(hours=1)).sum().current()
    app.run()
    print(watch.result())


if __name__ == "__main__":
    address, name, consumer_group, seconds, many = sys.argv[1:]
    main(address, name, consumer_group, Stopwatch(seconds=float(seconds), events=int(many)))
