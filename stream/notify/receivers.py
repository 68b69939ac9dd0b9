"""Who is told: each channel of the rules, by each of its addresses that is told by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from costream.alerts import Alert
from sinks.channels.email import Email
from sinks.channels.http import Slack, Webhook
from sinks.channels.notice import Channel, Notice
from sinks.channels.services import Service, Sms
from stream.budgets.zones import zone
from stream.notify.acts import rule_name
from stream.notify.lane import Due, Limits, Quiet
from stream.notify.secrets import Secrets
from stream.rulebook.channels import (
    AnyChannel,
    EmailEntry,
    MobilePushEntry,
    ServiceEntry,
    SlackEntry,
    SmsEntry,
    WebhookEntry,
)
from stream.rulebook.rulebook import Rulebook
from stream.rulebook.templates import MAIL, SERVICE, SHORT, SLACK, BadTemplate, Medium, worded

DIGEST_CHARS: Final = 8

MEDIA: Final[Mapping[type[AnyChannel], Medium]] = {
    EmailEntry: MAIL,
    SlackEntry: SLACK,
    SmsEntry: SHORT,
    MobilePushEntry: SHORT,
    WebhookEntry: SHORT,
    ServiceEntry: SERVICE,
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A channel, or one of the addresses of a channel that tells each by itself. ``name`` is that of the ledger."""

    name: str
    entry: AnyChannel
    address: str = ""  # the phone number or the endpoint

    def limits(self, since: datetime) -> Limits:
        hours, quiet = self.entry.remind_hours, self.entry.quiet
        return Limits(
            since,
            remind=timedelta(hours=hours) if hours else None,
            hourly_max=self.entry.hourly_max,
            quiet=Quiet(quiet.start, quiet.end, zone(quiet.zone), quiet.below) if quiet else None,
        )

    def is_told(self, alert: Alert, routes: Mapping[str, tuple[str, ...]]) -> bool:
        if alert.level < self.entry.from_level:
            return False
        named = routes.get(rule_name(alert))
        if named is None:
            return self.entry.by_default
        return self.entry.name in named or self.entry.kind in named

    def channel(self, secrets: Secrets) -> Channel:
        """Raises ``NotDelivered`` where a secret is not set."""
        match self.entry:
            case EmailEntry() as mail:
                return Email(
                    server=mail.smtp_server,
                    port=mail.smtp_port,
                    security=mail.security,
                    sender=mail.sender or mail.recipients[0],
                    recipients=mail.recipients,
                    username=mail.username,
                    password=secrets.get(mail.password_secret) if mail.username is not None else "",
                    subject_prefix=mail.subject_prefix,
                )
            case SlackEntry() as slack:
                return Slack(secrets.get(slack.webhook_secret), slack.channel, slack.username, slack.icon_emoji)
            case SmsEntry() as sms:
                return Sms(secrets.get(sms.gateway_secret), self.address)
            case MobilePushEntry() as push:
                return Webhook(self.address, secrets.get(push.token_secret) if push.token_secret else None)
            case WebhookEntry() as hook:
                address = hook.url or secrets.get(hook.url_secret or "")
                return Webhook(address, secrets.get(hook.token_secret) if hook.token_secret else None)
            case ServiceEntry() as service:
                return Service(secrets.get(service.url_secret))

    def notice(self, due: Due, dashboard: str) -> Notice:
        """In the words of a team's own templates, or in those that are shipped where they cannot be filled."""
        alert, entry, medium = due.alert, self.entry, MEDIA[type(self.entry)]
        link = link_to(dashboard, alert)
        try:
            title, text = worded(
                medium, alert, title=entry.title, text=entry.text, dashboard=link, reminder=due.reminder
            )
        except BadTemplate as error:
            log.warning(
                "template not used",
                channel=self.name,
                alert_id=alert.alert_id,
                reason=str(error),
                next="it is sent in the shipped words; mend the template and publish the rules",
            )
            title, text = worded(medium, alert, title=None, text=None, dashboard=link, reminder=due.reminder)
        return Notice(f"{alert.alert_id}-{alert.revision}-{due.reminder}", alert, title, text, due.reminder)


@dataclass(frozen=True, slots=True)
class Receivers:
    """All that are told by one set of rules, and which rules are told on which channels."""

    all: tuple[Receiver, ...] = ()
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, rulebook: Rulebook) -> Receivers:
        entries = (channel.entry for channel in rulebook.channels if channel.entry.on)
        return cls(tuple(receiver for entry in entries for receiver in receivers_of(entry)), rulebook.routes)


def receivers_of(entry: AnyChannel) -> tuple[Receiver, ...]:
    """One for each address that is told by itself, so that one that fails repeats nothing to the others."""
    match entry:
        case SmsEntry():
            addresses = entry.phone_numbers
        case MobilePushEntry():
            addresses = entry.endpoints
        case _:
            return (Receiver(entry.name, entry),)
    return tuple(Receiver(f"{entry.name}/{_digest(address)}", entry, address) for address in dict.fromkeys(addresses))


def link_to(dashboard: str, alert: Alert) -> str:
    """The dashboard at the window of the alert, as Grafana understands it; empty without one."""
    if not dashboard:
        return ""
    start, end = (int(moment.timestamp() * 1000) for moment in (alert.window_start, alert.window_end))
    return f"{dashboard}{'&' if '?' in dashboard else '?'}from={start}&to={end}"


def _digest(address: str) -> str:
    """A phone number or an address is nobody's business who reads the ledger."""
    return hashlib.sha256(address.encode()).hexdigest()[:DIGEST_CHARS]
