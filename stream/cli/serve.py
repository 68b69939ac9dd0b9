"""costream serve: the page and the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer

from stream.cli import common


def serve(
    bind: Annotated[str, typer.Option(help="The address to listen on. Default: COSTREAM_SERVE_BIND.")] = "",
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="0 takes a free one. Default: COSTREAM_SERVE_PORT.")
    ] = None,
) -> None:
    """Show what is spent: a page for people at /, and the read-only HTTP API under /v1, until SIGTERM or Ctrl-C.

    It reads the warehouse and nothing else; an alert that somebody sees to is the one thing it writes. Without
    COSTREAM_SERVE_TOKENS it answers to this machine alone, and refuses to listen beyond it.

    Example: costream serve --port 8000, then open http://127.0.0.1:8000
    """
    settings = common.settings()
    address = common.address(settings)
    common.configure_logs(settings.log_level)
    from sinks.api.access import NotSafe, require_safe, tokens_of
    from stream.serving import run_server

    where = bind or settings.serve_bind
    try:
        tokens = tokens_of(settings.serve_tokens.get_secret_value())
        require_safe(where, tokens)
    except NotSafe as error:
        common.fail(str(error), status=common.EXIT_USAGE)
    with common.explained():
        run_server(
            address,
            bind=where,
            port=settings.serve_port if port is None else port,
            tokens=tokens,
            settings=settings,
            tell=typer.echo,
        )
