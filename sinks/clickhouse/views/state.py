"""Which text of each view a warehouse has, and how it is given that of this build."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Final

from sinks.clickhouse.connect import ClickHouseAddress, open_client, translated
from sinks.clickhouse.views.texts import ViewText, texts

NAMED_MAX: Final = 3

# The table is made by migration 019.
IS_THERE: Final = "EXISTS TABLE schema_views"
APPLIED: Final = "SELECT name, digest FROM schema_views FINAL"
NOTE: Final = """
INSERT INTO schema_views (name, digest)
SELECT made.1, made.2 FROM (SELECT arrayJoin(arrayZip({names:Array(String)}, {digests:Array(String)})) AS made)"""
FORGET: Final = "INSERT INTO schema_views (name, digest) SELECT name, '' FROM schema_views FINAL"


def differing(address: ClickHouseAddress) -> list[ViewText]:
    """The views of this build that the warehouse lacks, or has with another text, in their order; reads only."""
    with closing(open_client(address)) as client, translated(address):
        (is_there,) = client.query(IS_THERE).result_rows[0]
        rows = client.query(APPLIED).result_rows if is_there else []
    applied = {name: digest for name, digest in rows}  # noqa: C416 - typed as rows of any length
    return [text for text in texts() if applied.get(text.name) != text.digest]


def apply(address: ClickHouseAddress) -> list[str]:
    """Make what differs anew, and return the names. A run that broke off is completed by the next one.

    Whoever asks a view meanwhile may be told that it has other columns.
    """
    changed, made = differing(address), dict[str, str]()
    if not changed:
        return []
    with closing(open_client(address)) as client, translated(address):
        try:
            for text in changed:
                client.command(text.statement)
                made[text.name] = text.digest
        finally:
            client.command(NOTE, parameters={"names": list(made), "digests": list(made.values())})
    return list(made)


def named(views: Sequence[str]) -> list[str]:
    """Views in words: one, or how many and some of them."""
    if len(views) <= NAMED_MAX:
        return [f"the view {name}" for name in views]
    return [f"{len(views)} views of this build, such as {views[0]}"]


def forget(address: ClickHouseAddress) -> None:
    """After a step down: the release that has the step before makes all views anew, with its own texts."""
    with closing(open_client(address)) as client, translated(address):
        client.command(FORGET)
