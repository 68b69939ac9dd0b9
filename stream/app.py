"""One worker, put together: which parts there are, and what Faust runs of them. What they do is in pipeline.py."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

from faust.types import TP

from costream.pricing import PriceBook
from costream.topics import EVENTS, ROLLUPS
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from stream.consume.faust_app import chunked_topics, faust_app
from stream.consume.faust_patches import (
    read_what_brokers_accept,
    require_compiled_streams,
    require_pinned_versions,
)
from stream.consume.fetching import Consumption
from stream.consume.progress import Progress
from stream.decode.frame import AgeLimits
from stream.holding import Holding
from stream.ingest import Ingest
from stream.judges import Judges
from stream.pipeline import Pipeline
from stream.price_revisions import PriceRevisions
from stream.rule_revisions import RuleRevisions, counted_by
from stream.runtime.health import Health
from stream.runtime.kafka import kafka_config
from stream.runtime.patience import Patience
from stream.runtime.process import Task, guarded
from stream.runtime.settings import Settings
from stream.runtime.stalls import Stalls
from stream.runtime.telemetry import Telemetry
from stream.runtime.warehouse import warehouse_address
from stream.stages import Stages
from stream.store.order import Store
from stream.store.outbox import Outbox
from stream.store.vanished import LostPlaces, VanishedRecords
from stream.tally import Tally
from stream.watch.alert_topic import outbox_for_alerts


class Worker:
    """A Faust application and the parts it moves bytes between. Build it inside the running loop, and close it."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        end_process: Callable[[int], NoReturn] = os._exit,
    ) -> None:
        require_pinned_versions()
        require_compiled_streams()
        read_what_brokers_accept()
        self._settings = settings
        self.telemetry = telemetry = Telemetry()
        self.patience = patience = Patience(telemetry.stalled)
        consumption = Consumption(patience, settings.kafka_bootstrap_servers, settings.kafka_sasl_username)
        self.progress = Progress(consumption.positions)
        self.health = Health(settings, patience=patience, progress=self.progress, telemetry=telemetry)
        self._stages, stalls = Stages(), Stalls(patience, clock=clock)
        self.app = faust_app(settings, consumption=consumption, before_leaving=self._leave)
        address = warehouse_address(settings)
        self._reader, self._writer = Reader(address), Writer(address)
        # Two, since a flush waits for all that a producer has: the stages must not wait for one another.
        outbox, alert_outbox = Outbox(kafka_config(settings)), outbox_for_alerts(kafka_config(settings))
        prices = PriceRevisions(self._reader, PriceBook.bundled(), looking=self._stages.looking, stalls=stalls)
        rules = RuleRevisions(self._reader, zone=settings.zone, rates=prices.rates, clock=clock)
        ingest = _ingest(settings, self._reader, prices, rules, clock)
        tally = Tally(telemetry, settings=settings, ingest=ingest, progress=self.progress, clock=clock)
        self._judges = Judges(
            settings,
            reader=self._reader,
            writer=self._writer,
            outbox=alert_outbox,
            published=tally.published,
            limited=tally.limited,
            telemetry=telemetry,
            patience=patience,
            stalls=stalls,
            rules=rules,
            rates=prices.rates,
            clock=clock,
        )
        self._holding = Holding(
            ingest,
            prices,
            assignment=self._assignment,
            settings=settings,
            stages=self._stages,
            stalls=stalls,
            progress=self.progress,
            clock=clock,
        )
        lost_places = LostPlaces(
            consumption.lost_places,
            VanishedRecords(reader=self._reader, writer=self._writer, settings=settings, clock=clock),
            storing=self._stages.storing,
            stalls=stalls,
            count=tally.vanished,
        )
        verbs = Pipeline(
            settings=settings,
            stages=self._stages,
            ingest=ingest,
            holding=self._holding,
            lost_places=lost_places,
            warehouse=Store(writer=self._writer, outbox=outbox, settings=settings),
            stalls=stalls,
            tally=tally,
            judges=self._judges,
        )
        besides = (lost_places.keep_noting, prices.keep_looking)
        self._hand_to_faust(verbs, besides, partial(guarded, end_process=end_process))

    def _hand_to_faust(self, verbs: Pipeline, besides: Iterable[Task], guard: Callable[[Task], Task]) -> None:
        events, rollups = chunked_topics(self.app, self._settings)
        self.app.agent(events, name="ingest")(guard(verbs.decode))
        self.app.agent(rollups, name="watch")(guard(verbs.watch))
        for task in (
            verbs.work_out,
            verbs.store,
            verbs.judge,
            verbs.audit,
            verbs.fill,
            verbs.keep,
            verbs.notify,
            verbs.export,
            *besides,
        ):
            self.app.task(guard(task))
        # Faust types its signal handlers more narrowly than it calls them.
        self.app.on_partitions_revoked.connect(self._on_revoked, weak=False)  # type: ignore[arg-type]
        self.app.on_partitions_assigned.connect(self._on_assigned, weak=False)  # type: ignore[arg-type]

    def _assignment(self) -> Iterable[TP]:
        return self.app.consumer.assignment()

    async def _leave(self) -> None:
        await asyncio.to_thread(self._judges.leave)

    async def _on_revoked(self, _app: Any, *_args: Any, **_: Any) -> None:
        """Faust has waited until all that was delivered is stored and acknowledged (stream_wait_empty)."""
        self._holding.end()
        self.progress.revoked()

    async def _on_assigned(self, _app: Any, *args: Any, **_: Any) -> None:
        assigned: set[TP] = args[0]
        if any(tp.topic == self._settings.topic(ROLLUPS) for tp in assigned):
            self._judges.turn.begin()
        self.progress.assigned([tp for tp in assigned if tp.topic == self._settings.topic(EVENTS)])

    async def close(self) -> None:
        """Once Faust has ended. A question that is still under way is waited for: the engine cannot be closed under
        it."""
        await asyncio.to_thread(self._stages.close)
        self._reader.close()
        self._writer.close()


def _ingest(
    settings: Settings, reader: Reader, prices: PriceRevisions, rules: RuleRevisions, clock: Callable[[], datetime]
) -> Ingest:
    """By the prices and the budgets that are in force."""
    return Ingest(
        reader=reader,
        book=prices.book,
        budgets=rules.made(counted_by),
        limits=AgeLimits(future_max=settings.event_future_max, past_max=settings.retention),
        ids_max=settings.dedup_ids_max,
        clock=clock,
    )
