"""``python -m sinks.api --write`` writes docs/openapi.json; ``--check`` says whether it is current."""

from __future__ import annotations

import json
import sys
from datetime import UTC
from pathlib import Path
from typing import Final

from costream.pricing import PriceBook
from sinks.api.app import make_api
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.figures.answers import Answers
from sinks.figures.desk import Desk

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


def text() -> str:
    """The document as it is served; nothing is asked for it."""
    reader = Reader(ClickHouseAddress("http://127.0.0.1:8123"))
    desk = Desk(Answers(reader), zone="UTC", zone_of=lambda _: UTC, book=PriceBook.bundled())
    return json.dumps(make_api(desk).openapi(), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    if "--write" in sys.argv[1:]:
        FILE.write_text(text(), encoding="utf-8")
        return 0
    return int(not FILE.is_file() or FILE.read_text(encoding="utf-8") != text())


if __name__ == "__main__":
    sys.exit(main())
