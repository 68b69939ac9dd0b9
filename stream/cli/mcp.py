"""costream mcp: the figures as tools for a model."""

from __future__ import annotations

from contextlib import closing

from stream.cli import common


def mcp() -> None:
    """Give the figures to a model as tools, by the Model Context Protocol over standard input and output: what was
    spent by any columns and span, who spends most, alerts and why they fired, budgets, forecasts, why a call costs what
    it costs. It reads the warehouse and nothing else; no statement from outside reaches it.

    Example, in the settings of a program that speaks the protocol: {"mcpServers": {"costream": {"command": "costream",
    "args": ["mcp"], "env": {"COSTREAM_CLICKHOUSE_URL": "http://127.0.0.1:8123"}}}}
    """
    settings = common.settings()
    address = common.address(settings)
    common.configure_logs(settings.log_level)
    from sinks.clickhouse.reader import Reader
    from sinks.mcp.tools import make_server
    from stream.serving import BOUNDS, desk_of

    with common.explained(), closing(Reader(address, bounds=BOUNDS)) as reader:
        make_server(desk_of(reader, settings)).run("stdio")
