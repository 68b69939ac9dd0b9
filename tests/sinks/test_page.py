"""The page in a real browser: what it shows, that it takes in what is new, and that no name in it does anything.

Pictures of every view, at both widths and in both themes, are in .cache/page after a run: look at them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from playwright.sync_api import Browser, Page, expect

from sinks.api.access import tokens_of
from sinks.clickhouse.acts import acts_of
from sinks.clickhouse.alert_rows import alert_rows
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.figures import answers
from sinks.figures.answers import KEPT_SECONDS
from sinks.page.live import LOOK_SECONDS
from stream.runtime.settings import Settings
from stream.serving import application
from tests.producers.test_alert import alert
from tests.support.browser import SHOTS, chromium
from tests.support.figures import CALLS, HOSTILE, call
from tests.support.serving import Served, running, served
from tests.support.warehouse import Embedded, Server
from tests.support.warehouse_rows import store_calls

WIDTHS: Final = (1600, 400)
NEWS_MS_MAX: Final = 90_000  # on a machine that does other things too
VIEWS: Final = {
    "overview": "/",
    "explore": "/explore?span=7d&by=model",
    "explore-of-users": "/explore?span=7d&by=user_id&feature=chat",
    "alerts": "/alerts?all=1",
    "alert": "/alert?id=spike",
    "budgets": "/budgets",
    "call": "/call?id=n2",
    "no-call": "/call?id=nothing",
    "refused": "/explore?span=decade",
}
DRAWN: Final = "[...document.querySelectorAll('.chart')].every((place) => place.querySelector('canvas'))"
DIFFERENCE: Final[dict[str, Any]] = {
    "usd": "3.200000",
    "effects": {"calls": "3.000000", "price": "0.200000", "model_mix": "0.000000"},
}


@pytest.fixture(scope="module")
def address(clickhouse_embedded: Embedded | Server) -> ClickHouseAddress:
    address = clickhouse_embedded.fresh()
    now = datetime.now(UTC)
    history = [
        call(f"day {day} {number}", now - timedelta(days=day, hours=number), 40 + 7 * (day % 7), model=model)
        for day in range(3, 45)
        for number, model in enumerate(("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"))
    ]
    with closing(Writer(address)) as writer:
        store_calls(writer, [*CALLS, *history])
        writer.insert(
            "alerts",
            alert_rows(
                [
                    alert(alert_id="spike", metadata={"difference": DIFFERENCE}),
                    alert(alert_id="odd", title=HOSTILE, message=HOSTILE, scope=f"feature={HOSTILE}"),
                    alert(alert_id="over", status="cleared", revision=2),
                ]
            ),
        )
    return address


@pytest.fixture(scope="module")
def served_page(address: ClickHouseAddress) -> Iterator[Served]:
    with served(address) as page:
        yield page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Playwright's own loop runs in the thread that starts it, and none may run there already."""
    with chromium() as browser:
        yield browser


@contextmanager
def opened(browser: Browser, *, width: int = 1600, scheme: Any = "light", scripts: bool = True) -> Iterator[Page]:
    """A page whose console stays silent."""
    said: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
    )
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    try:
        yield page
    finally:
        context.close()
    unexpected = [line for line in said if "400 (Bad Request)" not in line and "401 (Unauthorized)" not in line]
    assert unexpected == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_view_is_readable_at_both_widths_and_in_both_themes(
    browser: Browser, served_page: Served, width: int, scheme: str
) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    with opened(browser, width=width, scheme=scheme) as page:
        for name, path in VIEWS.items():
            page.goto(served_page.url + path)
            page.wait_for_function(
                "[...document.querySelectorAll('.chart')].every((place) => place.querySelector('canvas'))"
            )
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} runs over the edge"
            page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png", full_page=True)


def test_the_overview_says_what_was_spent_by_whom_and_where_it_will_end(browser: Browser, served_page: Served) -> None:
    with opened(browser) as page:
        page.goto(f"{served_page.url}/?span=90d")
        for title in ("This month", "Expected by the end of the month", "Today", "Last 60 minutes"):
            expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="search", exact=True))
        expect(row.locator("data").first).to_have_attribute("value", "4.2 USD")
        expect(page.get_by_role("heading", name="2 alerts stand now")).to_be_visible()


@pytest.mark.slow
def test_what_no_price_is_known_of_is_unknown_and_never_0(browser: Browser, served_page: Served) -> None:
    with opened(browser) as page:
        page.goto(f"{served_page.url}/explore?span=7d&by=model")
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="aurora", exact=True))
        expect(row.locator("data")).to_have_text("unknown")
        expect(page.locator(".panel .beside .unpriced").first).to_have_text("1 call unpriced")


def test_one_drills_down_to_a_single_call_and_why_it_costs_so(browser: Browser, served_page: Served) -> None:
    with opened(browser) as page:
        page.goto(f"{served_page.url}/explore?span=7d&by=feature")
        page.get_by_role("link", name="chat", exact=True).click()
        expect(page.locator(".chip")).to_contain_text("Feature: chat")
        page.get_by_role("link", name="claude-sonnet-4-5", exact=True).click()
        expect(page.locator(".chip")).to_have_count(2)
        page.get_by_role("link", name="n2", exact=True).click()
        expect(page.locator(".figure data")).to_have_attribute("value", "2.5 USD")


@pytest.mark.slow
def test_a_hostile_name_is_shown_as_it_is_and_does_nothing(browser: Browser, served_page: Served) -> None:
    with opened(browser) as page:
        page.goto(f"{served_page.url}/explore?span=7d&by=feature")
        page.get_by_role("link", name=HOSTILE, exact=True).click()
        expect(page.locator(".chip")).to_contain_text(HOSTILE)
        expect(page.locator(".figure data").first).to_have_attribute("value", "0.5 USD")
        box = page.locator(".chart").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # what the chart says of it
        page.goto(f"{served_page.url}/alerts")
        expect(page.locator("article").filter(has_text="onerror").first).to_contain_text(HOSTILE)
        assert page.locator("main img").count() == 0


def test_a_new_call_changes_the_page_without_a_reload(
    browser: Browser, clickhouse_embedded: Embedded | Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "KEPT_TIMES", 0)  # a question takes long where many tests run at once
    address = clickhouse_embedded.fresh()
    with served(address) as page_of_its_own, opened(browser) as page, closing(Writer(address)) as writer:
        page.goto(f"{page_of_its_own.url}/explore?span=24h")
        expect(page.locator(".figure").first).to_have_text("unknown")
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        page.evaluate("window.isTheSame = true")
        store_calls(writer, [call("new", datetime.now(UTC) - timedelta(seconds=1), 123)])
        block = {"source": "t", "source_partition": 0, "offset_block": 0, "offset_first": 0, "received": 1, "stored": 1}
        writer.insert("ingest_ledger", pl.DataFrame([block]))
        expect(page.locator(".figure").first).to_have_text("$1.23", timeout=NEWS_MS_MAX)
        assert page.evaluate("window.isTheSame")


def test_news_is_looked_for_often_enough_to_be_told_within_5_seconds() -> None:
    """A look at the pulse, which is kept for two seconds, and an answer that is kept as long: what is left of five
    seconds is for the questions themselves."""
    assert LOOK_SECONDS + KEPT_SECONDS <= 3


@pytest.mark.slow
def test_a_page_that_cannot_listen_asks(
    browser: Browser, clickhouse_embedded: Embedded | Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "KEPT_TIMES", 0)
    address = clickhouse_embedded.fresh()
    with served(address) as page_of_its_own, opened(browser) as page, closing(Writer(address)) as writer:
        page.add_init_script(
            "delete window.EventSource; const set = setInterval; "
            "window.setInterval = (what, every) => set(what, every / 20);"
        )
        page.goto(f"{page_of_its_own.url}/explore?span=24h")
        expect(page.locator("#live")).to_have_attribute("data-state", "asking")
        page.wait_for_timeout(1_500)
        store_calls(writer, [call("new", datetime.now(UTC) - timedelta(seconds=1), 123)])
        block = {"source": "t", "source_partition": 0, "offset_block": 0, "offset_first": 0, "received": 1, "stored": 1}
        writer.insert("ingest_ledger", pl.DataFrame([block]))
        expect(page.locator(".figure").first).to_have_text("$1.23", timeout=NEWS_MS_MAX)


@pytest.mark.slow
def test_it_can_be_used_without_a_mouse_and_read_without_scripts(browser: Browser, served_page: Served) -> None:
    with opened(browser) as page:
        page.goto(f"{served_page.url}/")
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        reached = set()
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
        assert {"costream", "Overview", "Explore", "Alerts", "Budgets", "id", "◐"} <= reached
        page.locator("#theme").press("Enter")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    with opened(browser, scripts=False) as page:
        page.goto(f"{served_page.url}/explore?span=7d&by=feature")
        expect(page.get_by_role("row").filter(has_text="search").locator("data").first).to_have_text("$4.20")


@pytest.mark.slow
def test_somebody_sees_to_an_alert(browser: Browser, served_page: Served, address: ClickHouseAddress) -> None:
    with opened(browser) as page:
        page.goto(f"{served_page.url}/alert?id=spike")
        expect(page.get_by_role("row").filter(has_text="number of calls").locator("data")).to_have_text("$3.00")
        page.get_by_label("Name").fill("Ann <b>")
        page.get_by_label("Note").fill("the batch is being stopped")
        page.get_by_role("button", name="Nobody needs to be reminded").click()
        expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
    with closing(Reader(address)) as reader:
        (act,) = acts_of(reader, "spike")
    assert (act.kind, act.acted_by, act.note) == ("ack", "Ann <b>", "the batch is being stopped")
    assert act.until - act.at == timedelta(hours=24)


@pytest.mark.parametrize(
    ("form", "origin", "status"),
    [
        ({"id": "odd", "by": "ann", "hours": "24"}, "http://elsewhere.example", 403),
        ({"id": "odd", "by": "ann", "hours": "24"}, "", 403),
        ({"id": "odd", "by": "ann", "hours": "99"}, "own", 400),
        ({"id": "odd", "by": " ", "hours": "4"}, "own", 400),
        ({"id": "nothing", "by": "ann", "hours": "4"}, "own", 400),
        ({"id": "odd", "by": "ann", "hours": "4", "note": "x" * 9_000}, "own", 400),
    ],
)
def test_a_form_that_was_not_filled_in_here_does_nothing(
    served_page: Served, address: ClickHouseAddress, form: dict[str, str], origin: str, status: int
) -> None:
    headers = {"origin": served_page.url if origin == "own" else origin} if origin else {}
    assert served_page.post("/alerts/ack", form, **headers).status == status
    with closing(Reader(address)) as reader:
        assert acts_of(reader, "odd") == []


@pytest.mark.slow
def test_with_a_token_one_logs_in(browser: Browser, address: ClickHouseAddress) -> None:
    secret = "a-token-of-some-length"
    with served(address, tokens=tokens_of(f"finance:{secret}")) as guarded, opened(browser) as page:
        page.goto(f"{guarded.url}/budgets")
        expect(page.get_by_role("heading", name="A token is needed")).to_be_visible()
        page.get_by_label("Token").fill("not this one at all")
        page.get_by_role("button").filter(has_text="Show").click()
        expect(page.get_by_text("That token is not known.")).to_be_visible()
        page.get_by_label("Token").fill(secret)
        page.get_by_role("button").filter(has_text="Show").click()
        expect(page.get_by_role("heading", name="This month", exact=True)).to_be_visible()
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        assert page.evaluate("document.cookie") == "", "scripts cannot read it"


@pytest.mark.slow
def test_it_stands_in_the_menu_of_a_host(browser: Browser, address: ClickHouseAddress) -> None:
    """As examples/page_in_a_host.py mounts it."""
    host = FastAPI()
    host.add_api_route("/", lambda: HTMLResponse('<a href="/costs/">What our models cost</a>'))
    host.add_api_route("/favicon.ico", lambda: Response(status_code=204))
    with closing(Reader(address)) as reader:
        host.mount("/costs", application(reader, settings=Settings(), tokens=()))
        with running(host) as hosting, opened(browser) as page:
            page.goto(hosting.url)
            page.get_by_role("link", name="What our models cost").click()
            expect(page.get_by_role("heading", name="This month", exact=True)).to_be_visible()
            expect(page.locator("#live")).to_have_attribute("data-state", "live")
            page.get_by_role("link", name="search", exact=True).click()
            expect(page.locator(".chip")).to_contain_text("Feature: search")
            assert page.url.startswith(f"{hosting.url}/costs/explore?")
