"""Answers as bytes: JSON with decimals as text, CSV that no table program takes for a formula, and Arrow."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from sinks.figures.plain import plain, rows_of

Format = Literal["json", "csv", "arrow"]
MEDIA: Final[Mapping[Format, str]] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
}
FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
NOTHING: Final[Mapping[str, str]] = {}


def document(request: Request, content: Mapping[str, Any]) -> Response:
    """One JSON object."""
    return _tagged(request, msgspec.json.encode(plain(content)), MEDIA["json"])


def table(
    request: Request, frame: pl.DataFrame, *, form: Format, beside: Mapping[str, Any], more: str | int | None = None
) -> Response:
    """Rows in the form that was asked for. JSON has them as ``rows``, with what stands ``beside`` them, and ``next``,
    from where the rest can be asked for; in the other forms that is the header ``Costream-Next``."""
    if form == "json":
        content = {**plain(beside), "rows": rows_of(frame), "next": more}
        return _tagged(request, msgspec.json.encode(content), MEDIA[form])
    headers = {} if more is None else {"costream-next": str(more)}
    body = _csv(frame) if form == "csv" else _arrow(frame)
    return _tagged(request, body, MEDIA[form], headers)


def _csv(frame: pl.DataFrame) -> bytes:
    return frame.select(_csv_column(frame[name]) for name in frame.columns).write_csv().encode()


def _csv_column(column: pl.Series) -> pl.Series:
    if column.dtype.is_numeric() and not column.dtype.is_decimal():
        return column
    return pl.Series(column.name, [_csv_text(each) for each in column.to_list()], dtype=pl.String)


def _csv_text(value: Any) -> str | None:
    """What CSV has no form for, such as a list, is JSON."""
    if isinstance(value, str):
        return defused(value)
    told = plain(value)
    return told if told is None or isinstance(told, str) else msgspec.json.encode(told).decode()


def defused(text: str | None) -> str | None:
    """A text that a table program would take for a formula stands behind an apostrophe."""
    return f"'{text}" if text and text.startswith(FORMULAS) else text


def _arrow(frame: pl.DataFrame) -> bytes:
    held = io.BytesIO()
    frame.write_ipc_stream(held)
    return held.getvalue()


def _tagged(request: Request, body: bytes, media: str, headers: Mapping[str, str] = NOTHING) -> Response:
    """With an ETag; who has the same answer already is told so, without it."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    told = {**headers, "etag": tag, "cache-control": "private, no-cache", "vary": "accept, authorization, cookie"}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=told)
    return Response(body, media_type=media, headers=told)


def problem(status: int, detail: str, *, headers: Mapping[str, str] = NOTHING) -> Response:
    """A refusal, as RFC 9457 has it."""
    titles = {400: "Bad question", 401: "Token needed", 403: "Forbidden", 404: "Not found", 405: "Not allowed"}
    titles |= {413: "Too large", 429: "Too many requests", 503: "The warehouse does not answer"}
    content = {"type": "about:blank", "title": titles.get(status, "Fault"), "status": status, "detail": detail}
    return Response(
        msgspec.json.encode(content), status_code=status, media_type="application/problem+json", headers=dict(headers)
    )
