"""Where calls are few, how many come in an hour tells more than what they cost: one may be much dearer than others.

Calls that know nothing of each other come in an hour as often as Poisson's law says. Real ones come in groups, so more
is asked of them than the law does. A score counts as in ``usual``: beyond one hour of 20, halvings of the hours left.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from stream.watch.usual import EDGE, RECORD_HOURS, Floats

FEW: Final = 3.0  # calls an hour, on average: with more, hours are told apart by what they cost
WEIGHT: Final = 0.55  # a score of 3 is one hour of 900 by the law
STEPS_OF_TWICE: Final = 3.0  # by cost alone it takes twice the dearest hour of five weeks to have a score of 3
CALLS_MAX: Final = 100  # more are as rare
TWICE_MAX: Final = 60.0  # so often twice is above every possible cost, and finite
RAREST: Final = 1e-12  # where differences of floats end
LEAST: Final = 1e-6  # USD: what costs less costs nothing


def mean_calls(calls: Floats, *, count: int = 1) -> Floats:
    """Of the ``count`` last hours, of which the last follows ``calls``: how many the hours before each had on average.

    Half a call in an hour more is added: one says little. Infinite where none has come: then nothing is known of calls.
    """
    total = np.concatenate([[0.0], np.cumsum(calls)])
    end = np.arange(len(calls) + 1 - count, len(calls) + 1)
    first = np.maximum(0, end - RECORD_HOURS)
    came = total[end] - total[first]
    result: Floats = np.where(came > 0, (came + 0.5) / (end - first + 1), np.inf)
    return result


def are_few(mean: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return mean < FEW


def scores(calls: Floats, mean: Floats) -> Floats:
    """How rare so many calls in an hour are."""
    at_least, fewer = np.minimum(np.nan_to_num(calls), CALLS_MAX), np.zeros_like(calls)
    of_few = np.where(are_few(mean), mean, 0.0)
    term = np.exp(-of_few)
    for number in range(int(at_least.max(initial=0.0))):
        fewer = fewer + np.where(number < at_least, term, 0.0)
        term = term * of_few / (number + 1)
    result: Floats = WEIGHT * np.log2((1 - EDGE) / np.maximum(1 - fewer, RAREST))
    return result


def dearest(costs: Floats, *, count: int = 1) -> Floats:
    """Of the ``count`` last hours, of which the last follows ``costs``: what the dearest of the record of each cost."""
    padded = np.concatenate([np.zeros(RECORD_HOURS), costs])
    result: Floats = np.lib.stride_tricks.sliding_window_view(padded, RECORD_HOURS)[-count:].max(axis=1)
    return result


def cost_scores(costs: Floats, most: Floats) -> Floats:
    """How rare such costs are, where the dearest of the record are ``most``."""
    return STEPS_OF_TWICE * np.log2(np.maximum(costs, LEAST) / np.maximum(most, LEAST))


def cost_above(score: float, most: float) -> float:
    """The cost of an hour above which it has more than this score."""
    return float(max(most, LEAST) * 2.0 ** min(score / STEPS_OF_TWICE, TWICE_MAX))


def calls_above(score: float, mean: float) -> int:
    """The most calls in an hour that have no more than this score."""
    number = 0
    while number < CALLS_MAX and float(scores(np.array([number + 1.0]), np.array([mean]))[0]) <= score:
        number += 1
    return number
