"""The limits that hold, told on ``usage.budgets``: the shell around ``stream.budgets.limits``.

The rule about budgets looks at what was spent, for its alerts, and hands it over. What of it is news is published here,
in the same thread and the same turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final

import structlog

from costream.budgets import BudgetState
from stream.budgets.budget import Budget
from stream.budgets.limits import News, Reading, accounts_of, news_of
from stream.budgets.spend import Account, PerUSD
from stream.runtime.errors import StreamError
from stream.watch.rules.hourly import RETRY_WAIT
from stream.watch.turn import OutOfTurn

log = structlog.get_logger(__name__)

Publish = Callable[[Sequence[News]], None]

NEXT: Final = f"tried again in {RETRY_WAIT.total_seconds():.0f} s; clients go by what was told before"


class Limits:
    """``restore`` begins a turn; ``tick`` publishes what is new of what was noted last. One thread calls them all."""

    def __init__(self, *, publish: Publish, per_usd: PerUSD, clock: Callable[[], datetime]) -> None:
        """``publish`` returns once Kafka has acknowledged all that it was given, or raises."""
        self._publish, self._per_usd, self._clock = publish, per_usd, clock
        self.restore(())

    def restore(self, published: Iterable[BudgetState]) -> None:
        """Go on from what the topic has."""
        self._known = {state.key: state for state in published}
        self._noted: Reading | None = None
        self._retry_at: datetime | None = None
        self.wants_reading = True  # also where nothing is known: what was noted in the turn before is dropped

    # --- what the rule about budgets asks and tells ---

    def accounts(self, budgets: Sequence[Budget], now: datetime) -> set[Account]:
        """The sums that must be looked at beside those that are near a step or a limit."""
        return accounts_of(self._known.values(), budgets, now)

    def note(self, reading: Reading) -> None:
        self._noted, self.wants_reading = reading, False

    # --- what it publishes ---

    def tick(self) -> Sequence[News]:
        """No failure ends the loop; what could not be published is worked out anew from the newest reading."""
        reading, now = self._noted, self._clock()
        if reading is None or (self._retry_at is not None and now < self._retry_at):
            return []
        try:
            news = news_of(reading, self._known, per_usd=self._per_usd)
            if news:
                self._publish(news)
        except OutOfTurn:
            self._noted = None  # the next holder judges anew
            return []
        except Exception as error:
            self._retry_at = now + RETRY_WAIT
            log.error("limits not told", reason=str(error), next=NEXT, exc_info=not isinstance(error, StreamError))
            return []
        self._noted, self._retry_at = None, None
        self._remember(news)
        return news

    def _remember(self, news: Sequence[News]) -> None:
        for key, state in news:
            if state is None:
                del self._known[key]
            else:
                self._known[key] = state
        if news:
            states = [state for _, state in news if state]
            limited = sum(state.limited for state in states)
            log.info("limits told", limited=limited, lifted=len(states) - limited, over=len(news) - len(states))
