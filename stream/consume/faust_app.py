"""The Faust application around the agents and tasks: its settings, each with the reason for its value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from faust.types import TopicT

from costream.topics import EVENTS, ROLLUPS
from stream.consume.delivery import ChunkScheduler, ChunkSchema, ChunkTransport, StatelessApp
from stream.consume.fetching import Consumption
from stream.runtime.kafka import faust_credentials
from stream.runtime.settings import Settings

# A partition's share of a fetch, compressed; bounds what is fetched ahead. A worker that lags behind should get much of
# few partitions at a time: each partition has rollup rows of its own, so a batch of all touches several times as many.
PARTITION_FETCH_BYTES_MAX: Final = 4_194_304
METADATA_AGE_MS_MAX: Final = 10_000  # how soon added partitions are noticed; until then nobody reads them


def faust_app(
    settings: Settings, *, consumption: Consumption, before_leaving: Callable[[], Awaitable[None]]
) -> StatelessApp:
    """``before_leaving`` is awaited before partitions are given up, and before the worker stops."""
    app = StatelessApp(
        settings.consumer_group,
        broker=[f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")],
        broker_credentials=faust_credentials(settings),
        ConsumerScheduler=ChunkScheduler,
        consumer_auto_offset_reset="none",  # fetching.py finds the place and tells; aiokafka jumps in silence
        consumer_metadata_max_age_ms=METADATA_AGE_MS_MAX,
        consumer_max_fetch_size=PARTITION_FETCH_BYTES_MAX,
        stream_buffer_maxsize=4,  # chunks; batches.py holds what is fetched ahead
        stream_wait_empty=True,  # a rebalance waits for the flushes under way
        broker_commit_interval=1.0,
        broker_commit_every=1_000,  # chunks
        broker_session_timeout=settings.session_timeout.total_seconds(),
        broker_heartbeat_interval=settings.session_timeout.total_seconds() / 5,
        topic_allow_declare=False,  # `costream topics create` makes them, with partitions and retention
        topic_disable_leader=True,
        table_standby_replicas=0,
        store="memory://",
        web_enabled=False,  # its default pages show data; ours are in runtime/health.py
    )
    app.consumption = consumption
    app.before_leaving = before_leaving
    app.transport = ChunkTransport(app.conf.broker_consumer, app)
    return app


def chunked_topics(app: StatelessApp, settings: Settings) -> tuple[TopicT, TopicT]:
    """usage.events and usage.rollups, in chunks."""
    events, rollups = (app.topic(settings.topic(name), schema=ChunkSchema()) for name in (EVENTS, ROLLUPS))
    return events, rollups
