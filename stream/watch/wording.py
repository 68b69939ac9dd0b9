"""The words of an alert about 60 minutes: money at 2 decimals, multiples at 1, the unpriced calls beside every cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from costream.alerts import Alert, Driver, Status, plain
from stream.watch.reasons.difference import Difference
from stream.watch.reasons.words import causes, made_of
from stream.watch.scopes import value_of


def worded(alert: Alert) -> Alert:
    """An alert about 60 minutes, with its title and the facts."""
    said = message(
        status=alert.status,
        window=alert.window_start,
        so_far=alert.window_end > alert.timestamp,
        cost_usd=alert.current_value,
        level_usd=alert.threshold_value,
        expected_usd=alert.expected_value,
        ratio=alert.ratio,
        basis=str(alert.metadata["basis"]),
        unpriced_calls=alert.unpriced_calls,
    )
    heading = title(scope=alert.scope, ratio=alert.ratio, status=alert.status)
    return alert.model_copy(update={"title": heading, "message": said})


def explained(alert: Alert, drivers: tuple[Driver, ...], difference: Difference | None) -> Alert:
    """The alert with its reasons, in fields and in words."""
    said, metadata = f"{alert.message} {causes(drivers)}", alert.metadata
    if difference is not None:
        said, metadata = f"{said} {made_of(difference)}", {**metadata, "difference": difference.told()}
    return alert.model_copy(update={"drivers": drivers, "message": said, "metadata": metadata})


def title(*, scope: str, ratio: Decimal | None, status: Status) -> str:
    """One line for a subject; values from events are made safe for it."""
    how_much = f"is {ratio:,.1f}x the usual" if ratio is not None else "is far above the usual"
    match status:
        case "open" | "updated":
            return f"Hourly cost{_of(scope)} {how_much}"
        case "cleared":
            return f"Hourly cost{_of(scope)} is usual again"
        case "retracted":
            return f"Hourly cost{_of(scope)} was corrected: no spike"


def _of(scope: str) -> str:
    if (of_scope := value_of(scope)) is None:
        return ""
    dimension, name = of_scope.dimension.replace("_", " "), plain(of_scope.value)
    if not name:
        return f" of calls without {'an' if dimension[0] in 'aeiou' else 'a'} {dimension}"
    return f" of {name}" if dimension == "feature" else f" of {dimension} {name}"


def message(
    *,
    status: Status,
    window: datetime,
    so_far: bool,
    cost_usd: Decimal,
    level_usd: Decimal,
    expected_usd: Decimal | None,
    ratio: Decimal | None,
    basis: str,
    unpriced_calls: int,
) -> str:
    """The facts of one window. The causes are a sentence of their own (``causes``), known only after a second look."""
    spent = f"{_window(window)} UTC on {window:%Y-%m-%d} cost {_usd(cost_usd)}"
    facts = f"{spent}{' so far' if so_far else ''}, {_compared(expected_usd, ratio, basis)}."
    match status:
        case "open" | "updated":
            facts += f" Alert level: {_usd(level_usd)}."
        case "cleared" if expected_usd is not None:
            facts += f" That is below {_usd(level_usd)}, where the alert clears."
        case "retracted":
            facts = f"After a correction no alert was due. {facts} Alert level: {_usd(level_usd)}."
    calls = f"{unpriced_calls:,} {'call' if unpriced_calls == 1 else 'calls'}"
    return facts + (f" {calls} unpriced: the true cost is higher." if unpriced_calls > 0 else "")


def _window(start: datetime) -> str:
    end = start + timedelta(hours=1)
    return f"The {'60 minutes' if start.minute else 'hour'} {start:%H:%M}-{end:%H:%M}"


def _compared(expected_usd: Decimal | None, ratio: Decimal | None, basis: str) -> str:
    if expected_usd is None:
        return "with no usual cost to compare to"
    if ratio is None:
        return f"where {_usd(expected_usd)} is usual ({basis})"
    return f"{ratio:,.1f}x the usual {_usd(expected_usd)} ({basis})"


def _usd(amount: Decimal) -> str:
    return f"{amount:,.2f} USD"
