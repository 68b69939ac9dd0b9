"""Slack, push endpoints and webhooks: what is posted to them as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import urllib3

from costream.alerts import Level
from sinks.channels.notice import NotDelivered, Notice

TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=10.0)
ANSWER_BYTES_MAX: Final = 200

COLOURS: Final = {Level.INFO: "good", Level.WARNING: "warning", Level.CRITICAL: "danger", Level.EMERGENCY: "#ff0000"}


@dataclass(frozen=True)
class Slack:
    """An incoming webhook. Its address is a secret."""

    address: str = field(repr=False)
    channel: str
    username: str
    icon_emoji: str

    def send(self, notice: Notice) -> None:
        attachment = {
            "color": COLOURS[notice.alert.level],
            "title": notice.title,
            "text": notice.text,
            "ts": int(notice.alert.timestamp.timestamp()),
            "mrkdwn_in": [],
        }
        body = {
            "channel": self.channel,
            "username": self.username,
            "icon_emoji": self.icon_emoji,
            "attachments": [attachment],
        }
        post(self.address, json.dumps(body).encode(), {}, named="Slack")


@dataclass(frozen=True)
class Webhook:
    """The bytes of the topic, posted as they are."""

    address: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    def send(self, notice: Notice) -> None:
        headers = {"Idempotency-Key": notice.key}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        post(self.address, notice.alert.to_json(), headers, named="the receiver")


def post(address: str, body: bytes, headers: Mapping[str, str], *, named: str) -> None:
    """Redirects are not followed: what is secret goes where it was meant to go. Errors name no address."""
    if not address.startswith(("http://", "https://")):
        raise NotDelivered(f"{named}: its secret is no address such as https://example.com/path")
    try:
        with urllib3.PoolManager(retries=False, timeout=TIMEOUT) as pool:
            answer = pool.request(
                "POST",
                address,
                body=body,
                headers={"Content-Type": "application/json", **headers},
                redirect=False,
                preload_content=False,
            )
            said = answer.read(ANSWER_BYTES_MAX).decode(errors="replace")
            answer.close()
    except urllib3.exceptions.NameResolutionError:
        raise NotDelivered(f"{named}: its host is not known") from None
    except urllib3.exceptions.NewConnectionError:
        raise NotDelivered(f"{named}: nobody answers there") from None
    except (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.ReadTimeoutError):
        raise NotDelivered(f"{named} did not answer in time") from None
    except urllib3.exceptions.SSLError:
        raise NotDelivered(f"{named}: its certificate is not one to trust") from None
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise NotDelivered(f"{named}: the connection broke ({type(error).__name__})") from None
    if not 200 <= answer.status < 300:
        raise NotDelivered(f"{named} answered {answer.status} {said}".rstrip())
