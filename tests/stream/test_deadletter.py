"""Dead letters come back as they were, and only what passes the contract goes out again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from costream.events import UsageEvent
from sinks.clickhouse.connect import ClickHouseAddress
from sinks.clickhouse.reader import Reader
from sinks.clickhouse.writer import Writer
from sinks.errors import WarehouseUnavailable
from stream.decode.cut import Cut
from stream.decode.frame import AgeLimits, Refusal
from stream.runtime.errors import PublishFailed
from stream.store import deadletter, stored_letters
from stream.store.deadletter import BadCorrection, Refused, Replay
from stream.store.decisions import TABLE, Decision, Sent, decision_rows
from stream.store.flush import Outgoing
from stream.store.letters import dead_letter_rows
from stream.store.stored_letters import DeadLetter, Which
from tests.support.warehouse import Embedded, Server, one_way_and_the_other

NOW = datetime.now(UTC).replace(microsecond=0)
LIMITS = AgeLimits(future_max=timedelta(minutes=10), past_max=timedelta(days=90))
ANY_BYTES = bytes(range(256))


@dataclass
class Log:
    """A record as the consumer hands it over."""

    offset: int
    value: bytes | None
    partition: int = 3
    timestamp: int = round(NOW.timestamp() * 1000)
    key: bytes | None = b"k\xff"
    headers: list[tuple[str, bytes]] = field(default_factory=lambda: [("trace", b"\x00\xff"), ("trace", b"2")])
    cut: Cut | None = None
    fault: str = ""
    own_time: bool = False


CUT = Cut(9_000_000, "ab", 5_000, "cd", 10_000, 40_000, "ef")


@pytest.fixture(scope="module", params=one_way_and_the_other)
def address(request: pytest.FixtureRequest) -> ClickHouseAddress:
    """450 letters in two kinds: more than two pages."""
    warehouse: Embedded | Server = request.getfixturevalue(request.param)
    address = warehouse.fresh()
    writer = Writer(address)
    refusals = [
        Refusal(
            Log(offset, ANY_BYTES if offset % 2 else event(provider=""), cut=CUT if offset == 3 else None),
            kind(offset),
            f"reason {offset}",
            f"r-{offset}",
        )
        for offset in range(450)
    ]
    writer.insert("dead_letters", dead_letter_rows(refusals, source="topic-1", now=NOW))
    writer.close()
    return address


def kind(offset: int) -> Any:
    return "malformed" if offset % 2 else "invalid"


def event(**fields: Any) -> bytes:
    usual = {"request_id": "r-1", "occurred_at": NOW.isoformat(), "provider": "openai", "model": "m"}
    return json.dumps(usual | fields).encode()


def letter(value: bytes, **fields: Any) -> DeadLetter:
    usual: dict[str, Any] = {
        "source": "topic-1",
        "partition": 3,
        "offset": 17,
        "received_at": NOW,
        "kind": "invalid",
        "reason": "why",
        "request_id": "r-1",
        "key": None,
        "value": value,
    }
    return DeadLetter(**usual | fields)


def plan(found: DeadLetter, **options: Any) -> Replay | Refused:
    return deadletter.plan(found, now=NOW, limits=LIMITS, **options)


def sent(outcome: Replay | Refused) -> Outgoing:
    assert isinstance(outcome, Replay), outcome
    return outcome.message


def reason(outcome: Replay | Refused) -> str:
    assert isinstance(outcome, Refused), outcome
    return outcome.reason


# --- reading ---------------------------------------------------------------------------------------------------------


def test_every_letter_comes_back_once_with_its_own_bytes(address: ClickHouseAddress) -> None:
    reader = Reader(address)
    found = list(stored_letters.letters(reader, Which()))
    reader.close()
    assert [each.offset for each in found] == list(range(450))
    assert found[1].value == ANY_BYTES
    assert (found[1].key, found[1].headers) == (b"k\xff", [("trace", b"\x00\xff"), ("trace", b"2")])
    assert found[1].received_at == NOW
    assert [each.offset for each in found if each.cut] == [3]
    assert found[3].cut == CUT


def test_letters_are_chosen_by_kind_call_and_arrival(address: ClickHouseAddress) -> None:
    reader = Reader(address)
    assert {each.kind for each in stored_letters.letters(reader, Which(kinds=["malformed"]))} == {"malformed"}
    assert len(list(stored_letters.letters(reader, Which(since=NOW)))) == 450
    assert not list(stored_letters.letters(reader, Which(since=NOW + timedelta(milliseconds=1))))
    assert len(stored_letters.latest(reader, Which(kinds=["invalid"]), limit=7)) == 7
    of_calls = Which(request_ids=["r-4", "r-401", "r-99999", "' OR 1"])
    assert [each.offset for each in stored_letters.letters(reader, of_calls)] == [4, 401]
    both = Which(kinds=["invalid"], request_ids=["r-4", "r-401"])
    assert [each.offset for each in stored_letters.latest(reader, both, limit=7)] == [4]
    reader.close()


def test_the_last_decision_of_a_letter_holds_and_one_without_is_open(
    address: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_letters, "PLACES_AT_ONCE", 100)
    reader, writer = Reader(address), Writer(address)
    malformed, known = Which(kinds=["malformed"]), {"malformed": 225, "invalid": 225}
    assert stored_letters.counts(reader, Which(states=["open"])) == known
    given_up = Decision("given_up", at=NOW, reason="why", by="Ada")
    assert deadletter.decide(reader, writer, malformed, given_up) == 225
    assert stored_letters.counts(reader, Which(states=["open"])) == {"invalid": 225}
    again = Decision("open", at=NOW + timedelta(milliseconds=1))
    assert deadletter.decide(reader, writer, Which(request_ids=["r-1", "r-3"]), again) == 2
    deadletter.decide(reader, writer, Which(request_ids=["r-1"]), Decision("replayed", at=NOW - timedelta(days=1)))
    assert stored_letters.counts(reader, Which(states=["open"])) == {"invalid": 225, "malformed": 2}
    (found,) = stored_letters.letters(reader, Which(request_ids=["r-5"]))
    assert found.decision == given_up
    assert found.received_at == NOW
    (found,) = stored_letters.letters(reader, Which(request_ids=["r-4"]))
    assert (found.decision, found.state) == (None, "open")
    assert len(stored_letters.latest(reader, Which(states=["given_up"]), limit=1_000)) == 223
    assert len(list(stored_letters.letters(reader, Which(states=["given_up", "open"])))) == 450
    writer.insert(TABLE, decision_rows(stored_letters.places_of([found]), [SENT]))
    (found,) = stored_letters.letters(reader, Which(states=["replayed"]))
    assert (found.offset, found.decision) == (4, SENT)
    assert str(SENT.sent) == "usage.events/2/?"
    writer.close()
    reader.close()


SENT = Decision("replayed", at=NOW, sent=Sent("usage.events", 2, None))


# --- replaying -------------------------------------------------------------------------------------------------------


def test_a_letter_that_passes_is_sent_with_its_original_bytes_and_where_it_came_from() -> None:
    spaced = b"  " + event()
    found = letter(spaced, kind="too_early", headers=[("trace", b"1"), ("costream-forwarded", b"4")])
    message = sent(plan(found))
    assert message.value == spaced
    assert message.key == b"r-1"
    assert message.headers == [("trace", b"1"), ("costream-replayed", b"topic-1/3/17")]


def test_a_letter_of_which_only_a_head_is_kept_is_sent_only_with_its_whole_value() -> None:
    head = event() + b" " * 70_000  # as much of it as was kept, and by chance a whole event
    found = letter(head, cut=CUT)
    for options in ({}, {"fields": {"provider": "openai"}}, {"corrected": head}, {"corrected": event()}):
        told = reason(plan(found, **options))
        assert "only a head of its value is kept (value 9,000,000 bytes, 70" in told
        assert "give the whole value with --edit" in told
    whole = event(model="another")
    assert json.loads(sent(plan(found, corrected=whole)).value or b"")["model"] == "another"


def test_a_letter_whose_headers_alone_are_cut_is_sent_with_those_that_are_kept() -> None:
    found = letter(
        event(), headers=[("trace", b"1")], cut=Cut(headers_count=9, headers_bytes=9_999, headers_sha256="ef")
    )
    assert sent(plan(found)).headers[0] == ("trace", b"1")
    assert found.kept_told() == "9 headers of 9,999 bytes, 1 kept, sha256 ef"
    assert json.loads(found.to_json())["cut"]["headers_count"] == 9


def test_a_letter_that_is_still_bad_is_refused_with_the_reason() -> None:
    assert "provider" in reason(plan(letter(event(provider=""))))
    assert "tombstone" not in reason(plan(letter(b"{")))


def test_a_field_set_by_hand_makes_it_pass() -> None:
    outcome = plan(letter(event(provider="")), fields={"provider": "openai"})
    assert isinstance(outcome, Replay)
    assert outcome.corrected
    assert UsageEvent.model_validate_json(outcome.message.value or b"").provider == "openai"


def test_a_field_cannot_be_set_in_what_is_no_object() -> None:
    assert "no JSON object" in reason(plan(letter(ANY_BYTES), fields={"provider": "openai"}))
    twice = event().replace(b'"provider"', b'"model": "n", "provider"')
    assert "no JSON object" in reason(plan(letter(twice), fields={"provider": "openai"}))


def test_a_conflict_is_sent_only_under_an_id_of_its_own() -> None:
    found = letter(event(), kind="conflict")
    assert "id of its own" in reason(plan(found))
    assert sent(plan(found, fields={"request_id": "r-2"})).key == b"r-2"


@pytest.mark.parametrize(
    ("moment", "passes"),
    [
        (NOW + LIMITS.future_max, True),
        (NOW + LIMITS.future_max + timedelta(milliseconds=1), False),
        (NOW - LIMITS.past_max, True),
        (NOW - LIMITS.past_max - timedelta(milliseconds=1), False),
    ],
)
def test_what_would_be_refused_for_its_age_again_is_not_sent(moment: datetime, passes: bool) -> None:
    assert isinstance(plan(letter(event(occurred_at=moment.isoformat()))), Replay if passes else Refused)


# --- an edited file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [event(), b"plain text", ANY_BYTES, b'{"a": 1, "a": 2}', b"[1]", b'{"a": NaN}', b""])
def test_an_exported_line_left_as_it_is_changes_no_byte(value: bytes) -> None:
    found = letter(value)
    edited = deadletter.corrections(iter([found.to_json()]))
    assert set(edited) == {("topic-1", 3, 17)}
    assert deadletter.same_json(edited["topic-1", 3, 17], value)


def test_an_edited_event_is_sent_and_others_are_left_alone() -> None:
    bad, other = letter(event(provider="")), letter(event(), offset=18)
    line = json.loads(bad.to_json())
    line["event"]["provider"] = "openai"
    edited = deadletter.corrections(iter([json.dumps(line), ""]))
    outcomes = list(deadletter.replays([bad, other], edited=edited, now=NOW, limits=LIMITS))
    assert [outcome.letter.offset for outcome in outcomes] == [17]
    assert json.loads(sent(outcomes[0]).value or b"")["provider"] == "openai"


def test_an_empty_edited_file_sends_nothing() -> None:
    assert list(deadletter.replays([letter(event())], edited={}, now=NOW, limits=LIMITS)) == []


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"source": "s", "partition": 1}', '{"source": "s", "partition": 1, "offset": 2}',
     '{"source": "s", "partition": 1, "offset": 2, "event": {}, "value": "x"}',
     '{"source": "s", "partition": 1, "offset": 2, "value_base64": "*"}'],
)  # fmt: skip
def test_a_line_that_cannot_be_used_is_named_by_its_number(line: str) -> None:
    with pytest.raises(BadCorrection, match=r"^line 1: .*nothing was sent"):
        deadletter.corrections(iter([line]))


def test_a_letter_that_stands_twice_in_the_file_is_refused() -> None:
    line = letter(event()).to_json()
    with pytest.raises(BadCorrection, match="stands twice"):
        deadletter.corrections(iter([line, line]))


def test_set_takes_json_or_text_and_only_fields_of_the_event() -> None:
    assert deadletter.assignments(["model=gpt=4", "input_tokens=5", "user_id="]) == {
        "model": "gpt=4",
        "input_tokens": 5,
        "user_id": "",
    }
    for bad in ("modle=x", "model"):
        with pytest.raises(BadCorrection, match="FIELD=VALUE"):
            deadletter.assignments([bad])


# --- publishing ------------------------------------------------------------------------------------------------------


class Edges:
    """Kafka and the warehouse: what has reached them, in this order."""

    def __init__(self, *, fails: str = "") -> None:
        self.reached: list[str] = []
        self.marked: list[pl.DataFrame] = []
        self._fails = fails

    def placed(self, topic: str, messages: Sequence[Outgoing]) -> list[tuple[int | None, int | None]]:
        if self._fails == "kafka":
            raise PublishFailed(topic=topic, unacknowledged=len(messages), reason="gone")
        self.reached += [f"sent {(message.key or b'').decode()}" for message in messages]
        return [(2, number) for number in range(len(messages))]

    def insert(self, table: str, frame: pl.DataFrame) -> int:
        if self._fails == "warehouse":
            raise WarehouseUnavailable(where="there", reason="gone")
        assert table == TABLE
        self.reached += [f"marked {offset}" for offset in frame["source_offset"]]
        self.marked.append(frame)
        return frame.height

    def publish(self, outcomes: Iterable[Replay | Refused]) -> Iterator[Replay | Refused]:
        return deadletter.publish(self, self, "usage.events", outcomes, clock=lambda: NOW, by="Ada")


def test_a_letter_is_marked_once_kafka_has_it_and_told_once_it_is_marked() -> None:
    edges = Edges()
    outcomes = (
        plan(letter(event(request_id=f"r-{number}" if number % 3 else ""), offset=number)) for number in range(450)
    )
    told = 0
    for outcome in edges.publish(outcomes):
        told += 1
        if isinstance(outcome, Replay):
            key, offset = (outcome.message.key or b"").decode(), outcome.letter.offset
            assert edges.reached.index(f"sent {key}") < edges.reached.index(f"marked {offset}")
            assert outcome.sent is not None
    assert (told, len(edges.reached)) == (450, 600)
    rows = pl.concat(edges.marked)
    assert set(rows["state"]) == {"replayed"}
    assert set(rows["decided_by"]) == {"Ada"}
    assert rows.row(1, named=True)["sent_offset"] == 1


def test_what_kafka_does_not_acknowledge_stays_open() -> None:
    edges = Edges(fails="kafka")
    with pytest.raises(PublishFailed):
        list(edges.publish([plan(letter(event()))]))
    assert edges.reached == []


def test_what_was_sent_and_could_not_be_marked_is_said() -> None:
    edges = Edges(fails="warehouse")
    with pytest.raises(deadletter.SentNotMarked, match=r"usage\.events \(dead letters: 1\), .* open still.*twice"):
        list(edges.publish([plan(letter(event())), plan(letter(b"{"))]))
    assert edges.reached == ["sent r-1"]


def test_refused_and_sent_are_told_in_the_order_of_the_letters() -> None:
    found = [letter(b"{", offset=1), letter(event(), offset=2), letter(b"{", offset=3)]
    outcomes = list(Edges().publish([plan(each) for each in found]))
    assert [(each.letter.offset, isinstance(each, Replay)) for each in outcomes] == [(1, False), (2, True), (3, False)]
