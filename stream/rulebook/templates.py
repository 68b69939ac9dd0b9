"""An alert in words: Jinja templates, shipped ones and a team's own, and how each medium is kept from being forged.

Text in an alert may come from anybody who sends events: a user's id, a feature's name. Every value that a template puts
out is escaped for the medium; what stands in the template itself is the team's own and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from costream.alerts import Alert, plain

SMS_CHARS_MAX: Final = 459  # three messages joined
TITLE_CHARS_MAX: Final = 250
TEXT_CHARS_MAX: Final = 8_000

Escape = Callable[[str], str]


class BadTemplate(ValueError):
    """A template that cannot be used, with the line and why."""


def slack_text(text: str) -> str:
    """``&``, ``<`` and ``>`` are what Slack makes links, mentions and calls to everybody of."""
    return plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(frozen=True, slots=True)
class Medium:
    """What a kind of channel shows: its templates, and how text from events is kept harmless."""

    title: str
    text: str
    escape: Escape = plain
    text_chars_max: int = TEXT_CHARS_MAX


TITLE: Final = "[{{ alert.level | upper }}] {{ alert.title }}{% if reminder %} (still so){% endif %}"

MAIL: Final = Medium(
    title=TITLE,
    text="""\
{{ time }}

{{ alert.message }}

{% if dashboard %}Dashboard: {{ dashboard }}

{% endif %}\
This message was sent automatically by costream.
Alert {{ alert.alert_id }}, revision {{ alert.revision }}{% if reminder %}, reminder {{ reminder }}{% endif %}
""",
)
SLACK: Final = Medium(
    title=TITLE,
    text="{{ alert.message }}{% if dashboard %}\n<{{ dashboard }}|Dashboard>{% endif %}",
    escape=slack_text,
)
SHORT: Final = Medium(title=TITLE, text="{{ title }}: {{ alert.message }}", text_chars_max=SMS_CHARS_MAX)
SERVICE: Final = Medium(
    title=TITLE, text="{{ time }}\n{{ alert.message }}{% if dashboard %}\n{{ dashboard }}{% endif %}"
)


class _Done(str):
    """Text that is escaped already."""

    __slots__ = ()


@lru_cache(maxsize=256)
def compiled(text: str, escape: Escape = plain) -> Template:
    """Raises ``BadTemplate``. A template can read what it is given, and can do nothing else."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, _Done) else escape("" if value is None else str(value)),
    )
    try:
        return environment.from_string(text)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise BadTemplate(f"no Jinja template: {f'line {line}: ' if line else ''}{error}") from None


def worded(
    medium: Medium, alert: Alert, *, title: str | None, text: str | None, dashboard: str, reminder: int
) -> tuple[str, str]:
    """Title and text by a team's own templates, or by those of the medium where they are None. Raises ``BadTemplate``
    where they cannot be filled with this alert."""
    values = {
        "alert": alert.model_dump(mode="json"),
        "time": f"{alert.timestamp:%Y-%m-%d %H:%M:%S} UTC",
        "dashboard": dashboard,
        "reminder": reminder,
    }
    line = _filled(title or medium.title, medium.escape, values)
    line = " ".join(line.split())[:TITLE_CHARS_MAX]
    return line, _cut(_filled(text or medium.text, medium.escape, values | {"title": _Done(line)}), medium)


def _filled(text: str, escape: Escape, values: Mapping[str, Any]) -> str:
    try:
        return compiled(text, escape).render(values)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise BadTemplate(f"the template cannot be filled: {error}") from None


def _cut(text: str, medium: Medium) -> str:
    most = medium.text_chars_max
    return text if len(text) <= most else text[: most - 1] + "…"
