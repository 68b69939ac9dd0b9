"""Files of past calls as events: tables as people and other tools write them, and what is refused of them."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from costream import UsageEvent
from stream.replay import cells
from stream.replay.cells import Unclear
from stream.replay.columns import Cached, Columns
from stream.replay.events import NotACall, Outcome, Reading, of_lines, stretched, stretched_moments, table
from stream.replay.source import CELL_CHARS_MAX, Fault, FileRefused, look_at

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
GIVEN = {"provider": "openai", "model": "gpt-4o"}
PLAIN = "time,input_tokens,output_tokens\n2026-11-29T12:00:00Z,10,5\n"


def read(tmp_path: Path, content: str | bytes, *, name: str = "calls.csv", **how: Any) -> list[Outcome]:
    return list(opened(tmp_path, content, name=name, **how)[1])


def opened(tmp_path: Path, content: str | bytes, *, name: str = "calls.csv", **how: Any) -> tuple[Columns, Any]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return table(look_at(path), Reading(**{"given": GIVEN} | how))


def one(tmp_path: Path, content: str | bytes, **how: Any) -> UsageEvent:
    (event,) = read(tmp_path, content, **how)
    assert isinstance(event, UsageEvent), event
    return event


def told(tmp_path: Path, content: str, **how: Any) -> list[str]:
    return [str(outcome) for outcome in read(tmp_path, content, **how) if isinstance(outcome, Fault)]


# --- exports of other tools, with the columns that their documentation prints ----------------------------------------


def test_spend_logs_of_litellm_are_read(tmp_path: Path) -> None:
    header = (
        "request_id,call_type,api_key,spend,total_tokens,prompt_tokens,completion_tokens,startTime,endTime,model,"
        "model_group,custom_llm_provider,api_base,user,metadata,cache_hit,team_id,end_user,session_id,status"
    )
    row = (
        "chatcmpl-1,acompletion,88dc,1.2150000000000001e-05,15,10,5,2026-11-29 12:00:00.123+00:00,,gpt-4o-mini,mini,"
        'openai,,u-7,"{""requester"": null}",False,search,,s-1,success'
    )
    assert one(tmp_path, f"{header}\n{row}\n", given={}) == UsageEvent(
        request_id="chatcmpl-1",
        occurred_at=NOON + timedelta(milliseconds=123),
        provider="openai",
        model="gpt-4o-mini",
        user_id="u-7",
        team="search",
        session_id="s-1",
        input_tokens=10,
        output_tokens=5,
        reported_cost_usd=Decimal("0.000012150000"),
        metadata={
            "costream_changed": [
                "reported_cost_usd: Decimal('0.000012150000000000001') rounded at 12 digits after the point"
            ]
        },
    )


LANGFUSE = (
    "id,trace_id,project_id,environment,type,parent_observation_id,start_time,end_time,name,level,status_message,"
    "provided_model_name,usage_details,cost_details,total_cost,latency,user_id,session_id\n"
)


def test_observations_of_langfuse_are_read_and_its_spans_are_no_calls(tmp_path: Path) -> None:
    details = '"{""input"":100,""input_cached_tokens"":20,""output"":30,""reasoning_tokens"":5,""total"":155}"'
    content = LANGFUSE + (
        f"o-1,t,p,prod,GENERATION,,2026-11-29 12:00:00.5,,chat,DEFAULT,,gpt-4o,{details},{{}},0.01,1.5,u-7,s-1\n"
        "o-2,t,p,prod,SPAN,,2026-11-29 12:00:00.5,,chat,DEFAULT,,,{},{},0,1.5,u-7,s-1\n"
        "o-3,t,p,prod,GENERATION,,2026-11-29 12:00:01,,chat,ERROR,rate limited,gpt-4o,{},{},0,,u-7,s-1\n"
    )
    how: dict[str, Any] = {"given": {"provider": "openai"}, "zone": UTC, "mapped": {"request_id": "id"}}
    first, second, third = read(tmp_path, content, **how)
    assert isinstance(first, UsageEvent)
    counts = (first.input_tokens, first.cache_read_tokens, first.output_tokens, first.reasoning_tokens)
    assert (first.request_id, first.environment, counts) == ("o-1", "prod", (120, 20, 35, 5))
    assert isinstance(second, NotACall)
    assert isinstance(third, UsageEvent)
    assert (third.status, third.error, third.input_tokens) == ("error", "rate limited", None)


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ('{"input":100,"input_cached_tokens":20,"output":30,"total":130}', "sum to 150 and its total is 130"),
        ('{"input":100,"input_audio_tokens":20,"output":30}', "it counts 'input_audio_tokens'"),
        ("[1]", "is no JSON object"),
        ("{", "is no JSON"),
        ('{"input":1.5}', "'1.5' is no whole number"),
    ],
)
def test_counts_that_could_be_counted_twice_or_not_at_all_are_refused(details: str, reason: str) -> None:
    with pytest.raises(Unclear, match=reason):
        cells.usage_details(details)


OPENAI = (
    "start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,user_id,api_key_id,model,batch,"
    "service_tier,input_tokens,output_tokens,input_cached_tokens,input_audio_tokens,output_audio_tokens\n"
)


def openai_row(*, requests: str = "1", model: str = "gpt-4o", counts: str = "100,10,40,0,0") -> str:
    times = "1795953600,1795957200,2026-11-29T12:00:00+00:00,2026-11-29T13:00:00+00:00"
    return f"{OPENAI}{times},p,{requests},u,key,{model},,default,{counts}\n"


def test_the_usage_export_of_openai_is_read_where_a_row_is_one_call(tmp_path: Path) -> None:
    event = one(tmp_path, openai_row(), given={"provider": "openai"})
    assert (event.occurred_at, event.input_tokens, event.cache_read_tokens) == (NOON, 100, 40)
    (nothing,) = read(tmp_path, openai_row(requests="", model="", counts=",,,,"), given={"provider": "openai"})
    assert isinstance(nothing, NotACall)


def test_a_row_that_sums_calls_or_counts_what_an_event_cannot_tell_is_refused(tmp_path: Path) -> None:
    how = {"given": {"provider": "openai"}}
    assert told(tmp_path, openai_row(requests="270"), **how) == [
        "line 2, column num_model_requests: the row sums 270 requests, and an event is one call: export single requests"
    ]
    (fault,) = told(tmp_path, openai_row(counts="100,10,40,7,0"), **how)
    assert fault.startswith("line 2, column input_audio_tokens: 7 such tokens are counted")
    (fault,) = told(tmp_path, openai_row(counts="100,10,40,7,0").replace("input_audio", "Input Audio "), **how)
    assert fault.startswith("line 2, column Input Audio _tokens: 7 such tokens")


@pytest.mark.parametrize(("cached", "tokens"), [("inside", 10_000), ("beside", 19_200)])
def test_what_cached_tokens_stand_in_has_to_be_said_where_providers_disagree(
    tmp_path: Path, cached: Cached, tokens: int
) -> None:
    content = (
        "time,input_tokens,output_tokens,cache_read_input_tokens,cache_creation_input_tokens\n"
        "2026-11-29T12:00:00Z,10000,1,9000,200\n"
    )
    with pytest.raises(FileRefused, match="'cache_read_input_tokens' counts tokens that some leave out of the input"):
        read(tmp_path, content)
    with pytest.raises(FileRefused, match="'cacheReadInputTokens' counts tokens"):
        read(tmp_path, content.replace("cache_read_input_tokens", "cacheReadInputTokens"))
    event = one(tmp_path, content, cached=cached)
    assert (event.input_tokens, event.cache_read_tokens, event.cache_write_tokens) == (tokens, 9_000, 200)


def test_counts_whose_parts_are_known_are_not_added_again(tmp_path: Path) -> None:
    content = "time,usage_details\n2026-11-29T12:00:00Z," + '"{""input"":1,""input_cached_tokens"":2,""output"":3}"\n'
    assert one(tmp_path, content, cached="beside").input_tokens == 3


# --- how tables are written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_byte_order_marks_are_recognised(tmp_path: Path, delimiter: str, encoding: str) -> None:
    content = 'time,feature,input_tokens\n2026-11-29T12:00:00Z,"caf\u00e9",10\n'.replace(",", delimiter)
    event = one(tmp_path, content.encode(encoding))
    assert (event.feature, event.input_tokens) == ("caf\u00e9", 10)


def test_line_ends_and_quoted_newlines_are_read_and_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    quoted = '2026-11-29T12:00:00Z,"two\r\nlines, ""quoted""",10\r\n\r\n'
    content = f"time,note,input_tokens\r\n{quoted}2026-11-29T12:00:00Z,,x\r\n"
    first, second = read(tmp_path, content)
    assert isinstance(first, UsageEvent)
    assert second == Fault(5, "input_tokens", "'x' is no number")


@pytest.mark.parametrize("absent", ["", " ", "NULL", "None", "NaN", r"\N", "n/a"])
def test_an_empty_cell_is_absent_and_never_zero(tmp_path: Path, absent: str) -> None:
    content = f"time,user,input_tokens,output_tokens,cost\n2026-11-29T12:00:00Z,{absent},{absent},5,{absent}\n"
    event = one(tmp_path, content)
    assert (event.input_tokens, event.reported_cost_usd, event.user_id) == (None, None, "")
    assert one(tmp_path, content.replace(f",{absent},5,", ",0,5,", 1)).input_tokens == 0


def test_one_bad_line_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = "2026-11-29T12:00:00Z,10,5\n"
    faults = told(tmp_path, PLAIN + "2026-11-29T12:00:00Z,10\nyesterday,1,1\n2026-11-29T12:00:00Z,10,5,6\n" + good)
    assert faults == [
        "line 3: it has 2 cells, and the header 3",
        "line 4, column time: 'yesterday' is no time that can be read without a guess: write it like "
        "2026-11-29T04:00:00Z",
        "line 5: it has 4 cells, and the header 3",
    ]
    assert sum(isinstance(outcome, UsageEvent) for outcome in read(tmp_path, PLAIN + "x,1,1\n" + good)) == 2


def test_a_quote_that_is_wrong_is_said_with_its_line(tmp_path: Path) -> None:
    start = PLAIN.replace("input_tokens", "feature")
    assert told(tmp_path, start + '2026-11-29T12:00:00Z,"a"b,1\n2026-11-29T12:00:00Z,c,1\n') == [
        'line 3: a quote stands inside a quoted cell: write it twice ("")'
    ]
    assert told(tmp_path, start + '2026-11-29T12:00:00Z,"a,1\n') == [
        "line 3: a quote is opened and not closed until the end of the file"
    ]
    (endless,) = told(tmp_path, start + '2026-11-29T12:00:00Z,"' + "a" * (CELL_CHARS_MAX + 1))
    assert endless.startswith("line 3: a cell has more than 16,777,216 characters")


def test_columns_are_known_however_they_are_spelled_and_the_others_are_said(tmp_path: Path) -> None:
    columns, _ = opened(tmp_path, "Prompt Tokens,completionTokens,Time,Project,user-id,Cost ($)\n")
    assert columns.told() == {
        "occurred_at": "Time",
        "user_id": "user-id",
        "input_tokens": "Prompt Tokens",
        "output_tokens": "completionTokens",
        "reported_cost_usd": "Cost ($)",
    }
    assert columns.unused() == ["Project"]
    said = {"occurred_at": "When", "feature": "project", "status": ""}
    columns, _ = opened(tmp_path, "When,Time,Project,Status\n", mapped=said)
    assert columns.told() == {"occurred_at": "When", "feature": "Project"}


@pytest.mark.parametrize(
    ("word", "status"),
    [*(("200", "ok"), ("429", "error"), ("503", "error"), ("Success", "ok"), ("failure", "error"), ("ERROR", "error"))],
)
def test_how_a_call_ended_is_read_in_the_words_of_others(tmp_path: Path, word: str, status: str) -> None:
    assert one(tmp_path, f"time,status\n2026-11-29T12:00:00Z,{word}\n").status == status


def test_a_word_that_says_nothing_of_how_a_call_ended_is_refused(tmp_path: Path) -> None:
    (fault,) = told(tmp_path, "time,status\n2026-11-29T12:00:00Z,streamed\n")
    assert fault.startswith("line 2, column status: 'streamed' is none of completed, ")


@pytest.mark.parametrize(
    ("header", "how", "reason"),
    [
        (
            "time,tokens\n",
            {"given": {"model": "m"}},
            "no column is known to be provider: say --map provider=COLUMN, or",
        ),
        ("tokens\n", {}, "no column is known to be occurred_at: say --map occurred_at=COLUMN; its columns are tokens"),
        ("time,time\n", {}, "two columns are called 'time'"),
        (
            "time\n",
            {"mapped": {"feature": "project"}},
            "there is no column 'project' for feature; its columns are time",
        ),
        ('"time\n', {}, "its header cannot be read: line 1: a quote is opened and not closed"),
    ],
)
def test_columns_that_cannot_be_told_refuse_the_file(
    tmp_path: Path, header: str, how: dict[str, Any], reason: str
) -> None:
    with pytest.raises(FileRefused, match=f"{reason}.*nothing was published"):
        read(tmp_path, header, **how)


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "a.csv", "it is empty"),
        (b"\xef\xbb\xbf\r\n", "a.csv", "it is empty"),
        (PLAIN.encode() + b"2026,caf\xe9,1\n", "a.csv", r"line 3 is not UTF-8 \(byte 0xe9\): save the file as UTF-8"),
        (PLAIN.encode() + b"\xc3", "a.csv", "line 3 is not UTF-8"),
        (b"not gzip", "a.csv.gz", "it is not whole gzip"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-3], "a.csv.gz", "it is not whole gzip"),
    ],
)
def test_a_file_that_is_no_text_is_refused_whole_in_a_sentence(
    tmp_path: Path, content: bytes, name: str, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileRefused, match=f"{reason}.*; nothing was published"):
        look_at(tmp_path / name)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="no such file or directory; nothing was published"):
        look_at(tmp_path / "none.csv")
    with pytest.raises(FileRefused, match="is a directory"):
        look_at(tmp_path)


# --- what cells say ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2026-11-29T12:00:00Z",
            "2026-11-29 12:00:00+00:00",
            "2026-11-29T21:00:00+09:00",
            "2026-11-29T21:00:00.0+0900",
        ),
        *("2026-11-29 12:00:00 UTC", "2026/11/29 12:00:00Z", "2026-11-29 12:00Z", "2026-11-29T12:00:00.000000000Z"),
        *("1795953600", "1795953600000", "1795953600.0", "Sun, 29 Nov 2026 12:00:00 GMT", "29 Nov 2026 13:00:00 +0100"),
    ],
)
def test_a_time_that_names_its_zone_is_read_in_any_usual_spelling(text: str) -> None:
    assert cells.moment(text, None) == NOON


def test_a_fraction_keeps_its_digits_beside_a_zone() -> None:
    assert cells.moment("2026-11-29T21:00:00.1239999+09:00", None) == NOON + timedelta(microseconds=123_999)


@pytest.mark.parametrize("text", ["2026-11-29 13:00:00", "2026-11-29T13:00:00.000", "29 Nov 2026 13:00:00"])
def test_a_time_without_a_zone_is_refused_unless_one_is_said(text: str) -> None:
    with pytest.raises(Unclear, match=f"{text!r} has no zone: say with --zone"):
        cells.moment(text, None)
    assert cells.moment(text, ZoneInfo("Europe/Berlin")) == NOON


@pytest.mark.parametrize("text", ["2026-10-25 02:30:00", "2026-03-29 02:30:00"])
def test_a_time_that_the_clock_shows_twice_or_never_is_refused(text: str) -> None:
    with pytest.raises(Unclear, match="exists twice or not at all in Europe/Berlin"):
        cells.moment(text, ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("11/29/2026 12:00", "without a guess"),
        ("2026-11-29", "a day without a time"),
        ("2026-13-29T12:00:00Z", "no time of the calendar"),
        ("0001-01-01T00:00:00+23:00", "no time of the calendar"),
        ("17", "without a guess"),
    ],
)
def test_a_time_that_could_be_two_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Unclear, match=reason):
        cells.moment(text, UTC)


@pytest.mark.parametrize(("text", "number"), [("930", 930), ("930.0", 930), ("+3", 3), ("1e3", 1_000)])
def test_a_whole_number_is_read_as_libraries_write_it(text: str, number: int) -> None:
    assert cells.count(text) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *(("1,5", "has a comma"), ("1,234", "has a comma"), ("1.234,5", "has a comma"), ("1.5", "no whole number")),
        *(("-1", "below zero"), ("many", "is no number"), ("0x10", "is no number"), ("\u0661", "is no number")),
    ],
)
def test_a_number_that_could_be_two_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Unclear, match=reason):
        cells.count(text)


# --- ids, and files of events -----------------------------------------------------------------------------------------


def ids(outcomes: list[Outcome]) -> list[str]:
    return [outcome.request_id for outcome in outcomes if isinstance(outcome, UsageEvent)]


def test_a_file_has_the_same_ids_each_time_zipped_or_not_and_another_file_has_others(tmp_path: Path) -> None:
    same = PLAIN + PLAIN.splitlines()[1]
    first = ids(read(tmp_path, same))
    assert len({*first}) == 2
    assert ids(read(tmp_path, same, name="renamed.csv")) == first
    assert ids(read(tmp_path, gzip.compress(same.encode()), name="calls.csv.gz")) == first
    assert not {*ids(read(tmp_path, same + "\n"))} & {*first}


def test_a_file_that_grew_keeps_its_ids_under_a_name(tmp_path: Path) -> None:
    first = ids(read(tmp_path, PLAIN, run="november"))
    assert ids(read(tmp_path, PLAIN + PLAIN.splitlines()[1], run="november"))[:1] == first
    assert ids(read(tmp_path, PLAIN, run="december")) != first


def test_events_come_back_from_json_lines_as_they_were_and_a_bad_line_is_named(tmp_path: Path) -> None:
    event = UsageEvent(request_id="r", occurred_at=NOON, provider="openai", model="gpt-4o", input_tokens=1)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + event.to_json() + b'\n\n{"request_id": "x"}\n{\n' + event.to_json())
    source = look_at(path)
    assert not source.is_table
    first, second, third, last = of_lines(source)
    assert first == last == event
    assert str(second) == "line 3, column occurred_at: it is required"
    assert str(third).startswith("line 4: it is not JSON")


# --- arrivals stretched -----------------------------------------------------------------------------------------------


def test_stretched_events_span_the_time_asked_for_in_their_own_proportions(tmp_path: Path) -> None:
    lines = "".join(f"2026-11-01T00:{minute:02}:00Z,1,1\n" for minute in (0, 15, 59))
    events = [event for event in read(tmp_path, PLAIN.splitlines()[0] + "\n" + lines) if isinstance(event, UsageEvent)]
    moments = [event.occurred_at for event in stretched(events, span=timedelta(days=59), until=NOON)]
    assert moments == [NOON - timedelta(days=59), NOON - timedelta(days=44), NOON]


def test_one_moment_and_none_can_be_stretched() -> None:
    assert stretched_moments([NOON, NOON], span=timedelta(days=1), until=NOON) == [NOON, NOON]
    assert stretched_moments([], span=timedelta(days=1), until=NOON) == []
