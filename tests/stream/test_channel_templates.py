"""What an alert says on each medium: the shipped words, a team's own, and that no value from an event forges one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.notify.lane import Due
from stream.notify.receivers import MEDIA, Receiver, link_to
from stream.rulebook.channels import EmailEntry, SlackEntry, SmsEntry
from stream.rulebook.templates import MAIL, SHORT, SLACK, SMS_CHARS_MAX, BadTemplate, compiled, worded
from tests.support.told import alert

WHEN = datetime(2026, 3, 2, 10, 0, 5, tzinfo=UTC)
HOSTILE = '<!channel> *u* <https://evil.test|click> & "q" \r\nBcc: x@y.z\n\u202egnp.exe \x1b[31m {{ 7*7 }} {% raw %}'


def words(medium: Any, reminder: int = 0, dashboard: str = "", **about: Any) -> tuple[str, str]:
    return worded(
        medium, alert("5e1f", timestamp=WHEN, **about), title=None, text=None, dashboard=dashboard, reminder=reminder
    )


def test_a_mail_has_the_level_the_time_of_the_alert_the_message_and_that_it_was_sent_automatically() -> None:
    title, text = words(MAIL, level="critical", dashboard="https://grafana.test/d/cost?from=1&to=2")
    assert title == "[CRITICAL] Hourly cost is 4.2x the usual"
    assert text == (
        "2026-03-02 10:00:05 UTC\n\nThe 60 minutes 09:00-10:00 UTC cost 4.20 USD.\n\n"
        "Dashboard: https://grafana.test/d/cost?from=1&to=2\n\n"
        "This message was sent automatically by costream.\nAlert 5e1f, revision 1\n"
    )


def test_a_reminder_says_that_it_is_one() -> None:
    title, text = words(MAIL, reminder=2)
    assert title == "[WARNING] Hourly cost is 4.2x the usual (still so)"
    assert "Alert 5e1f, revision 1, reminder 2" in text
    assert "Dashboard" not in text


def test_slack_gets_a_link_of_ours_and_none_of_anybody_else() -> None:
    title, text = words(SLACK, title=HOSTILE, message=HOSTILE, dashboard="https://grafana.test/d/cost")
    assert text.endswith("\n<https://grafana.test/d/cost|Dashboard>")
    for said in (title, text.removesuffix("\n<https://grafana.test/d/cost|Dashboard>")):
        assert "&lt;!channel&gt;" in said
        assert not {"<", ">", "\n", "\r", "\x1b", "\u202e"} & set(said)


@pytest.mark.parametrize("medium", set(MEDIA.values()))
def test_no_value_of_an_event_breaks_a_line_or_is_a_template(medium: Any) -> None:
    title, text = words(medium, title=HOSTILE, message=HOSTILE)
    assert not {"\n", "\r", "\x1b", "\u202e"} & set(title)
    assert "{{ 7*7 }}" in text
    assert "49" not in title + text
    assert not any(line.startswith("Bcc:") for line in text.splitlines())


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_can_be_told_on_every_medium(title: str, message: str) -> None:
    for medium in set(MEDIA.values()):
        line, text = words(medium, title=title, message=message)
        assert len(line.splitlines()) == 1
        assert len(text) <= medium.text_chars_max


def test_a_text_message_is_cut_where_it_is_too_long() -> None:
    _, text = words(SHORT, message="x" * 1000)
    assert len(text) == SMS_CHARS_MAX
    assert text.startswith("[WARNING] Hourly cost is 4.2x the usual: xxx")
    assert text.endswith("…")


def test_a_team_has_its_own_words() -> None:
    entry = SlackEntry.model_validate(
        {
            "title": "{{ alert.rule }} <!here>",
            "text": "{{ alert.current_value }} of {{ alert.metadata.unit | default('USD') }}",
        }
    )
    notice = Receiver("slack", entry).notice(Due(alert("a", rule="<x>"), 0, 1), "")
    assert (notice.title, notice.text) == ("&lt;x&gt; <!here>", "4.2 of USD")


@pytest.mark.parametrize(
    "text",
    ["{{ ().__class__.__mro__ }}", "{{ alert.nothing }}", "{{ 1 / 0 }}", "{{ alert['x']['y'] }}", "{{ nobody() }}"],
)
def test_a_template_that_reaches_for_what_it_is_not_given_is_not_used(text: str) -> None:
    with pytest.raises(BadTemplate, match="cannot be filled"):
        worded(MAIL, alert("a"), title=None, text=text, dashboard="", reminder=0)


def test_a_template_cannot_read_files_or_settings() -> None:
    for text in ("{% include '/etc/passwd' %}", "{{ self._TemplateReference__context }}", "{% import 'os' as os %}"):
        with pytest.raises(BadTemplate):
            worded(MAIL, alert("a"), title=None, text=text, dashboard="", reminder=0)
    with pytest.raises(BadTemplate, match="line 2"):
        compiled("fine\n{% nonsense %}")


def test_the_link_shows_the_window_of_the_alert() -> None:
    about = alert("a")
    assert link_to("", about) == ""
    assert link_to("https://g.test/d/x", about) == "https://g.test/d/x?from=1772442000000&to=1772445600000"
    assert link_to("https://g.test/d/x?orgId=1", about).startswith("https://g.test/d/x?orgId=1&from=1772442000000&")


def test_every_kind_has_a_medium() -> None:
    assert MEDIA[EmailEntry] is MAIL
    assert MEDIA[SmsEntry] is SHORT
    assert MEDIA[SlackEntry] is SLACK
