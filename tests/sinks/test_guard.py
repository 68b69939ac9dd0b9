"""The guard's rules one by one: what each refuses, in words, and the neighbour that passes. Pure: no engine is asked.

What the engine itself makes of such statements is tried in test_endpoint.py.
"""

from __future__ import annotations

import re

import pytest

from sinks.clickhouse.embedded import guard
from sinks.clickhouse.embedded.guard import OnlyReads, Refused, Vocabulary, rows_follow, within_bounds

VOCABULARY = Vocabulary(
    table_functions=frozenset({"file", "url", "numbers", "values"}),
    functions_refused=frozenset({"dictget"}),
    table_settings=frozenset({"fsync_after_insert"}),
)


def refused(canonical: str, *, reading: bool = False) -> str:
    """What is said of a statement; empty if it passes."""
    try:
        guard.check(canonical, VOCABULARY, reading=reading)
    except Refused as why:
        return str(why)
    return ""


@pytest.mark.parametrize(
    ("statement", "passes", "told"),
    [
        ("GRANT ALL ON x", "SELECT 1", "GRANT ALL is not among the statements"),
        ("SYSTEM SHUTDOWN", "SYSTEM STOP MERGES", "SYSTEM SHUTDOWN is not among"),
        ("CREATE DICTIONARY x", "CREATE OR REPLACE TABLE x (a Int8) ENGINE = Memory", "CREATE DICTIONARY is not"),
        ("CREATE TABLE x ENGINE = Kafka", "CREATE TABLE x ENGINE = MergeTree", "ENGINE = Kafka is not one"),
        ("CREATE TABLE x ENGINE = KeeperMap('/x')", "CREATE TABLE x ENGINE = Log", "ENGINE = KeeperMap is not"),
        ("CREATE TABLE x ENGINE = mergetree", "CREATE TABLE x ENGINE = Null", "ENGINE = mergetree is not"),
        ("SELECT 1 INTO OUTFILE 'x'", "SELECT 1 AS outfile", "INTO OUTFILE reaches outside"),
        ("ALTER TABLE x FREEZE", "ALTER TABLE x DELETE WHERE 1", "FREEZE reaches outside"),
        ("ALTER TABLE x MOVE PART 'p' TO DISK 'd'", "ALTER TABLE x DROP PARTITION 'p'", "TO DISK reaches outside"),
        ("SELECT * FROM default.x", "SELECT * FROM costream.x", "the names of database 'default' are files"),
        ("USE default", "USE costream", "the names of database 'default'"),
        ("SHOW TABLES FROM default", "SHOW TABLES FROM defaults", "the names of database 'default'"),
        ("SELECT * FROM system.stack_trace", "SELECT * FROM system.tables", "system.stack_trace shows what is not"),
        ("SELECT {x:Identifier}", "SELECT {x:String}", "a parameter of type Identifier"),
        ("SELECT {x: Identifier}", "SELECT {x: Int64}", "a parameter of type Identifier"),
        ("SELECT * FROM file('x')", "SELECT * FROM numbers(3)", "file() reaches outside"),
        ("SELECT * FROM url('x')", "SELECT * FROM values('a', 1)", "url() reaches outside"),
        ("CREATE TABLE x ENGINE = Null SETTINGS disk = disk(1)", "SELECT 1 AS disk", "disk() reaches outside"),
        ("SELECT FILE('x')", "SELECT files('x')", "FILE() reaches outside"),
        ("SELECT arrayMap(file, [1])", "SELECT arrayMap(a, [1])", "file reaches outside the warehouse, as a function"),
        ("SELECT dictGet('a')", "SELECT dictGot('a')", "dictGet reaches outside the warehouse, as a function"),
        ("SELECT sleep(3)", "SELECT sleepy(3)", "sleep reaches outside"),
        ("SELECT __getScalar('x')", "SELECT _getScalar('x')", "__getScalar() reaches outside"),
        ("SELECT `file`('x')", "SELECT `file` AS x", "a function is called by a quoted name"),
        ("SELECT 1 SETTINGS dialect = 'prql'", "SELECT 1 SETTINGS final = 1", "the setting dialect is not one"),
        ("SET dialect = 'prql'", "SET final = 1", "the setting dialect is not one"),
        ("SELECT 1 SETTINGS final = 1, dialect = 'x'", "SELECT 1 SETTINGS final = 1, limit = 9", "the setting dialect"),
        ("SELECT 1 SETTINGS final, dialect = 'x'", "SELECT 1 SETTINGS final, limit = 9", "the setting dialect"),
        ("SELECT 1 SETTINGS `final` = 1", "SELECT 1 AS `SETTINGS x`", "settings are plain names and values here, not"),
        ("SELECT 1 SETTINGS final = {'a':1}", "SELECT 'SETTINGS dialect = 1'", "settings are plain names and values"),
        ("SELECT 1 SETTINGS fsync_after_insert = 1", "ALTER TABLE x MODIFY SETTING fsync_after_insert = 1", "fsync_"),
        ("ALTER TABLE x MODIFY SETTING disk = 'd'", "CREATE TABLE x SETTINGS fsync_after_insert = 1", "disk"),
    ],
)  # fmt: skip
def test_each_rule_refuses_its_own_in_words_and_lets_the_neighbour_pass(statement: str, passes: str, told: str) -> None:
    said = refused(statement)
    assert said.startswith("Code: 497. DB::Exception: Not enough privileges: ")
    assert said.endswith(". (ACCESS_DENIED)")
    assert told in said
    assert refused(passes) == ""


@pytest.mark.parametrize("engine", sorted(guard.ENGINES))
def test_the_engines_that_keep_rows_in_the_warehouse_pass(engine: str) -> None:
    assert refused(f"CREATE TABLE x (a Int8) ENGINE = {engine}") == ""


@pytest.mark.parametrize("name", sorted(guard.FUNCTIONS_REFUSED))
def test_no_function_that_reaches_out_is_called_or_named(name: str) -> None:
    assert refused(f"SELECT {name}(1)")
    assert refused(f"SELECT arrayMap({name.upper()}, [1])")


def test_what_shows_other_peoples_questions_is_for_those_who_may_write() -> None:
    for sql in ("SELECT * FROM system.processes", "SHOW PROCESSLIST", "SELECT * FROM system.query_cache"):
        assert refused(sql) == ""
        assert "shows what is not the warehouse's" in refused(sql, reading=True)


@pytest.mark.parametrize("sql", ["INSERT INTO x VALUES", "DROP TABLE x", "ALTER TABLE x DELETE WHERE 1", "TRUNCATE x"])
def test_a_request_that_may_only_read_is_told_so(sql: str) -> None:
    assert refused(sql) == ""
    with pytest.raises(OnlyReads) as why:
        guard.check(sql, VOCABULARY, reading=True)
    assert (why.value.code, why.value.name) == (164, "READONLY")
    verb = sql.partition(" ")[0]
    assert str(why.value) == (
        f"Code: 164. DB::Exception: Cannot execute query in readonly mode: {verb} changes the warehouse, and this "
        "request may only read it. (READONLY)"
    )


@pytest.mark.parametrize("sql", ["SELECT 1", "WITH 1 AS a SELECT a", "SHOW TABLES", "(SELECT 1)", "EXISTS TABLE x"])
def test_questions_pass_whoever_asks(sql: str) -> None:
    assert refused(sql, reading=True) == ""


@pytest.mark.parametrize(
    ("setting", "passes"),
    [
        ("max_execution_time = 60", True), ("max_execution_time = 61", False), ("max_execution_time = 0", False),
        ("max_execution_time = 1", True), ("max_execution_time = 1.5", False), ("max_execution_time = '60'", True),
        ("max_memory_usage = 2000000000", True), ("max_memory_usage = 2000000001", False),
        ("max_result_bytes = 268435456", True), ("max_result_bytes = 268435457", False),
        ("max_threads = 64", True), ("max_threads = 65", False), ("max_threads", True),
        ("max_block_size = 1000000", True), ("max_block_size = 1000001", False),
        ("final = 0", True), ("final = 1, max_threads = 65", False),
    ],
)  # fmt: skip
def test_a_question_takes_no_more_than_its_bounds_and_a_statement_that_may_write_what_it_likes(
    setting: str, *, passes: bool
) -> None:
    assert (refused(f"SELECT 1 SETTINGS {setting}", reading=True) == "") is passes
    assert refused(f"SELECT 1 SETTINGS {setting}") == ""


def test_a_bound_is_told_with_what_was_asked() -> None:
    assert "max_threads is at most 64 here, not 65" in refused("SELECT 1 SETTINGS max_threads = 65", reading=True)


@pytest.mark.parametrize(
    ("asked", "granted"), [("", "60"), ("5", "5"), ("60", "60"), ("61", "60"), ("0", "60"), ("x", "60"), ("-1", "60")]
)
def test_a_question_gets_what_it_asks_for_up_to_the_bound(asked: str, granted: str) -> None:
    settings = {"max_execution_time": asked} if asked else {}
    bounds = {"max_execution_time": granted, "max_memory_usage": "2000000000", "max_result_bytes": "268435456"}
    assert within_bounds(settings) == bounds
    assert within_bounds({**settings, "final": "1"}) == bounds | {"final": "1"}


def test_what_the_engine_chooses_well_by_itself_is_bounded_only_where_it_is_asked_for() -> None:
    assert within_bounds({"max_threads": "65"})["max_threads"] == "64"
    assert within_bounds({"max_block_size": "7"})["max_block_size"] == "7"
    assert not {"max_threads", "max_block_size"} & within_bounds({}).keys()


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("final", True), ("input_format_skip_unknown_fields", True), ("output_format_json_quote_decimals", True),
        ("format_csv_delimiter", True), ("date_time_input_format", True), ("bool_true_representation", True),
        ("format_schema", False), ("input_format_values_interpret_expressions", False),
        ("input_format_record_errors_file_path", False), ("output_format_avro_codec", False),
        ("format_template_resultset", False), ("brand_new", False), ("final2", False), ("xfinal", False),
    ],
)  # fmt: skip
def test_settings_are_those_of_the_list_and_those_of_formats_that_hold_no_schema_file_or_expression(
    name: str, *, passes: bool
) -> None:
    if passes:
        guard.check_setting(name)
    else:
        with pytest.raises(Refused, match=f"the setting {name} is not one"):
            guard.check_setting(name)


@pytest.mark.parametrize(
    ("canonical", "follow"),
    [
        ("INSERT INTO x FORMAT Arrow", True), ("INSERT INTO x VALUES", True), ("INSERT INTO x SELECT 1", False),
        ("INSERT INTO `SELECT` VALUES", True), ("INSERT INTO x (`a`) SETTINGS log_comment = 'SELECT' VALUES", True),
        ("SELECT 'INSERT'", False), ("INSERT INTO selected VALUES", True),
        ("INSERT INTO x WITH 1 AS a SELECT 2", False), ("DROP TABLE x", False),
    ],
)  # fmt: skip
def test_rows_follow_an_insert_that_selects_none(canonical: str, *, follow: bool) -> None:
    assert rows_follow(canonical) is follow


@pytest.mark.parametrize("quoted", ["'it''s INTO OUTFILE'", "`INTO OUTFILE`", r"'\' INTO OUTFILE'", "'`' AS a, 'x`'"])
def test_what_stands_in_quotes_is_no_part_of_the_statement(quoted: str) -> None:
    assert refused(f"SELECT {quoted}") == ""


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM usage_hourly_rows FINAL",
        "SELECT 1 FROM costream.`retention_changes_rows`",
        "DESCRIBE TABLE alerts_rows",
    ],
)
def test_what_is_stored_more_than_once_is_not_for_readers(sql: str) -> None:
    assert refused(sql) == ""
    name = next(word for word in re.findall(r"\w+", sql) if word.endswith("_rows"))
    view = {"retention_changes_rows": "raw_kept_since"}.get(name, name.removesuffix("_rows"))
    assert f"{name} is not for readers; read {view}, which has each row once" in refused(sql, reading=True)


def test_a_text_may_name_what_is_stored() -> None:
    assert refused("SELECT 1 FROM usage_hourly WHERE feature = 'usage_hourly_rows'", reading=True) == ""
