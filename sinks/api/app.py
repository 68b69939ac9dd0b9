"""The API as an application: what its questions are answered with where they cannot be answered, too."""

from __future__ import annotations

from typing import Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from sinks.api.formats import problem
from sinks.api.routes import api
from sinks.errors import (
    SchemaBehind,
    WarehouseError,
    WarehouseTooSmall,
    WarehouseUnavailable,
    code_of,
)
from sinks.figures.desk import Desk
from sinks.figures.refusals import refused_in
from sinks.figures.spans import BadQuestion

TITLE: Final = "costream"
ABOUT: Final = (
    "What every paid API call costs, exactly and now. Read-only. Money is decimal text; null is unknown, which is "
    "never 0. Beside every cost stand the calls that have no price. Columns are those of the warehouse's views "
    "(docs/data.md)."
)
VERSION: Final = "1"
TOO_MUCH: Final = {
    158,
    159,
    160,
    241,
    307,
    396,
}  # rows, time, estimated time, memory, bytes, rows or bytes of an answer

log = structlog.get_logger(__name__)


def make_api(desk: Desk) -> FastAPI:
    """The API alone, without its doors (``sinks.api.access``)."""
    app = FastAPI(
        title=TITLE,
        description=ABOUT,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.desk = desk
    app.include_router(api)
    app.add_api_route("/healthz", _healthz, include_in_schema=False)
    app.add_exception_handler(BadQuestion, _bad_question)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(WarehouseError, _warehouse)
    app.add_exception_handler(HTTPException, _http)
    return app


async def _healthz() -> Response:
    return Response("ok\n", media_type="text/plain")


async def _bad_question(_: Request, error: Exception) -> Response:
    return problem(400, f"{error}; nothing was asked")


async def _not_valid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = [f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors()]
    return problem(400, f"{'; '.join(told)}; nothing was asked")


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), headers=error.headers or {})


async def _warehouse(request: Request, error: Exception) -> Response:
    """What the warehouse says is told where it is about the question, and is logged where it is not."""
    assert isinstance(error, WarehouseError)
    if sentence := refused_in(error):
        return problem(400, sentence)
    if isinstance(error, WarehouseTooSmall) or code_of(str(error)) in TOO_MUCH:
        return problem(413, "the question takes too much time or memory: ask for a shorter span, or for fewer columns")
    log.warning("not_answered", path=request.url.path, reason=str(error))
    if isinstance(error, SchemaBehind):
        return problem(503, "the warehouse lacks a migration: run `costream migrate up`", headers={"retry-after": "30"})
    if isinstance(error, WarehouseUnavailable):
        return problem(503, "the warehouse does not answer now: try again", headers={"retry-after": "5"})
    return problem(500, "the warehouse refused the question; the log of the server has its reason")
