"""costream clickhouse: the embedded engine for several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stream.cli import common


def clickhouse(
    data_dir: Annotated[Path, typer.Option(help="The folder that holds the data; created where missing.")],
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one and prints it.")] = 8123,
    bind: Annotated[str, typer.Option(help="A loopback address; any other is refused.")] = "127.0.0.1",
) -> None:
    """Serve the embedded ClickHouse engine over HTTP on this machine, for development and tests. Not for production.

    COSTREAM_CLICKHOUSE_PASSWORD is what a client must give (empty: anyone on this machine may write), and
    COSTREAM_CLICKHOUSE_READ_PASSWORD lets its bearer read only. Files, other hosts and programs are out of reach.

    Example: costream clickhouse --data-dir ./warehouse --port 8123
    """
    settings = common.settings()
    common.configure_logs(settings.log_level)
    from sinks.clickhouse.embedded.endpoint import Tokens, serve

    tokens = Tokens(
        write=settings.clickhouse_password.get_secret_value(), read=settings.clickhouse_read_password.get_secret_value()
    )
    data_dir.mkdir(parents=True, exist_ok=True)
    with common.explained():
        serve(str(data_dir), host=bind, port=port, tokens=tokens, on_ready=_announce)


def _announce(address: str) -> None:
    typer.echo(f"{address}  development and tests only, this machine only; COSTREAM_CLICKHOUSE_URL={address}")
