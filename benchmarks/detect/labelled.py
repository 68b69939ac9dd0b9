"""A series of costs in which it is known what is unusual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

DAYS: Final = 60
HOURS: Final = DAYS * 24
LEARNING_HOURS: Final = 14 * 24  # nothing is injected and nothing is judged before
BEGIN: Final = np.datetime64("2026-01-05T00:00:00", "s")  # a Monday
MOMENTS: Final = BEGIN + np.arange(HOURS) * np.timedelta64(3_600, "s")

Floats = npt.NDArray[np.float64]
Moments = npt.NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Event:
    """What a rule is to find: the points from ``start`` on and before ``end``."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Truth:
    """The mean of each hour without noise, and the noise in logarithms. Only the oracle may look."""

    mean: Floats
    sigma: float


@dataclass(frozen=True, slots=True)
class Labelled:
    shape: str
    moments: Moments
    values: Floats
    counts: Floats | None  # calls, where they are known
    events: tuple[Event, ...]
    truth: Truth | None = None
