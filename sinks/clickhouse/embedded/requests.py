"""The embedded engine behind the endpoint: one handle per request, so that nothing one request sets reaches another."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import structlog

from sinks.clickhouse import spans
from sinks.clickhouse.connect import quoted
from sinks.clickhouse.embedded import guard, parts
from sinks.clickhouse.embedded.engine import open_handle
from sinks.clickhouse.embedded.handover import handover, insert

log = structlog.get_logger(__name__)

SESSIONS_MAX: Final = 64  # each holds temporary tables; the one unused for longest goes
KEPT_CHARS_MAX: Final = 16_384  # longer statements are rarely repeated; a thousand of the kept ones are 32 MB at most
NOWHERE: Final = "system"  # where a request without a database starts; in `default`, unknown names would be files

_NAME: Final = r"(?:\w+|`(?:[^`\\]|\\.)+`|\"(?:[^\"\\]|\\.)+\")"
_INTO: Final = rf"INSERT\s+INTO\s+(?:TABLE\s+)?{_NAME}(?:\.{_NAME})?\s*(?:\([^()]*\)\s*)?"
_SETTING: Final = r"\w+\s*=\s*(?:'[^'\\]*'|[\w.]+)\s*"
_SETTINGS: Final = rf"(?:SETTINGS\s+({_SETTING}(?:,\s*{_SETTING})*))?"
INSERT_WITH_DATA: Final = re.compile(
    rf"\A\s*({_INTO}){_SETTINGS}(?:FORMAT\s+(\w+)[ \t]*;?(?:\r?\n|\s|\Z)|(VALUES)(?=[\s(]|\Z))".encode(), re.IGNORECASE
)
HAS_RESULT: Final = re.compile(r"(SELECT|WITH|FROM|VALUES|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|CHECK)\b|\(", re.IGNORECASE)
LAST_FORMAT: Final = re.compile(r"\bFORMAT (\w+)(?: SETTINGS [^']*)?\Z")


@dataclass(frozen=True)
class Request:
    """One statement and everything that goes with it; ``data`` are the rows of an INSERT ... FORMAT."""

    statement: bytes
    data: bytes = b""
    format: str = "TabSeparated"
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    session_id: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class Answer:
    """``format`` is empty where the statement has no result set."""

    body: bytes
    format: str
    summary: Mapping[str, str]


class Engine:
    """Owns a folder. Opened in the process that uses it: a fork after opening hangs."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._gate = Gate()
        self._sessions: OrderedDict[str, tuple[Any, threading.Lock]] = OrderedDict()
        self._lock = threading.Lock()
        self._keeper: Any = None  # keeps the engine alive between requests; None where a start anew has failed
        self._start()
        self.timezone = self._value("SELECT timezone()")
        self._vocabulary = read_vocabulary(self._names)
        self._canonical = lru_cache(maxsize=1_024)(self._spell)

    def _start(self) -> None:
        self._keeper = self._open()
        self._settle()
        self._parts = parts.Watch(self._rows)

    def _settle(self) -> None:
        """Say what this start has set aside, and delete of it what other parts hold."""
        made_good, missing = parts.set_aside(self._rows)
        for part in made_good:
            log.warning("a broken part was made good", part=str(part), next="other parts hold all of its rows")
            try:
                self._keeper.query(parts.drop_statement(part))
            except RuntimeError as error:
                log.warning(
                    "what was set aside stays", part=str(part), reason=str(error), next="the next start tries again"
                )
        for part in missing:
            log.error(
                "ROWS ARE MISSING",
                part=str(part),
                reason="the engine cannot read it and has set it aside; no other part holds all of its rows",
                next="workers do not start on it; `costream audit` names what differs",
            )

    def mend(self) -> None:
        """Look at the parts that were made since the last look. If a merge has broken one, start the engine anew: what
        was merged comes back. Statements wait meanwhile; sessions and their temporary tables end."""
        with self._gate.passing():
            broken = self._parts.broken()
        if self._keeper is not None and not broken:
            return
        for part in broken:
            log.error("a merge broke a part", part=str(part), rows=part.rows, next="the engine starts anew without it")
        with self._gate.alone():
            self._shut()
            self._start()
        log.warning("the engine was started anew", broken_parts=len(broken))

    def run(self, request: Request) -> Answer:
        """Judge the statement, then run it. Raises ``guard.Refused``, or RuntimeError with ClickHouse's own message.

        All of it is judged but the rows of an INSERT, and those are only ever read as rows, never as statements.
        """
        with self._gate.passing():
            return self._run(request)

    def _run(self, request: Request) -> Answer:
        for name in request.settings:
            guard.check_setting(name)
        if head := INSERT_WITH_DATA.match(request.statement):
            self._judge(head[0], request)
            rows = request.statement[head.end() :] + request.data
            with self._handle(request) as handle:
                return _insert(handle, head, rows)
        whole = request.statement + (b"\n" + request.data if request.data else b"")
        canonical = self._judge(whole, request)
        if guard.rows_follow(canonical):
            raise guard.Refused("an INSERT with rows is written INSERT INTO table (columns) FORMAT name, or VALUES")
        with self._handle(request) as handle:
            try:
                return _query(handle, request, whole, canonical)
            except RuntimeError as error:
                raise RuntimeError(spans.explained(canonical, str(error))) from error

    def _judge(self, statement: bytes, request: Request) -> str:
        text = _text(statement)
        canonical = self._canonical(text) if len(text) <= KEPT_CHARS_MAX else self._spell(text)
        guard.check(canonical, self._vocabulary, reading=request.read_only)
        return canonical

    def close(self) -> None:
        with self._gate.alone():
            self._shut()

    def _shut(self) -> None:
        """The engine ends with its last handle."""
        with self._lock:
            for handle, _ in self._sessions.values():
                handle.close()
            self._sessions.clear()
            if self._keeper is not None:
                self._keeper.close()
            self._keeper = None

    def _open(self) -> Any:
        """A handle that understands what a server does: chDB by itself takes a bare expression for a SELECT."""
        handle = open_handle(self._folder)
        handle.query("SET implicit_select = 0")
        return handle

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A question of our own; large numbers come as numbers."""
        handle = self._open()
        try:
            handle.query("SET output_format_json_quote_64bit_integers = 0")
            answer = handle.query(sql, "JSONCompactEachRow")
            return [tuple(json.loads(line)) for line in bytes(answer.bytes()).splitlines()]
        finally:
            handle.close()

    def _value(self, sql: str) -> str:
        return bytes(self._keeper.query(sql, "TabSeparatedRaw").bytes()).decode().strip()

    def _names(self, sql: str) -> frozenset[str]:
        return guard.names(self._value(sql))

    def _spell(self, text: str) -> str:
        """One statement in the engine's own spelling; a syntax error or a second statement raises here."""
        handle = self._open()
        try:
            handle.query("SET max_query_size = 16777216")
            result = handle.query(
                "SELECT formatQuerySingleLine({text:String})", "TabSeparatedRaw", params={"text": _escaped(text)}
            )
            return bytes(result.bytes()).decode(errors="surrogateescape").strip()
        finally:
            handle.close()

    @contextmanager
    def _handle(self, request: Request) -> Iterator[Any]:
        if request.session_id and not request.read_only:
            with self._session(request.session_id) as handle, _configured(handle, request):
                yield handle
            return
        handle = self._open()
        try:
            with _configured(handle, request):
                yield handle
        finally:
            handle.close()

    @contextmanager
    def _session(self, session_id: str) -> Iterator[Any]:
        with self._lock:
            if session_id not in self._sessions:
                self._sessions[session_id] = (self._open(), threading.Lock())
            self._sessions.move_to_end(session_id)
            while len(self._sessions) > SESSIONS_MAX:
                self._sessions.popitem(last=False)  # closed by its finalizer once no request holds it
            handle, lock = self._sessions[session_id]
        with lock:
            yield handle


class Gate:
    """Many pass at once. Whoever wants to be alone waits until they are through, and lets nobody in meanwhile."""

    def __init__(self) -> None:
        self._inside = 0
        self._door = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def passing(self) -> Iterator[None]:
        with self._door, self._changed:
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._door:
            with self._changed:
                self._changed.wait_for(lambda: self._inside == 0)
            yield


def read_vocabulary(names: Callable[[str], frozenset[str]]) -> guard.Vocabulary:
    """``names`` gives the words that a query answers with."""
    told = names(
        "SELECT concat(lower(name), '/', lower(alias_to), '/', replaceAll(categories, ' ', '-')) FROM system.functions"
    )
    functions = [line.split("/") for line in told]
    refused = {name for name, _, category in functions if category in guard.CATEGORIES_REFUSED}
    return guard.Vocabulary(
        table_functions=names("SELECT lower(name) FROM system.table_functions"),
        functions_refused=frozenset(name for name, alias_to, _ in functions if refused & {name, alias_to}),
        # A text could name a disk. The other types are numbers, switches and words of the engine.
        table_settings=names("SELECT name FROM system.merge_tree_settings WHERE type != 'String'"),
    )


@contextmanager
def _configured(handle: Any, request: Request) -> Iterator[None]:
    """The request's database and settings, taken back afterwards: a session's handle serves many requests.

    ``readonly`` is set last. Its level 2 lets settings through, and says so to clients, which send none otherwise;
    which ones, the guard has judged.
    """
    handle.query(f"USE {quoted(request.database or NOWHERE)}")
    try:
        settings = guard.within_bounds(request.settings) if request.read_only else request.settings
        for name, value in settings.items():
            handle.query(f"SET {quoted(name)} = {_literal(value)}")
        if request.read_only:
            handle.query("SET readonly = 2")
        yield
    finally:
        if request.session_id and not request.read_only:
            for name in request.settings:
                handle.query(f"SET {quoted(name)} = DEFAULT")


# Values are plain here: an expression among them would be judged by nobody.
_PLAIN_VALUES: Final = {
    "input_format_values_interpret_expressions": "0",
    "input_format_values_deduce_templates_of_expressions": "0",
}


def _insert(handle: Any, head: re.Match[bytes], rows: bytes) -> Answer:
    into, chosen, data_format = (head[group].decode() if head[group] else "" for group in (1, 2, 3))
    if head[4]:  # VALUES, which may end like a statement
        data_format, rows = "Values", rows.rstrip().removesuffix(b";")
    if not rows.strip():
        return Answer(b"", "", {"written_rows": "0", "written_bytes": "0"})
    settings = _PLAIN_VALUES | dict(re.findall(r"(\w+)\s*=\s*('[^']*'|[\w.]+)", chosen))
    with handover() as given:
        given.file.write(rows)
        written = insert(handle, into, given, data_format=data_format, settings=settings)
    return Answer(b"", "", {"written_rows": str(written.rows), "written_bytes": str(written.size_bytes)})


def _query(handle: Any, request: Request, statement: bytes, canonical: str) -> Answer:
    result = handle.query(_text(statement), request.format, params=dict(request.parameters))
    if canonical.startswith("INSERT"):
        written = {"written_rows": str(result.rows_written()), "written_bytes": str(result.bytes_written())}
        return Answer(b"", "", written)
    named = LAST_FORMAT.search(canonical)
    shape = (named[1] if named else request.format) if HAS_RESULT.match(canonical) else ""
    summary = {
        "read_rows": str(result.storage_rows_read()),
        "read_bytes": str(result.storage_bytes_read()),
        "result_rows": str(result.rows_read()),  # chDB's word for what the answer holds; drivers read as many
        "result_bytes": str(result.bytes_read()),
        "elapsed_ns": str(round(result.elapsed() * 1e9)),
    }
    return Answer(bytes(result.bytes() or b""), shape, summary)


def _text(statement: bytes) -> str:
    """Only the rows of an INSERT may be other bytes; the engine takes statements as UTF-8."""
    try:
        return statement.decode()
    except UnicodeDecodeError as error:
        raise RuntimeError(
            f"Code: 62. DB::Exception: Syntax error: it is not UTF-8: {error}. (SYNTAX_ERROR)"
        ) from error


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _escaped(text: str) -> str:
    """A parameter's value as the engine reads it: like a field of TabSeparated."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
