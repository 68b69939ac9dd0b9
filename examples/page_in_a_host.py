"""The page inside a dashboard of one's own, under /costs, behind the host's own menu and login.

    pip install fastapi uvicorn, and this repository; then, with `costream up --demo` running elsewhere:
    COSTREAM_CLICKHOUSE_URL=http://127.0.0.1:8123 python examples/page_in_a_host.py

and open http://127.0.0.1:8001.
"""

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from sinks.clickhouse.reader import Reader
from stream.runtime.settings import Settings
from stream.runtime.warehouse import warehouse_address
from stream.serving import BOUNDS, application

MENU = """<!doctype html><title>Our dashboards</title>
<nav><a href="/orders">Orders</a> | <a href="/costs/">What our models cost</a></nav>"""

settings = Settings()
host = FastAPI()


@host.get("/", response_class=HTMLResponse)
def menu() -> str:
    return MENU


# Without tokens the page answers to names of this machine alone; a host with a login of its own gives it one token and
# sends that along, or sets COSTREAM_SERVE_TOKENS.
host.mount("/costs", application(Reader(warehouse_address(settings), bounds=BOUNDS), settings=settings, tokens=()))

if __name__ == "__main__":
    uvicorn.run(host, host="127.0.0.1", port=8001)
