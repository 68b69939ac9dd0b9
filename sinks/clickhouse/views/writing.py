"""The SQL of the views, made from their templates. ``--write`` renews it; needs the packages of development."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from costream.pricing.exchange import shipped_rates
from sinks.clickhouse.views.texts import FOLDER
from sinks.clickhouse.vocabulary import DIMENSIONS

TEMPLATES: Final = Path(__file__).parent / "templates"
SUFFIX: Final = ".sql.jinja"
HEAD: Final = "-- Made by `make schemas` from templates/{}: edit that.\n"


def written() -> dict[str, str]:
    """The files of ``sql`` by their names, as the templates say it."""
    environment = Environment(  # noqa: S701 - SQL, of nobody else's words
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    columns = {
        name: (kind, comment.replace("'", "''"))
        for name, (kind, comment) in tomllib.loads((TEMPLATES / "columns.toml").read_text("utf-8")).items()
    }
    rates = [
        {"currency": rate.currency, "per_usd": f"{rate.per_usd:f}", "source": rate.source.replace("'", "''")}
        for rate in shipped_rates()
    ]
    context = {"COLUMNS": columns, "DIMENSIONS": list(DIMENSIONS), "SHIPPED_RATES": rates}
    files = {}
    for template in sorted(TEMPLATES.glob(f"*{SUFFIX}")):
        text = environment.get_template(template.name).render(context)
        lines = (line.rstrip() for line in text.strip().splitlines())
        files[template.name.removesuffix(".jinja")] = HEAD.format(template.name) + "\n".join(lines) + "\n"
    return files


def main() -> int:
    current = {file.name: file.read_text("utf-8") for file in FOLDER.glob("*.sql")}
    if "--write" not in sys.argv[1:]:
        return int(written() != current)
    FOLDER.mkdir(exist_ok=True)
    for name in current.keys() - written().keys():
        (FOLDER / name).unlink()
    for name, text in written().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
