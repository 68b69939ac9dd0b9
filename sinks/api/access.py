"""Who may ask: nobody from outside without a token, nobody through a browser's other tab, and nobody all the time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sinks.api.formats import problem
from sinks.loopback import host_name, is_loopback

COOKIE: Final = "costream_token"
TOKEN_CHARS_MIN: Final = 16
ALONE: Final = "reader"  # whose token it is, where there is one and it has no name
OPEN_PATHS: Final = ("/healthz", "/login", "/static/")  # the page where a token is given, and what it looks like
REQUESTS_A_MINUTE: Final = 600

SECURITY: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


class NotSafe(ValueError):
    """It would answer to anybody; nothing was started."""


@dataclass(frozen=True, slots=True)
class Token:
    """Of one reader; requests are counted by ``name``. The token itself is not kept."""

    name: str
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, secret: str) -> Token:
        return cls(name, hashlib.sha256(secret.encode()).digest())


def tokens_of(text: str) -> tuple[Token, ...]:
    """Of ``NAME:TOKEN``, by comma; a single one may go without a name. Raises ``NotSafe``, which names no token."""
    found = []
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for part in parts:
        name, _, secret = part.rpartition(":")
        if not name and (len(parts) > 1 or ":" in part):
            raise NotSafe("COSTREAM_SERVE_TOKENS: write NAME:TOKEN, by comma; one part has no name")
        name = name or ALONE
        if len(secret) < TOKEN_CHARS_MIN:
            raise NotSafe(
                f"COSTREAM_SERVE_TOKENS: the token of '{name}' has {len(secret)} characters and needs "
                f"{TOKEN_CHARS_MIN}: make one by `openssl rand -hex 24`"
            )
        found.append(Token.of(name, secret))
    if len({token.name for token in found}) != len(found):
        raise NotSafe("COSTREAM_SERVE_TOKENS: a name stands twice")
    return tuple(found)


def require_safe(bind: str, tokens: Sequence[Token]) -> None:
    """Raises ``NotSafe`` where others could reach it and no token is needed."""
    if not tokens and not is_loopback(bind):
        raise NotSafe(
            f"COSTREAM_SERVE_BIND is {bind}, which others can reach, and there is no token: anybody could read what is "
            "spent. Set COSTREAM_SERVE_TOKENS=NAME:TOKEN, or bind 127.0.0.1; nothing was started"
        )


class Access:
    """Around the application. Without tokens it answers to names of this machine alone, so that no page from elsewhere
    can ask through a browser; with tokens, to whoever sends one: as ``Authorization: Bearer``, or in the cookie that
    the page sets."""

    def __init__(self, app: ASGIApp, *, tokens: Sequence[Token], requests_a_minute: int = REQUESTS_A_MINUTE) -> None:
        self._app, self._tokens = app, tuple(tokens)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._rate = RateLimitItemPerMinute(requests_a_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, _secured(send))

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers, path = Headers(scope=scope), _path(scope)
        if not self._tokens:
            if not is_loopback(host_name(headers.get("host", ""))):
                return problem(403, "this address answers to names of this machine alone: 127.0.0.1 or localhost")
            return self._too_many("local") if path.startswith("/v1/") else None
        name = self.named(given(headers))
        if name is None:
            if any(path == each or (each.endswith("/") and path.startswith(each)) for each in OPEN_PATHS):
                return None
            if "text/html" in headers.get("accept", ""):
                return RedirectResponse(f"{scope.get('root_path', '')}/login", status_code=303)
            told = {"www-authenticate": 'Bearer realm="costream"'}
            return problem(401, "a token is needed: send it as `Authorization: Bearer TOKEN`", headers=told)
        return self._too_many(name) if path.startswith("/v1/") else None

    def named(self, secret: str) -> str | None:
        """Whose token it is; every one is compared, so that time tells nothing."""
        digest, found = hashlib.sha256(secret.encode()).digest(), None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token.name
        return found

    def _too_many(self, name: str) -> ASGIApp | None:
        if self._limiter.hit(self._rate, name):
            return None
        told = f"more than {self._rate.amount} requests in a minute: wait, or ask for more at once"
        return problem(429, told, headers={"retry-after": "60"})


def given(headers: Headers) -> str:
    """The token of a request, or nothing."""
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return secret.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _path(scope: Scope) -> str:
    """Within the application, wherever that is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(root) else path


def _secured(send: Send) -> Callable[[Any], Awaitable[None]]:
    async def with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            told = [(name.encode(), value.encode()) for name, value in SECURITY.items()]
            message = {**message, "headers": [*message.get("headers", []), *told]}
        await send(message)

    return with_headers
