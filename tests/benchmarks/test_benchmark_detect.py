"""The series in which rules are to find something, and what is said of the rules."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from benchmarks.detect import synth, traces
from benchmarks.detect.__main__ import main
from benchmarks.detect.labelled import HOURS, LEARNING_HOURS, MOMENTS, Event, Floats, Labelled
from benchmarks.detect.methods import METHODS, Method, hourly_anomaly, hourly_spike
from benchmarks.detect.oracle import oracle
from benchmarks.detect.scoring import NEVER, Scored, outcome, threshold_at
from stream.watch.baseline import Thresholds, anomaly_baseline, spike_baseline
from stream.watch.series import HOUR, Series, Spend
from stream.watch.usual import HISTORY_HOURS

BEGAN = datetime(2026, 1, 5, tzinfo=UTC)


def digest(*values: Floats) -> str:
    return hashlib.sha256(b"".join(np.round(each, 4).tobytes() for each in values)).hexdigest()[:16]


def test_the_same_seeds_are_the_same_series_forever() -> None:
    """Figures of different days are compared: whoever changes the dice measures something else."""
    assert digest(*(synth.series(seed).values for seed in range(10))) == "194f04e442304efd"
    assert digest(*(traces.series(seed).values for seed in range(6))) == "c1e502fc1a8495dd"
    assert [synth.series(seed).shape for seed in range(10)] == list(synth.SHAPES)
    assert [traces.series(seed).shape for seed in range(6)] == list(traces.SHAPES)


@pytest.mark.parametrize("make", [synth.series, traces.series])
def test_events_stand_in_the_series_after_two_weeks_and_do_not_touch(make: Any) -> None:
    found = [make(seed) for seed in range(24)]
    for one in found:
        assert len(one.moments) == len(one.values)
        assert (np.diff(one.moments) > np.timedelta64(0)).all()
        assert (one.values >= 0).all()
        ends = [LEARNING_HOURS - 24]  # hours that are missing come off
        for event in one.events:
            assert ends[-1] < event.start < event.end <= len(one.values)
            ends.append(event.end)
    kinds = {event.kind for one in found for event in one.events}
    assert kinds == set(synth.KINDS if make is synth.series else traces.KINDS)


def test_hours_are_missing_and_weekends_quiet_where_the_shape_says_so() -> None:
    by_shape = {one.shape: one for one in map(traces.series, range(6))}
    assert all((len(one.values) < HOURS) is ("missing" in shape) for shape, one in by_shape.items())
    days = by_shape["conv, quiet weekends"].values.reshape(-1, 24).sum(axis=1)
    fridays, saturdays = days[4 : 4 + 7 * 8 : 7], days[5 : 5 + 7 * 8 : 7]
    assert np.count_nonzero(saturdays < fridays * 0.2) == 2


def test_calls_are_known_of_sparse_series_and_an_event_adds_some() -> None:
    one = synth.series(3)
    assert one.shape == "sparse"
    assert one.counts is not None
    assert ((one.counts > 0) == (one.values > 0)).all()
    assert synth.series(0).counts is None


def tripped(one: Labelled, judge: Any) -> list[bool]:
    """Of some hours of a series, whether the worker would tell them."""
    costs = [Decimal(str(value)) for value in one.values]
    calls = np.zeros(len(costs)) if one.counts is None else one.counts
    hours = {BEGAN + HOUR * hour: Spend(cost, calls=int(calls[hour])) for hour, cost in enumerate(costs) if cost}
    usual = {hour: judge(Series(hours), BEGAN + timedelta(hours=hour), Thresholds()) for hour in looked_at(one)}
    return [known.trips(costs[hour], int(calls[hour])) for hour, known in usual.items()]


def looked_at(one: Labelled) -> list[int]:
    return sorted({*range(LEARNING_HOURS, len(one.values), 17), *(event.start for event in one.events)})


@pytest.mark.parametrize("seed", [0, 3, 13, 4, 6, 9])
@pytest.mark.parametrize(("method", "judge"), [(METHODS[0], anomaly_baseline), (METHODS[1], spike_baseline)])
def test_what_is_scored_is_what_the_worker_judges_by(seed: int, method: Method, judge: Any) -> None:
    """The worker leaves out the hour in which the events began, so it is scored from the second on."""
    one = synth.series(seed)
    skipped = 1 if judge is anomaly_baseline else 0
    counts = None if one.counts is None else one.counts[skipped:]
    scores = method.scores(one.moments[skipped:], one.values[skipped:], counts)
    assert tripped(one, judge) == [bool(scores[hour - skipped] > method.shipped) for hour in looked_at(one)]


def test_an_hour_that_costs_ten_times_the_usual_trips_in_most_shapes() -> None:
    scored = [(one, hourly_anomaly(one.moments, one.values)) for one in map(synth.series, range(20))]
    dear = [scores[event.start] for one, scores in scored for event in one.events if event.kind == "x10_1h"]
    assert np.count_nonzero(np.array(dear) > METHODS[0].shipped) >= 0.7 * len(dear)


@pytest.mark.parametrize("scores", [hourly_anomaly, hourly_spike])
def test_a_score_depends_on_nothing_that_comes_later(scores: Any) -> None:
    one = synth.series(5)
    whole = scores(one.moments, one.values, None)
    for end in (1, 25, 167, 168, 169, 700, 1_200):
        assert (scores(one.moments[:end], one.values[:end], None) == whole[:end]).all(), end


def test_a_score_depends_on_twelve_weeks_before_it_and_no_more() -> None:
    values = np.concatenate([synth.series(0).values, synth.series(10).values])
    moments = MOMENTS[0] + np.arange(len(values)) * np.timedelta64(3_600, "s")
    whole = hourly_anomaly(moments, values)
    later = hourly_anomaly(moments[500:], values[500:])
    assert np.allclose(later[HISTORY_HOURS:], whole[500 + HISTORY_HOURS :])


def test_an_hour_told_in_parts_has_its_score_with_the_last_of_them() -> None:
    one = synth.series(0)
    parts = np.repeat(one.moments, 4) + np.tile(np.arange(4), HOURS) * np.timedelta64(900, "s")
    for scores in (hourly_anomaly, hourly_spike):
        in_parts = scores(parts, np.repeat(one.values / 4, 4), None).reshape(-1, 4)
        assert np.allclose(in_parts[:, 3], scores(one.moments, one.values, None))
        assert (np.diff(in_parts) >= 0).all()


def test_hours_without_a_point_cost_nothing() -> None:
    one = synth.series(0)
    here = np.ones(HOURS, dtype=bool)
    here[700:705] = False
    gap, zero = one.values[here], np.where(here, one.values, 0.0)
    assert (hourly_anomaly(one.moments[here], gap) == hourly_anomaly(one.moments, zero)[here]).all()


def labelled(hours: int, *events: Event) -> Labelled:
    moments = MOMENTS[0] + np.arange(hours) * np.timedelta64(3_600, "s")
    return Labelled("flat", moments, np.ones(hours), None, events)


def test_found_within_an_hour_by_the_end_and_false_alarms() -> None:
    one = labelled(LEARNING_HOURS + 720, Event("a", 500, 501), Event("b", 600, 606), Event("b", 700, 706))
    scores = np.zeros(len(one.values))
    scores[[100, 501, 606, 707, 708, 710, 800, 801, 803]] = 1  # learning, an hour late, at the last, too late and on
    found = outcome([Scored(one, scores)], 0.5)
    assert (found.by_kind["a"].within_hour, found.by_kind["a"].by_end, found.by_kind["a"].delay_hours) == (100, 100, 1)
    assert (found.by_kind["b"].within_hour, found.by_kind["b"].by_end, found.by_kind["b"].delay_hours) == (0, 50, 6)
    assert (found.all.events, found.all.false_alarms) == (3, 3)  # at 710, 800 and 803: 708 goes on with 707


def test_the_threshold_is_the_one_that_makes_so_many_false_alarms() -> None:
    one = labelled(LEARNING_HOURS + 720)
    scores = np.full(len(one.values), NEVER)
    scores[LEARNING_HOURS : LEARNING_HOURS + 40 : 2] = np.arange(20)
    scored = [Scored(one, scores)]
    threshold = threshold_at(scored, false_alarms=3.0)
    assert 16 <= threshold < 17
    assert outcome(scored, threshold).all.false_alarms == 3


def test_the_oracle_finds_what_is_far_above_the_truth() -> None:
    one = synth.series(1)
    scores = oracle(one)
    dear = next(event for event in one.events if event.kind in {"x5_1h", "x10_1h"})
    assert scores[dear.start] == max(scores[dear.start - 24 : dear.end + 24])


def test_the_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:10", "--json"]) in {0, 1}
    told = json.loads(capsys.readouterr().out)
    assert [each["series"] for each in told["measured"]] == ["synth", "traces"]
    assert [row["name"] for row in told["measured"][0]["rows"]] == ["hourly_anomaly", "hourly_spike", "oracle"]
    assert [goal["series"] for goal in told["goals"]] == ["synth"] * 3


@pytest.mark.parametrize("seeds", ["5", "5:5", "a:b", "-1:3", ":"])
def test_seeds_that_name_none_are_refused(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--seeds={seeds}"])
    assert "names no seeds: write the first and the one after the last, 0:200" in capsys.readouterr().err
