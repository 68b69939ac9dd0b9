"""How an alert about 60 minutes lives: plain functions on frozen values, with no Kafka, clock or network.

They are given what is known (what a scope spent, the latest revision of each alert) and say what is new. Ids and
revisions follow from these alone. Judging the same twice says nothing the second time, and a worker that starts again
from stored alerts goes on where the last one was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from costream.alerts import RATIO_MAX, Alert, Status, episode_id, rounded
from stream.watch.baseline import Baseline
from stream.watch.case import Case
from stream.watch.rounding import six_digits, to_decimal
from stream.watch.series import HOUR, NOTHING


def latest(alerts: Iterable[Alert]) -> dict[str, Alert]:
    """The highest revision of each alert, whatever the order they come in."""
    found: dict[str, Alert] = {}
    for alert in alerts:
        if alert.alert_id not in found or found[alert.alert_id].revision < alert.revision:
            found[alert.alert_id] = alert
    return found


def revisions(case: Case, known: Mapping[str, Alert]) -> list[Alert]:
    """The new revisions of the rule on this scope, in the order in which they happened, without words."""
    mine = [alert for alert in known.values() if (alert.rule, alert.scope) == (case.rule.name, case.scope)]
    news = [revision for alert in mine if alert.standing for revision in _follow(case, alert)]
    now_known = latest([*mine, *news])
    if any(alert.standing for alert in now_known.values()):
        return news
    opened = _open(case, now_known)
    return [*news, *opened, *(revision for alert in opened for revision in _follow(case, alert))]


def _open(case: Case, known: Mapping[str, Alert]) -> list[Alert]:
    """The first window that is news starts an episode; the dearest that shares a minute with it is what is shown.

    An episode that a correction ended and new events revive keeps its id.
    """
    cleared = max((alert.window_start for alert in known.values() if alert.status == "cleared"), default=None)
    tripped = [window for window in case.horizon if (cleared is None or window >= cleared) and case.is_news(window)]
    if not tripped:
        return []
    first = tripped[0]
    before = known.get(episode_id(rule=case.rule.name, scope=case.scope, first_window=first))
    number = before.revision + 1 if before else 1
    return [_revision(case, _shown(case, first, tripped), "open", first_window=first, number=number)]


def _shown(case: Case, first: datetime, tripped: Iterable[datetime]) -> datetime:
    return case.dearest(window for window in tripped if first <= window < first + HOUR)


def _follow(case: Case, alert: Alert) -> list[Alert]:
    """What became of a standing alert: retracted, moved on or grown, then perhaps cleared."""
    first_window = first_window_of(alert)
    tripped = dict.fromkeys(window for window in case.windows_from(first_window) if case.trips(window))
    if not tripped and _is_known(case, first_window, alert.window_start):
        return [_revision(case, alert.window_start, "retracted", first_window=first_window, number=alert.revision + 1)]
    own = [window for window in tripped if window <= alert.window_start]
    news: list[Alert] = []
    for window in case.windows_from(own[-1] if own else alert.window_start + case.rule.step):
        if window in tripped:
            if window >= case.horizon[0] and _matters(case, window, alert):
                shown = _shown(case, window, tripped)
                alert = _revision(case, shown, "updated", first_window=first_window, number=alert.revision + 1)
                news.append(alert)
        elif case.quiet(window):
            cleared = _revision(case, window, "cleared", first_window=first_window, number=alert.revision + 1)
            return [*news, cleared]
    return news


def _is_known(case: Case, *windows: datetime) -> bool:
    """Whether all that these windows spent is at hand, so that not to trip means something."""
    return all(window >= case.followed_since and case.spent(window) is not None for window in windows)


def _matters(case: Case, window: datetime, alert: Alert) -> bool:
    """To a person: another 60 minutes trip, the level rises, or the cost has doubled again."""
    if window < alert.window_start or window >= alert.window_end:
        return window >= alert.window_end
    usual = case.baseline(window)
    said = _doublings(alert.current_value, alert.threshold_value)
    cost_usd = case.cost_usd(window)
    grown = usual is not None and _doublings(cost_usd, six_digits(usual.level_of(cost_usd))) > said
    return grown or case.rule.level > alert.level


def _doublings(cost_usd: Decimal, level: Decimal) -> int:
    """How often the level, as it was published, can be doubled within the cost; no matter when somebody looks."""
    count = 0
    while level > 0 and cost_usd >= level * 2 ** (count + 1):
        count += 1
    return count


def first_window_of(alert: Alert) -> datetime:
    """The window that opened the episode; ``alert_id`` is made of it."""
    return datetime.fromisoformat(str(alert.metadata["first_window"]))


def _revision(case: Case, window: datetime, status: Status, *, first_window: datetime, number: int) -> Alert:
    figures, usual = case.spent(window) or NOTHING, case.baseline(window)
    return Alert(
        alert_id=episode_id(rule=case.rule.name, scope=case.scope, first_window=first_window),
        revision=number,
        status=status,
        level=case.rule.level,
        rule=case.rule.name,
        title="",
        message="",
        metric_name=case.rule.metric_name,
        scope=case.scope,
        window_start=window,
        window_end=window + HOUR,
        current_value=figures.cost_usd,
        threshold_value=six_digits(_level(usual, status, figures.cost_usd)) if usual else Decimal(0),
        expected_value=six_digits(usual.expected) if usual else None,
        ratio=_ratio(figures.cost_usd, usual),
        unpriced_calls=figures.unpriced_calls,
        metadata={
            "first_window": first_window.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
            "basis": usual.basis if usual else "no baseline",
            "currency": "USD",
        },
        timestamp=case.now,
    )


def _level(usual: Baseline, status: Status, cost_usd: Decimal) -> Fraction:
    """The level that was crossed: the lower one by an alert that clears, the upper one otherwise."""
    return usual.clear_below if status == "cleared" else usual.level_of(cost_usd)


def _ratio(cost_usd: Decimal, usual: Baseline | None) -> Decimal | None:
    if usual is None or usual.expected <= 0:
        return None
    return min(RATIO_MAX, rounded(to_decimal(Fraction(cost_usd) / usual.expected), digits=4))
