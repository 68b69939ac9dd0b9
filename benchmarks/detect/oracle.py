"""The most that judging hour by hour can reach: it knows the true mean of each hour, and the noise."""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.detect.labelled import Floats, Labelled

NOTHING: Final = -9.0  # of hours in which nothing is ever spent
SIGMA_MIN: Final = 0.05


def oracle(one: Labelled) -> Floats:
    assert one.truth is not None, "only of a series whose truth is known"
    unusual = np.zeros(len(one.values), dtype=bool)
    for event in one.events:
        unusual[event.start : event.end] = True
    if one.shape == "sparse":
        return _by_rank(one.values, one.values[~unusual])
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log(np.maximum(one.values, 1e-9) / np.where(one.truth.mean <= 0, np.nan, one.truth.mean))
    noise = above[~unusual & np.isfinite(above)]
    sigma = max(SIGMA_MIN, one.truth.sigma if one.shape == "bursty" else float(noise.std()))
    result: Floats = np.nan_to_num((above - noise.mean()) / sigma, nan=NOTHING)
    return result


def _by_rank(values: Floats, noise: Floats) -> Floats:
    """A few dear calls an hour follow no such law: how rare a cost is among its own."""
    ordered = np.sort(noise)
    rarer = 1 - np.searchsorted(ordered, values, "left") / len(ordered)
    result: Floats = -np.log(np.maximum(rarer, 0.2 / len(ordered))) - 2.0
    return result
