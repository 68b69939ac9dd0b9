"""How often a property is tried: as often as stated in `make test-slow`, which CI runs, elsewhere a tenth of it."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import settings

SHARE: Final = 10  # runs are many: what a tenth has not met today, it meets tomorrow, and CI tries all of them
EXAMPLES_MIN: Final = 10  # fewer are hardly more than the simplest ones, which are tried first


def examples(full: int, *, at_least: int = EXAMPLES_MIN, **options: Any) -> settings:
    """``full`` examples in the profile `ci`, a tenth in `dev`; ``at_least`` is lower where each takes a second. No
    deadline, as cores are shared."""
    few = min(full, max(at_least, full // SHARE))
    return settings(max_examples=full if full_run() else few, deadline=None, **options)


def full_run() -> bool:
    return settings.get_current_profile_name() == "ci"
