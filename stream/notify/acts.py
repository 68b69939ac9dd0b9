"""What people have done about alerts, as a lane asks for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from costream.alerts import Alert
from sinks.clickhouse.acts import Act
from stream.budgets.judge import RULE as RULE_OF_BUDGETS
from stream.watch.foreseen import RULE as RULE_OF_FORECASTS
from stream.watch.rules.trouble import SCOPE as PIPELINE

OF_BUDGETS: Final = {RULE_OF_BUDGETS, RULE_OF_FORECASTS}


def rule_name(alert: Alert) -> str:
    """As files of rules have it: of a budget or limit its own, and one for all that are about the pipeline."""
    if alert.scope == PIPELINE:
        return PIPELINE
    return str(alert.metadata.get("budget", "")) if alert.rule in OF_BUDGETS else alert.rule


class Acts:
    """Those that may still have an effect."""

    def __init__(self, acts: Iterable[Act] = ()) -> None:
        self._acks: dict[str, list[Act]] = {}
        self._silences = list[Act]()
        for act in acts:
            if act.kind == "ack":
                self._acks.setdefault(act.alert_id, []).append(act)
            else:
                self._silences.append(act)

    def is_acknowledged(self, alert: Alert, now: datetime) -> bool:
        """Somebody sees to this revision of it. A later one is news again."""
        return any(alert.timestamp <= act.at and now < act.until for act in self._acks.get(alert.alert_id, ()))

    def is_silenced(self, alert: Alert, now: datetime) -> bool:
        return any(
            act.at <= now < act.until
            and act.rule in {"", alert.rule, rule_name(alert)}
            and act.scope in {"", alert.scope}
            for act in self._silences
        )
