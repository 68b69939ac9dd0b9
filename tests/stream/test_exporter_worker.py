"""Workers tell Prometheus what was used: the known cost, once, from one of them, and go on where the last one was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.records import rfc3339, wire
from tests.support.site import Site
from tests.support.worker import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

# A prelude: it looks every second, and rests for as long as it looked.
LOOKS_OFTEN = """
from datetime import timedelta
from stream import exporter
exporter.LOOK, exporter.REST = timedelta(seconds=1), 1
"""


def send(site: Site, ids: list[str], **fields: Any) -> None:
    """Calls of 0.15 USD each."""
    usual = {"input_tokens": 1_000_000, "output_tokens": 0, "occurred_at": rfc3339(datetime.now(UTC))}
    site.publish(site.producer(), [(request_id, wire(request_id, **usual | fields)) for request_id in ids])


def new_ids(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


def told(worker: WorkerProcess) -> dict[tuple[str, str], Decimal]:
    """Cost by user and model, as the page has it."""
    _, page = worker.page("/metrics")
    lines = [line for line in page.splitlines() if line.startswith("llm_total_cost_usd{")]
    samples = [
        sample
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("llm_total_cost_usd")
    ]
    return {
        (sample.labels["user_id"], sample.labels["model"]): Decimal(line.rpartition(" ")[2])
        for line, sample in zip(lines, samples, strict=True)
    }


def calls(worker: WorkerProcess) -> Mapping[str, int]:
    """By status."""
    _, page = worker.page("/metrics")
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    found = Counter[str]()
    for one in samples:
        if one.name == "llm_api_calls_total":
            found[one.labels["status"]] += int(one.value)
    return found


def is_told(worker: WorkerProcess, costs: Mapping[tuple[str, str], str]) -> None:
    wanted = {labels: Decimal(cost) for labels, cost in costs.items()}
    worker.until(lambda: told(worker) == wanted, f"the page has {wanted}", seconds=90)


def test_a_scrape_is_the_known_cost_and_repeats_and_other_workers_do_not_raise_it(site: Site) -> None:
    site.create(partitions=4)
    ids = new_ids(40)
    first = site.worker(prelude=LOOKS_OFTEN)
    with first:
        send(site, ids, user_id="ann")
        send(site, new_ids(20), user_id="bob", status="error")
        send(site, new_ids(3), provider="nobody", model="knows")
        costs = {("ann", "gpt-4o-mini"): "6", ("bob", "gpt-4o-mini"): "3"}
        is_told(first, costs)
        first.until(lambda: calls(first) == {"ok": 43, "error": 20}, "calls are told")
        send(site, ids, user_id="ann")
        send(site, new_ids(1), user_id="cyd")
        costs["cyd", "gpt-4o-mini"] = "0.15"
        is_told(first, costs)
        assert calls(first) == {"ok": 44, "error": 20}
        first.process.kill()
        first.ended()
    send(site, new_ids(10), user_id="ann")
    costs["ann", "gpt-4o-mini"] = "7.5"
    with site.worker(prelude=LOOKS_OFTEN) as second:
        is_told(second, costs)
        with site.worker(prelude=LOOKS_OFTEN) as third:
            third.until(lambda: third.page("/readyz")[0] == 200, "it holds partitions")
            send(site, new_ids(10), user_id="bob")
            costs["bob", "gpt-4o-mini"] = "4.5"
            holders = [second, third]
            second.until(lambda: sum(map(_tells, holders)) == 1, "one of them tells", seconds=90)
            (holder,) = filter(_tells, holders)
            (other,) = (worker for worker in holders if worker is not holder)
            is_told(holder, costs)
            assert not _tells(other)
            assert holder.stop() == 0
            is_told(other, costs)
            assert other.stop() == 0


def _tells(worker: WorkerProcess) -> bool:
    return bool(told(worker))
