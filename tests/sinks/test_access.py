"""Who may ask the page and the API, and what is told to whoever may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from sinks.api.access import COOKIE, Access, NotSafe, require_safe, tokens_of
from sinks.loopback import is_loopback
from tests.support.serving import Served, running

SECRET = "a-token-of-some-length"
OTHER = "another-of-some-length"


def application() -> FastAPI:
    app = FastAPI()
    for path in ("/v1/total", "/login", "/healthz", "/", "/static/page.css", "/static", "/loginx"):
        app.add_api_route(path, lambda: PlainTextResponse("the figures"))
    return app


@pytest.fixture(scope="module")
def local() -> Iterator[Served]:
    with running(Access(application(), tokens=())) as served:
        yield served


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    with running(Access(application(), tokens=tokens_of(f"ann:{SECRET},bob:{OTHER}"))) as served:
        yield served


# --- without a token -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "127.7.7.7"])
def test_without_a_token_it_answers_to_names_of_this_machine(local: Served, name: str) -> None:
    assert local.get("/v1/total", host=f"{name}:{local.port}").text == "the figures"
    assert local.get("/v1/total", host=name).status == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8000", "", "localhost.evil"])
def test_a_page_from_elsewhere_cannot_ask_through_a_browser(local: Served, name: str) -> None:
    """A name that somebody else has led to this machine."""
    answer = local.get("/v1/total", host=name)
    assert answer.status == 403
    assert "names of this machine alone" in answer.json["detail"]


# --- with one --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_with_a_token_it_answers_to_whoever_sends_one(guarded: Served, secret: str) -> None:
    assert guarded.get("/v1/total", authorization=f"Bearer {secret}").text == "the figures"
    assert guarded.get("/v1/total", authorization=f"bearer  {secret} ").status == 200
    assert guarded.get("/v1/total", cookie=f"x=1; {COOKIE}={secret}").status == 200
    assert guarded.get("/v1/total", authorization=f"Bearer {secret}", host="costs.example").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer nobody-has-this-one"},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": SECRET},
        {"authorization": f"Bearer ann:{SECRET}"},
        {"cookie": f"{COOKIE}={SECRET[:-1]}"},
        {"cookie": f"{COOKIE}="},
        {"cookie": "\x01;;=;"},
        {"authorization": "Bearer tökén-öf-söme-length".encode().decode("latin-1")},
    ],
)
def test_whoever_sends_none_is_told_how_and_no_figure(guarded: Served, headers: dict[str, str]) -> None:
    answer = guarded.get("/v1/total", **headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="costream"'
    assert "the figures" not in answer.text
    assert SECRET not in answer.text


def test_a_token_in_an_address_is_none_since_addresses_are_logged(guarded: Served) -> None:
    assert guarded.get(f"/v1/total?token={SECRET}").status == 401


def test_a_browser_is_led_to_where_a_token_is_given(guarded: Served) -> None:
    answer = guarded.get("/", accept="text/html,*/*")
    assert (answer.status, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *[("/login", 200), ("/static/page.css", 200), ("/healthz", 200)],
        *[("/static", 401), ("/loginx", 401), ("/static/../v1/total", 404)],
    ],
)
def test_what_is_open_is_named_one_by_one(guarded: Served, path: str, status: int) -> None:
    assert guarded.get(path).status == status


# --- how often -------------------------------------------------------------------------------------------------------


def test_each_token_has_so_many_requests_a_minute() -> None:
    access = Access(application(), tokens=tokens_of(f"ann:{SECRET},bob:{OTHER}"), requests_a_minute=5)
    with running(access) as served:
        asked = [served.get("/v1/total", authorization=f"Bearer {SECRET}") for _ in range(12)]
        refused = [answer for answer in asked if answer.status == 429]
        assert 2 <= len(refused) <= 7, "a minute may have ended meanwhile"
        assert refused[0].headers["retry-after"] == "60"
        assert served.get("/v1/total", authorization=f"Bearer {OTHER}").status == 200
        assert served.get("/", authorization=f"Bearer {SECRET}").status == 200, "pages are not counted"


# --- what every answer has -------------------------------------------------------------------------------------------


def test_nothing_from_elsewhere_is_run_or_shown(local: Served, guarded: Served) -> None:
    for answer in (local.get("/"), guarded.get("/v1/total"), local.get("/", host="evil.example")):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "script-src" not in answer.headers["content-security-policy"], "scripts are ours alone, none inline"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_host_that_starts_and_ends_its_parts_reaches_the_application() -> None:
    came = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        came.append(scope["type"])

    async def nothing() -> Message:
        raise AssertionError

    async def no_answer(_: Message) -> None:
        raise AssertionError

    await Access(app, tokens=tokens_of(SECRET))({"type": "lifespan"}, nothing, no_answer)
    assert came == ["lifespan"]


# --- before it starts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bind", "local"),
    [
        ("127.0.0.1", True),
        ("127.7.7.7", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("costs.example", False),
    ],
)
def test_beyond_this_machine_it_needs_a_token(bind: str, *, local: bool) -> None:
    assert is_loopback(bind) == local
    require_safe(bind, tokens_of(f"ann:{SECRET}"))
    if local:
        require_safe(bind, ())
    else:
        with pytest.raises(NotSafe, match="anybody could read what is spent"):
            require_safe(bind, ())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{SECRET},{OTHER}", "one part has no name"),
        (f":{SECRET}", "one part has no name"),
        ("short", "the token of 'reader' has 5 characters"),
        ("ann:short", "the token of 'ann' has 5 characters and needs 16"),
        (f"ann:{SECRET},ann:{OTHER}", "a name stands twice"),
    ],
)
def test_tokens_that_cannot_be_meant_are_refused_and_not_told(text: str, says: str) -> None:
    with pytest.raises(NotSafe) as refused:
        tokens_of(text)
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_single_token_needs_no_name() -> None:
    assert tokens_of(SECRET) == tokens_of(f"reader:{SECRET}")


def test_a_token_is_not_told_where_it_is_shown() -> None:
    assert SECRET not in repr(tokens_of(f"ann:{SECRET}"))
    assert tokens_of("") == tokens_of(" , ") == ()
