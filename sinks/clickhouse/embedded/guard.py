"""Which statements the embedded endpoint refuses: those that would leave the warehouse for files, network or programs.

The embedded engine runs with the rights of its process and has no users or grants, and ``readonly`` is not enough: the
function ``file()``, the names of database ``default`` and settings that hold expressions read any file (all tried). So
each statement is judged before it runs, in the engine's own canonical spelling, without comments, odd quoting or a
second statement. Where that is possible the rule is a list of what is allowed: kinds of statements, table functions,
engines and settings. Functions are refused by the engine's own categories and by name; a test names every function of
this version that is left, so that a new one has to be judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sinks.clickhouse.vocabulary import STORED, rows_of


def names(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


READS: Final = re.compile(r"(SELECT|WITH|FROM|VALUES|SHOW|DESCRIBE|DESC|EXISTS|EXPLAIN|CHECK|USE|SET)\b|\(")
WRITES: Final = re.compile(
    r"""(INSERT|DELETE|UPDATE|ALTER|DROP|TRUNCATE|RENAME|EXCHANGE|OPTIMIZE|SYSTEM\ (STOP|START)\ (TTL\ )?MERGES
    |CREATE\ (OR\ REPLACE\ )?(TEMPORARY\ |MATERIALIZED\ )?(TABLE|VIEW|DATABASE))\b""",
    re.VERBOSE,
)
CLAUSES_REFUSED: Final = re.compile(
    r"\b(INTO OUTFILE|INFILE|DICTIONARY|FREEZE|UNFREEZE|(?:FETCH|EXPORT) PART(?:ITION)?|TO (?:DISK|VOLUME|SHARD))\b"
)

# Table functions that make rows from nothing or from our own tables; any other reaches outside or evaluates text.
TABLE_FUNCTIONS: Final = names("""
    format generaterandom generate_series generateseries null numbers numbers_mt primes values view viewexplain
    zeros zeros_mt""")

ENGINES: Final = names("""
    AggregatingMergeTree Atomic CoalescingMergeTree CollapsingMergeTree Join Log MaterializedView Memory MergeTree Null
    ReplacingMergeTree Set StripeLog SummingMergeTree TinyLog VersionedCollapsingMergeTree View""")

# Functions of these categories reach outside, name dictionaries by text, or look into the process.
CATEGORIES_REFUSED: Final = names("AI Dictionary Embedded-Dictionary Introspection Machine-Learning")
# The others that do: they read files, ask the network or Keeper, name tables by text, or only take time.
FUNCTIONS_REFUSED: Final = names("""
    file fqdn fullhostname generateserialid getclienthttpheader hascolumnintable joinget joingetornull lemmatize
    showcertificate sleep sleepeachrow synonyms zookeepersessionuptime""")
CALLS_REFUSED: Final = names("disk source")  # no functions, but parts of CREATE; ``source`` is also a column of ours

# System tables that ask the network, signal threads or show files; and those that show what others ask and write.
SYSTEM_TABLES_REFUSED: Final = re.compile(
    r"\bsystem\.(zookeeper\w*|stack_trace|certificates|remote_data_paths|jemalloc\w*|iceberg\w*"
    r"|named_collections|fail_points)\b"
)
SYSTEM_TABLES_OF_WRITERS: Final = re.compile(
    r"\bsystem\.(processes|query_cache|asynchronous_inserts)\b|SHOW PROCESSLIST"
)

# What a request may set: how an answer looks, how long and how much it may take, how rows are read and written. A
# setting that holds an expression, names a file or changes how text is parsed is not among them, nor is a new one.
SETTINGS_OF_FORMATS: Final = re.compile(
    r"(?:input|output)_format_\w+|format_(?:csv|tsv|custom|hive_text|binary|regexp|json|geojson)_\w+"
    r"|date_time_(?:input|output)_format|bool_(?:true|false)_representation"
)
SETTINGS_OF_FORMATS_REFUSED: Final = re.compile(r"\w*(?:schema|file_path|template|expressions|avro|values)\w*")
SETTINGS: Final = names("""
    aggregate_functions_null_for_empty allow_drop_detached allow_experimental_analyzer allow_experimental_dynamic_type
    allow_experimental_json_type allow_experimental_object_type allow_experimental_variant_type
    allow_suspicious_low_cardinality_types alter_sync any_join_distinct_right_table_keys async_insert
    cancel_http_readonly_queries_on_client_close cast_keep_nullable cast_string_to_dynamic_use_inference
    database_atomic_wait_for_drop_and_detach_synchronously distinct_overflow_mode
    do_not_merge_across_partitions_select_final empty_result_for_aggregation_by_empty_set enable_analyzer
    enable_http_compression enable_json_type extremes final flatten_nested group_by_overflow_mode
    group_by_use_nulls http_headers_progress_interval_ms http_response_buffer_size http_wait_end_of_query
    http_write_exception_in_output_format insert_deduplicate insert_null_as_default insert_quorum join_algorithm
    join_overflow_mode join_use_nulls lightweight_deletes_sync limit load_balancing log_comment log_queries
    low_cardinality_allow_in_native_format materialize_ttl_after_modify max_block_size
    max_bytes_before_external_group_by max_bytes_before_external_sort max_bytes_to_read max_execution_time
    max_insert_block_size max_insert_threads max_memory_usage max_partitions_per_insert_block max_query_size
    max_result_bytes max_result_rows max_rows_to_group_by max_rows_to_read max_threads max_untracked_memory
    min_free_disk_bytes_to_perform_insert min_insert_block_size_bytes min_insert_block_size_rows mutations_sync
    network_compression_method offset optimize_aggregation_in_order optimize_on_insert optimize_read_in_order
    optimize_skip_merged_partitions prefer_column_name_to_alias query_plan_enable_optimizations
    read_overflow_mode readonly result_overflow_mode select_sequential_consistency send_progress_in_http_headers
    session_timezone show_table_uuid_in_table_create_query_if_not_nil skip_unavailable_shards sort_overflow_mode
    timeout_before_checking_execution_speed timeout_overflow_mode totals_mode transform_null_in
    union_default_mode use_client_time_zone use_skip_indexes use_skip_indexes_if_final
    use_variant_as_common_type wait_for_async_insert""")

# What one question may take, whoever asks; a request may ask for less. The same as for a server's dashboards
# (deploy/clickhouse/grafana-user.xml). The answer is held in memory until it is sent.
READER_BOUNDS: Final = {
    "max_execution_time": 60,  # seconds
    "max_memory_usage": 2_000_000_000,
    "max_result_bytes": 256 * 1024 * 1024,
}
# These the engine chooses well by itself; what is asked for is bounded, since both take memory before any is counted.
READER_CHOICES: Final = {"max_threads": 64, "max_block_size": 1_000_000}

_LITERALS: Final = re.compile(
    r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`", re.DOTALL
)  # together: each may hold the other's quote
_TEXTS: Final = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)
_VIEWS: Final = {rows_of(name): name for name in STORED} | {"retention_changes_rows": "raw_kept_since"}
_NOT_FOR_READERS: Final = re.compile(rf"\b({'|'.join(_VIEWS)})\b")
_CALLS: Final = re.compile(r"\b(\w+)\(")
_WORDS: Final = re.compile(r"\b[A-Za-z_]\w*\b")
_ENGINE: Final = re.compile(r"\bENGINE = (\w+)")
_SETTINGS: Final = re.compile(r"\ASHOW (?:CHANGED )?SETTINGS?\b|\bRESET SETTING |\b(SETTINGS?) |\A(SET) ")
_SETTING: Final = re.compile(
    r"(\w+)\b(?: = ('(?:[^'\\]|\\.)*'|[\w.+-]+)|(?! =))(, )?"
)  # without a value it is switched on


class Refused(Exception):
    """The statement is outside what this endpoint does; the message says which part."""

    code, name = 497, "ACCESS_DENIED"

    def __str__(self) -> str:
        return f"Code: {self.code}. DB::Exception: Not enough privileges: {self.args[0]}. ({self.name})"


class OnlyReads(Refused):
    """It would change something, and whoever asks may only read."""

    code, name = 164, "READONLY"

    def __str__(self) -> str:
        return f"Code: {self.code}. DB::Exception: Cannot execute query in readonly mode: {self.args[0]}. ({self.name})"


@dataclass(frozen=True)
class Vocabulary:
    """What the engine knows, in lower case: read from it, so that whatever is new is refused until it is judged."""

    table_functions: frozenset[str]
    functions_refused: frozenset[str] = frozenset()  # those of CATEGORIES_REFUSED
    table_settings: frozenset[str] = frozenset()  # of a MergeTree, and no text


def check(canonical: str, vocabulary: Vocabulary, *, reading: bool) -> None:
    """Refuse ``canonical``, one statement as ``formatQuerySingleLine`` spells it, if it can leave the warehouse.

    ``reading`` is a request that may change nothing.
    """
    bare = _LITERALS.sub(lambda literal: literal[0][0] * 2, canonical)
    if not (READS.match(bare) or WRITES.match(bare)):
        raise Refused(f"{' '.join(bare.split()[:2])} is not among the statements it runs")
    _check_functions(bare, vocabulary)
    for engine in _ENGINE.findall(bare):
        if engine not in ENGINES:
            raise Refused(f"ENGINE = {engine} is not one of its table engines")
    if clause := CLAUSES_REFUSED.search(bare):
        raise Refused(f"{clause[0]} reaches outside the warehouse")
    if re.search(r"\bdefault\.|\b(?:USE|FROM|IN) default\b", bare):
        raise Refused("the names of database 'default' are files of this machine; use a database of your own")
    if table := SYSTEM_TABLES_REFUSED.search(bare) or (reading and SYSTEM_TABLES_OF_WRITERS.search(bare)):
        raise Refused(f"{table[0]} shows what is not the warehouse's")
    if re.search(r"\{\w+:\s*Identifier\}", bare):
        raise Refused("a parameter of type Identifier could name anything")
    _check_clauses(canonical, vocabulary, reading=reading)
    if reading and (table := _NOT_FOR_READERS.search(_TEXTS.sub("''", canonical))):
        raise Refused(f"{table[1]} is not for readers; read {_VIEWS[table[1]]}, which has each row once")
    if reading and not READS.match(bare):
        raise OnlyReads(f"{bare.split()[0]} changes the warehouse, and this request may only read it")


def rows_follow(canonical: str) -> bool:
    """Whether it is an INSERT whose rows are sent with it: they are not part of what was judged."""
    bare = _LITERALS.sub(lambda literal: literal[0][0] * 2, canonical)
    return bare.startswith("INSERT") and not re.search(r"\bSELECT\b", bare)


def _check_functions(bare: str, vocabulary: Vocabulary) -> None:
    """Refused are calls, and any mention of a function: ``APPLY(file)`` and ``arrayMap(file, …)`` call it by name."""
    if "``(" in bare:
        raise Refused("a function is called by a quoted name")
    calls = vocabulary.table_functions - TABLE_FUNCTIONS | CALLS_REFUSED
    for name in set(_CALLS.findall(bare)):
        if name.lower() in calls or name.startswith("__"):
            raise Refused(f"{name}() reaches outside the warehouse")
    functions = vocabulary.functions_refused | FUNCTIONS_REFUSED
    for word in set(_WORDS.findall(bare)):
        if word.lower() in functions:
            raise Refused(f"{word} reaches outside the warehouse, as a function; as a name of your own, take another")


def _check_clauses(canonical: str, vocabulary: Vocabulary, *, reading: bool) -> None:
    """Judge every item of each SETTINGS clause, and of SET."""
    of_tables = vocabulary.table_settings if canonical.startswith(("CREATE", "ALTER")) else frozenset()
    for start in _clauses(canonical):
        at, more = start, True
        while more:
            item = _SETTING.match(canonical, at)
            if item is None:
                raise Refused(f"settings are plain names and values here, not {canonical[at : at + 40]!r}")
            if item[1] not in of_tables:
                check_setting(item[1])
            if reading:
                _check_bound(item[1], (item[2] or "1").strip("'"))
            at, more = item.end(), bool(item[3])


def _clauses(canonical: str) -> Iterator[int]:
    """Where settings begin. Texts and quoted names are blanked out, so that no clause stands in or behind them."""
    blank = _LITERALS.sub(lambda literal: " " * len(literal[0]), canonical)
    return (found.end() for found in _SETTINGS.finditer(blank) if found[1] or found[2])


def check_setting(name: str) -> None:
    """Refuse a setting that is not among those that a request may set."""
    of_formats = SETTINGS_OF_FORMATS.fullmatch(name) and not SETTINGS_OF_FORMATS_REFUSED.fullmatch(name)
    if not (name in SETTINGS or of_formats):
        raise Refused(f"the setting {name} is not one that a request may set here")


def _check_bound(name: str, value: str) -> None:
    bound = (READER_BOUNDS | READER_CHOICES).get(name)
    if bound is not None and not (value.isdecimal() and 0 < int(value) <= bound):
        raise Refused(f"{name} is at most {bound} here, not {value}")


def within_bounds(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings of a question: what it asks for where that is less than the bound, else the bound."""
    bounds = READER_BOUNDS | {name: bound for name, bound in READER_CHOICES.items() if name in settings}
    return {**settings, **{name: _least(settings.get(name, ""), bound) for name, bound in bounds.items()}}


def _least(asked: str, bound: int) -> str:
    """0 asks for no bound at all, and so does what is no number."""
    return str(min(int(asked), bound)) if asked.isdecimal() and int(asked) else str(bound)
