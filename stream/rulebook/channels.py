"""The channels of a file of rules: where alerts reach people.

    [[slack]]
    channel = "#costs"

    [[email]]
    smtp_server = "mail.example.com"
    recipients = ["finance@example.com"]
    from_level = "critical"

What is secret (passwords, addresses that let anybody post) is named here and stands elsewhere: in the worker's
environment or in a file of secrets. So a file of rules can be read by everybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from costream.alerts import Level
from costream.events import matches
from costream.files import Strict
from stream.budgets.zones import zone
from stream.rulebook.templates import BadTemplate, compiled
from stream.rulebook.words import LevelName, Name

HOURLY_MAX: Final = 60  # messages to one channel; whoever gets a thousand reads none
REMIND_HOURS_MAX: Final = 24 * 7
ADDRESSES_MAX: Final = 100
PORT_MAX: Final = 2**16 - 1
CLOCK: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


def _template(text: str) -> str:
    try:
        compiled(text)
    except BadTemplate as error:
        raise ValueError(str(error)) from None
    return text


def _address(value: str) -> str:
    """An address to post to. Files of rules are stored in the warehouse and shown, so it may hold no password."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"'{value}' is no address such as https://example.com/alerts")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address with a user or a password in it is a secret: give it as one")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError(f"{value!r} is not one line of text")
    return value


def _mail_address(value: str) -> str:
    name, at, host = value.rpartition("@")
    if not (name and at and host) or not value.isascii() or any(sign in value for sign in ' ,;:<>()[]"\\\t\r\n'):
        raise ValueError(f"{value!r} is no address such as finance@example.com")
    return value


def _phone_number(value: str) -> str:
    digits = value.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and 4 <= len(digits) <= 15):
        raise ValueError(f"'{value}' is no phone number such as +821012345678")
    return value


Template = Annotated[str, AfterValidator(_template)]
Address = Annotated[str, AfterValidator(_address)]
Line = Annotated[str, AfterValidator(_one_line), Field(max_length=200)]
MailAddress = Annotated[str, AfterValidator(_mail_address), Field(max_length=254)]
PhoneNumber = Annotated[str, AfterValidator(_phone_number)]
Port = Annotated[int, Field(ge=1, le=PORT_MAX)]
SEVERAL: Final = Field(min_length=1, max_length=ADDRESSES_MAX)


def _clock(value: Any) -> time:
    if not isinstance(value, str) or not matches(CLOCK, value):
        raise ValueError(f'{value!r} is no time of day such as "22:00"')
    return time.fromisoformat(value)


def _zone(value: str) -> str:
    zone(value)
    return value


Clock = Annotated[time, BeforeValidator(_clock), WithJsonSchema({"type": "string", "pattern": CLOCK})]


class QuietHours(Strict):
    """Hours of each day, by the clocks of a zone; they may go over midnight."""

    start: Clock
    end: Clock
    zone: Annotated[str, AfterValidator(_zone)]
    below: LevelName = Field(default=Level.CRITICAL, description="the levels below this one wait until they are over")


class Channel(Strict):
    """What every channel has."""

    kind: ClassVar[str]

    name: Name
    on: bool = True
    from_level: LevelName = Field(default=Level.INFO, description="the lowest level that it is told")
    by_default: bool = Field(default=True, description="false: it is told only what a rule that names it tells")
    remind_hours: int = Field(
        default=1,
        ge=0,
        le=REMIND_HOURS_MAX,
        description="an alert that still stands is told again after so many hours, then after twice as many, and so on "
        "up to a day; 0: never",
    )
    hourly_max: int = Field(
        default=HOURLY_MAX,
        ge=1,
        le=10_000,
        description="messages in an hour; what is more waits, the highest level goes first",
    )
    quiet: QuietHours | None = None
    title: Template | None = Field(default=None, description="a Jinja template in place of the shipped one")
    text: Template | None = Field(default=None, description="a Jinja template in place of the shipped one")
    note: str = ""

    @property
    def secrets(self) -> Iterator[str]:
        """The names of the secrets that it cannot do without."""
        return iter(())


class EmailEntry(Channel):
    """Mail to all recipients at once."""

    kind: ClassVar = "email"

    name: Name = "email"
    smtp_server: Line
    smtp_port: Port = 587
    security: Literal["starttls", "tls", "none"] = Field(default="starttls", description="none: not encrypted")
    sender: MailAddress | None = Field(default=None, description="without it the first recipient")
    recipients: Annotated[tuple[MailAddress, ...], SEVERAL]
    subject_prefix: Annotated[str, Field(max_length=100)] = Field(default="", description="stands before [LEVEL]")
    username: Line | None = Field(default=None, description="without it nobody logs in")
    password_secret: Name = Field(default="smtp_password", description="the name of the secret of the username")

    @model_validator(mode="after")
    def _keeps_its_password(self) -> Self:
        if self.username is not None and self.security == "none":
            raise ValueError('security: with "none" the password of the username would travel in the open')
        if self.subject_prefix and not self.subject_prefix.isprintable():
            raise ValueError(f"subject_prefix: {self.subject_prefix!r} is not one line of text")
        return self

    @property
    def secrets(self) -> Iterator[str]:
        if self.username is not None:
            yield self.password_secret


class SlackEntry(Channel):
    """A message to an incoming webhook of Slack."""

    kind: ClassVar = "slack"

    name: Name = "slack"
    channel: Line = "#cost-alerts"
    username: Line = "Cost Alert Bot"
    icon_emoji: Line = ":money_with_wings:"
    webhook_secret: Name = Field(default="slack_webhook", description="the name of the secret: the webhook's address")

    @property
    def secrets(self) -> Iterator[str]:
        yield self.webhook_secret


class SmsEntry(Channel):
    """A short message to each phone number, by any gateway that Apprise knows."""

    kind: ClassVar = "sms"

    name: Name = "sms"
    from_level: LevelName = Level.CRITICAL
    phone_numbers: Annotated[tuple[PhoneNumber, ...], SEVERAL]
    gateway_secret: Name = Field(
        default="sms_gateway",
        description="the name of the secret: the gateway's Apprise URL without a number to send to, such as "
        "twilio://SID:TOKEN@+15551234567",
    )

    @property
    def secrets(self) -> Iterator[str]:
        yield self.gateway_secret


class MobilePushEntry(Channel):
    """The alert as JSON to each endpoint of a push service."""

    kind: ClassVar = "mobile_push"

    name: Name = "mobile_push"
    endpoints: Annotated[tuple[Address, ...], SEVERAL]
    token_secret: Name | None = Field(default=None, description="the name of the secret: sent as a bearer token")

    @property
    def secrets(self) -> Iterator[str]:
        if self.token_secret is not None:
            yield self.token_secret


class WebhookEntry(Channel):
    """The alert as JSON to one address, for whatever automates."""

    kind: ClassVar = "webhook"

    name: Name = "webhook"
    url: Address | None = None
    url_secret: Name | None = Field(default=None, description="in place of url: the name of the secret that it is")
    token_secret: Name | None = Field(default=None, description="the name of the secret: sent as a bearer token")

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        if (self.url is None) == (self.url_secret is None):
            raise ValueError("url: give the address, or the name of the secret that it is (url_secret), and not both")
        return self

    @property
    def secrets(self) -> Iterator[str]:
        yield from (name for name in (self.url_secret, self.token_secret) if name is not None)


class ServiceEntry(Channel):
    """Any other service that Apprise knows: Teams, Discord, PagerDuty, Opsgenie, ntfy and some 160 more."""

    kind: ClassVar = "service"

    name: Name = "service"
    url_secret: Name = Field(description="the name of the secret: its Apprise URL")

    @property
    def secrets(self) -> Iterator[str]:
        yield self.url_secret


AnyChannel = EmailEntry | SlackEntry | SmsEntry | MobilePushEntry | WebhookEntry | ServiceEntry
KINDS: Final = tuple(
    entry.kind for entry in (EmailEntry, SlackEntry, SmsEntry, MobilePushEntry, WebhookEntry, ServiceEntry)
)
