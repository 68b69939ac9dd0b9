"""docs/metrics.md and the configuration that is supplied say the names of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from sinks.metrics.counts import TOKENS_AT_MOST
from sinks.metrics.families import Family, families
from stream.runtime.telemetry import Telemetry
from tests.sinks.test_metrics_text import COUNTS, GAUGES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([^|]*)\|", re.MULTILINE)


def told() -> list[Family]:
    return families(COUNTS, GAUGES, by_user=True)


def labels_of(family: Family) -> set[str]:
    return {label for sample in family.samples for label in sample.labels} - {"le"}


def test_the_page_has_each_metric_with_its_kind_and_its_labels() -> None:
    rows = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)) - {"ok", "error"}) for name, kind, labels in ROW.findall(PAGE)
    }
    assert rows == {family.name: (family.kind, labels_of(family)) for family in told()}


def test_the_page_has_the_buckets() -> None:
    assert f"buckets up to {', '.join(map(str, TOKENS_AT_MOST))} and above" in PAGE


def job() -> Any:
    (found,) = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    return found


def test_of_what_one_worker_tells_for_all_the_instance_is_taken_away_and_of_nothing_else() -> None:
    (relabelled,) = job()["metric_relabel_configs"]
    name = re.compile(relabelled["regex"])
    assert all(name.fullmatch(family.name) for family in told())
    assert not any(name.fullmatch(metric.name) for metric in Telemetry().registry.collect())
    assert (relabelled["target_label"], relabelled["replacement"]) == ("instance", "")


def test_the_page_shows_the_configuration_that_is_supplied() -> None:
    (shown,) = yaml.safe_load(PAGE.partition("```yaml\n")[2].partition("```")[0])["scrape_configs"]
    assert shown["metric_relabel_configs"] == job()["metric_relabel_configs"]
    assert shown["job_name"] == job()["job_name"]
