"""What the audit says to do next: something for whatever does not hold, in words, in 80 columns, and as data."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from rich.cells import cell_len
from rich.console import Console

from stream.audit import AuditReport, Check, Finding, KafkaFacts, PartitionTotals, Repairs, costs
from stream.audit.kafka import LogFacts
from stream.audit.ledger import Conservation, Gap, conservation
from stream.audit.repair import LeftAlone
from stream.audit.report import NextStep
from stream.audit.steps import next_steps, short_of
from stream.cli import audit as audit_command
from stream.cli import common

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOURCE = "topic-1"
BLOCK = 65_536


def gap(block: int = 0, *, partition: int = 3, source: str = SOURCE, rows: int = 7, letters: int = 0) -> Gap:
    first = block * BLOCK
    return Gap(source, partition, first, first + BLOCK - 1, rows, letters, NOW - timedelta(days=2))


def kept(*gaps: Gap) -> Conservation:
    holds = [Check(name, "?", 0) for name in ("records", "raw rows", "dead letters")]
    short = frozenset((gap.source, gap.partition) for gap in gaps if gap.rows)
    return Conservation(*holds, partitions=(), gaps=gaps, short=short)


def broken(name: str, **numbers: Any) -> Check:
    finding = Finding({"source": SOURCE, "source_partition": 3}, "a rule", numbers)
    return Check(name, "what must hold", compared=9, differing=1, findings=(finding,))


def facts(*, begin: int = 0, retention: timedelta | None = timedelta(days=14)) -> KafkaFacts:
    return KafkaFacts(SOURCE, (LogFacts(3, begin, 10**9, None),), retention)


def only(steps: tuple[NextStep, ...]) -> NextStep:
    (step,) = steps
    return step


def test_missing_rows_are_read_again_by_their_offsets_while_kafka_has_them() -> None:
    step = only(next_steps([broken("raw rows")], kept(gap(0), gap(1)), facts()))
    assert step.command == "costream reread --topic-partition usage.events:3 --from 0 --to 131071"
    assert "14 raw rows are missing: partition 3, offsets 0-131071." in step.text
    assert "until 2026-12-05" in step.text


def test_where_kafka_was_not_asked_no_day_is_promised() -> None:
    step = only(next_steps([broken("raw rows")], kept(gap()), None))
    assert "while Kafka has them;" in step.text
    assert step.command.startswith("costream reread")


def test_of_a_partition_that_kafka_has_not_told_of_nothing_is_taken_for_gone() -> None:
    first = Gap(SOURCE, 9, 0, 0, 1, 0, NOW)
    step = only(next_steps([broken("raw rows")], kept(first), facts()))
    assert step.command == "costream reread --topic-partition usage.events:9 --from 0 --to 0"


def test_rows_of_several_stretches_are_read_again_by_one_command() -> None:
    step = only(next_steps([broken("dead letters")], kept(gap(0, letters=1), gap(5, letters=2)), facts()))
    assert step.command == "costream reread --missing"
    assert step.text.startswith("3 dead letters are missing")


def test_of_many_stretches_three_are_named_and_the_others_counted() -> None:
    three, five = (kept(*(gap(2 * block) for block in range(count))) for count in (3, 5))
    named = "partition 3, offsets 0-65535; partition 3, offsets 131072-196607; partition 3, offsets 262144-327679"
    assert f"21 raw rows are missing: {named}. Read" in only(next_steps([broken("raw rows")], three, facts())).text
    assert f"{named}; and 2 more stretches." in only(next_steps([broken("raw rows")], five, facts())).text


def test_what_kafka_has_is_told_apart_from_what_it_has_no_more() -> None:
    there, gone = next_steps([broken("raw rows")], kept(gap(0), gap(2)), facts(begin=BLOCK))
    assert there.text.startswith("7 raw rows are missing: partition 3, offsets 131072-196607. Read")
    assert gone.text.startswith(
        "7 raw rows are missing and Kafka has the records no more: partition 3, offsets 0-65535."
    )
    reread_all = only(next_steps([broken("raw rows")], kept(gap(0)), facts(begin=BLOCK - 1)))
    assert reread_all.command.endswith("--from 0 --to 65535"), "its last record is there"
    of_another = only(next_steps([broken("raw rows")], kept(gap(0, partition=4)), facts(begin=BLOCK)))
    assert of_another.command.startswith("costream reread"), "Kafka was not asked for that partition"


def test_the_day_until_which_kafka_has_records_is_that_of_the_oldest() -> None:
    older = replace(gap(2), received_first=NOW - timedelta(days=9))
    for retention, told in (
        (timedelta(days=14), "until 2026-11-28"),
        (None, "has them;"),
        (timedelta.max, "has them;"),
    ):
        assert told in only(next_steps([broken("raw rows")], kept(gap(0), older), facts(retention=retention))).text
    unknown = replace(gap(2), received_first=None)
    assert "has them;" in only(next_steps([broken("raw rows")], kept(gap(0), unknown), facts())).text


def test_only_gaps_of_rows_count_for_rows_and_only_those_of_letters_for_letters() -> None:
    both = kept(gap(0, rows=7, letters=0), gap(2, rows=0, letters=4), gap(4, rows=1, letters=2))
    assert (
        "8 raw rows are missing: partition 3, offsets 0-65535; partition 3, offsets 262144"
        in only(next_steps([broken("raw rows")], both, facts())).text
    )
    assert (
        "6 dead letters are missing: partition 3, offsets 131072-196607; partition 3"
        in only(next_steps([broken("dead letters")], both, facts())).text
    )
    letters_alone = kept(gap(0, rows=0, letters=4))
    assert "left alone" not in only(next_steps([broken("usage_hourly")], letters_alone, facts())).text


def test_what_expired_and_what_is_ahead_are_two_steps() -> None:
    check = Check("kafka", "?", 2, 2, (*broken("kafka", committed=9).findings, *broken("kafka", log_begin=4).findings))
    ahead, expired = next_steps([check], kept(), facts())
    assert (ahead.command, expired.command) == ("costream reread --rewind", "costream worker")


def test_a_check_that_holds_has_no_next_step() -> None:
    assert next_steps([Check("ids", "?", 9), Check("raw rows", "?", 9)], kept(gap()), facts()) == ()


@pytest.mark.parametrize("gone", [(gap(0), facts(begin=BLOCK)), (gap(0, source="an older topic"), facts())])
def test_what_kafka_has_no_more_comes_from_a_backup_and_no_command_is_promised(gone: tuple[Gap, KafkaFacts]) -> None:
    missing, kafka = gone
    step = only(next_steps([broken("raw rows")], kept(missing), kafka))
    assert "backup" in step.text
    assert step.command == ""


def test_rows_that_the_ledger_does_not_know_are_told_from_rows_that_are_missing() -> None:
    step = only(next_steps([broken("raw rows")], kept(), facts()))
    assert "that the ledger does not know" in step.text


def test_a_repair_comes_after_the_raw_rows_are_back() -> None:
    steps = next_steps([broken("usage_hourly"), broken("raw rows")], kept(gap()), facts())
    assert [step.check for step in steps] == ["raw rows", "usage_hourly"]
    assert "left alone until the raw rows are back" in steps[1].text
    assert steps[1].command == "costream audit --repair"


@pytest.mark.parametrize("table", ["usage_user_daily", "budget_spend"])
def test_a_rollup_of_a_partition_that_is_whole_is_rebuilt_at_once(table: str) -> None:
    step = only(next_steps([broken(table)], kept(gap(partition=4)), facts()))
    assert "left alone" not in step.text
    assert step.command == "costream audit --repair"


def test_committed_offsets_that_nobody_stored_are_told_from_records_that_expired() -> None:
    assert only(next_steps([broken("kafka", committed=9)], kept(), facts())).command == "costream reread --rewind"
    assert "no command brings them back" in only(next_steps([broken("kafka", log_begin=9)], kept(), facts())).text


@pytest.mark.parametrize(
    "name",
    [
        *("records", "raw rows", "dead letters", "kafka", "vanished", "usage_hourly", "usage_hourly_units"),
        *("usage_user_daily", "ids", "removals", "a check that comes later"),
    ],
)
def test_no_check_that_fails_is_without_a_next_step(name: str) -> None:
    steps = next_steps([broken(name), Check("ids", "?", 1)], kept(), None)
    assert {step.check for step in steps} == {name}
    assert all(step.text.endswith(".") and step.command for step in steps)


@pytest.mark.parametrize(
    ("check", "gaps", "kafka", "said"),
    [
        (
            broken("raw rows"),
            [gap(rows=1_234_567)],
            facts(),
            "1,234,567 raw rows are missing: partition 3, offsets 0-65535. Read the offsets again while Kafka has them "
            "(until 2026-12-05); the command is a rehearsal until --yes is given.",
        ),
        (
            broken("dead letters"),
            [gap(letters=2)],
            None,
            "2 dead letters are missing: partition 3, offsets 0-65535. Read the offsets again while Kafka has them; "
            "the command is a rehearsal until --yes is given.",
        ),
        (
            broken("raw rows"),
            [gap(rows=1_234_567)],
            facts(begin=BLOCK),
            "1,234,567 raw rows are missing and Kafka has the records no more: partition 3, offsets 0-65535. Restore "
            "the table from a backup. Without one they stay missing; rollups and ledger still count them.",
        ),
        (
            broken("raw rows"),
            [],
            facts(),
            "There are raw rows that the ledger does not know. Either rows were written by hand: delete them; or rows "
            "of ingest_ledger were lost: restore them from a backup. `costream audit --json` names the blocks.",
        ),
        (
            broken("kafka", committed=9),
            [],
            facts(),
            "The group has committed offsets that the ledger does not have, so no worker will read them. Stop all "
            "workers, set the group back to the ledger's end, and start them: what is stored is not counted twice.",
        ),
        (
            broken("kafka", log_begin=9),
            [],
            facts(),
            "Records expired in Kafka before they were read: no command brings them back. Start the workers now, "
            "before more expire, and keep records longer (retention.ms of usage.events).",
        ),
        (
            broken("usage_hourly"),
            [gap()],
            facts(),
            "The rollups of a partition whose raw rows are missing know more than these: they are left alone until "
            "the raw rows are back. Then rebuild what still differs.",
        ),
        (
            broken("usage_hourly"),
            [],
            facts(),
            "Rebuild these rows from their raw rows: each gets a correction row with the difference.",
        ),
        (broken("a check that comes later"), [], facts(), "The command names every place."),
    ],
)
def test_a_step_is_whole_sentences(check: Check, gaps: list[Gap], kafka: KafkaFacts | None, said: str) -> None:
    assert only(next_steps([check], kept(*gaps), kafka)).text == said


@pytest.mark.parametrize(
    ("name", "command"),
    [
        *((name, "costream audit --repair") for name in ("ids", "removals", "adjustments", "usage_daily")),
        ("records", 'costream query "SELECT * FROM ingest_ledger ORDER BY ALL"'),
        ("vanished", 'costream audit --accept-vanished "WHY"'),
        ("raw rows", "costream audit --json"),
        ("a check that comes later", "costream audit --json"),
    ],
)
def test_each_check_has_its_command(name: str, command: str) -> None:
    assert only(next_steps([broken(name)], kept(), None)).command == command


def of_call(rule: str, *, request_id: str = "r-1", price_id: str = "feed") -> Check:
    where = {"request_id": request_id, "hour": NOW, "price_id": price_id}
    return Check("costs", "?", compared=9, differing=1, findings=(Finding(where, rule, {}),))


@pytest.mark.parametrize(
    ("request_id", "command"),
    [
        ("r-1", "costream explain r-1"),
        ("it's a; call", "costream explain 'it'\"'\"'s a; call'"),
        ("--json", "costream explain -- --json"),
        ("\x1b[31m", "costream audit --json"),
    ],
)
def test_a_cost_that_is_not_what_it_comes_to_is_explained_and_priced_anew(request_id: str, command: str) -> None:
    explain, anew = next_steps([of_call(costs.OTHER_COST, request_id=request_id)], kept(), None, drawn="again")
    assert explain.command == command
    assert "`again` draws the same calls again." in explain.text
    assert anew.command == "costream reprice --from 2026-11-23T12:00:00 --to 2026-11-23T13:00:00 --dry-run"


@pytest.mark.parametrize("rule", [costs.NO_TEXT, costs.OTHER_TEXT])
def test_a_text_that_is_missing_is_told_by_its_id_and_comes_from_a_backup(rule: str) -> None:
    step = only(next_steps([of_call(rule)], kept(), None, drawn="again"))
    assert step.text.endswith("Of them are feed.")
    assert ("backup" in step.text, step.command) == (True, "again")


def test_of_the_texts_that_are_missing_three_are_named_by_their_ids() -> None:
    findings = [of_call(costs.NO_TEXT, price_id=price_id).findings[0] for price_id in ("d", "b", "b", "a", "c")]
    step = only(next_steps([Check("costs", "?", 9, 5, tuple(findings))], kept(), None))
    assert step.text.endswith("Of them are a, b, c.")


def test_texts_and_costs_that_are_wrong_are_told_apart() -> None:
    findings = (*of_call(costs.NO_TEXT).findings, *of_call(costs.OTHER_STATUS, request_id="r-2").findings)
    steps = next_steps([Check("costs", "?", 9, 2, findings)], kept(), None)
    assert [step.command.split(" -")[0] for step in steps] == [
        *("costream audit", "costream explain r-2", "costream reprice"),
    ]


def test_neighbouring_blocks_are_one_stretch_and_others_are_not() -> None:
    stretches = short_of(kept(gap(0), gap(1), gap(3), gap(4, partition=4)))
    assert [(each.partition, each.first, each.rows) for each in stretches] == [
        (3, 0, 14),
        (3, 3 * BLOCK, 7),
        (4, 4 * BLOCK, 7),
    ]


def test_a_stretch_grows_by_the_block_behind_it_and_not_by_an_earlier_one() -> None:
    apart = [gap(0), gap(5), gap(6), gap(7)]
    assert [(stretch.first >> 16, stretch.last >> 16) for stretch in short_of(kept(*apart))] == [(0, 0), (5, 7)]


def test_of_a_stretch_the_day_is_only_known_if_every_block_has_a_row_left() -> None:
    empty = Gap(SOURCE, 3, BLOCK, 2 * BLOCK - 1, 7, 0, None)
    assert short_of(kept(gap(0), empty))[0].received_first is None


def test_only_blocks_whose_letters_are_missed_are_read_again() -> None:
    """Dead letters expire; what has is no gap."""
    ledger = {"source": SOURCE, "source_partition": 3, "offset_block": 0, "offset_first": 0, "offset_last": 9}
    outcomes = {"received": 10, "stored": 9, "duplicates": 0, "dead_lettered": 1, "forwarded": 0}
    counted = {"events": 8, "events_expiring": 0, "removed": 0, "dead_letters": 0, "in_flight": 0}
    place = {"source": SOURCE, "source_partition": 3, "offset_block": 0}
    blocks = pl.DataFrame([place | counted | {"received_first": NOW - timedelta(days=95)}])
    old_calls = {
        "source": SOURCE,
        "source_partition": 3,
        "calls": 1,
        "applied": 0,
        "hour_first": NOW - timedelta(days=99),
    }
    found = conservation(
        pl.DataFrame([ledger | outcomes]),
        blocks,
        pl.DataFrame([old_calls]),
        now=NOW,
        horizon=NOW - timedelta(days=88),
    )
    assert found.gaps == ()
    young = blocks.with_columns(received_first=pl.lit(NOW))
    nothing_old = pl.DataFrame(schema=pl.DataFrame([old_calls]).schema)
    found = conservation(
        pl.DataFrame([ledger | outcomes]), young, nothing_old, now=NOW, horizon=NOW - timedelta(days=88)
    )
    assert [(each.rows, each.letters) for each in found.gaps] == [(1, 1)]


# --- on the screen ---------------------------------------------------------------------------------------------------

WIDE = 10**15


def wide_report() -> AuditReport:
    """Names and numbers as wide as they get, in letters of two columns too."""
    name = "請求" * 60 + "\x1b[31m" + "x" * 200
    findings = tuple(
        Finding(
            {"model": name, "source": name, "source_partition": 65_535},
            f"a rule about {name}",
            {"cost_usd_raw": "9" * 38, "quantities_raw": str({name: "9" * 38})},
        )
        for _ in range(9)
    )
    checks = tuple(Check(each, f"{name} = {name}", WIDE, WIDE, findings) for each in ("raw rows", "usage_hourly_units"))
    totals = PartitionTotals(
        name, 65_535, WIDE, 2 * WIDE, *[WIDE] * 8, committed=WIDE, log_begin=1, log_end=WIDE, lag=WIDE
    )
    steps = (
        NextStep(
            "raw rows", name, f"costream reread --topic-partition usage.events:65535 --from {WIDE} --to {2 * WIDE}"
        ),
    )
    return AuditReport(NOW, date(2026, 11, 1), checks, (totals,), steps)


@pytest.mark.parametrize("columns", [80, 200])
def test_every_line_fits_80_columns_however_wide_the_data(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(common, "console", Console(file=printed, width=columns))
    repairs = Repairs(WIDE, WIDE, WIDE, (LeftAlone("usage_hourly_units", "s" * 300, 65_535, WIDE),))
    audit_command._print(wide_report(), repairs)
    lines = printed.getvalue().splitlines()
    assert [line for line in lines if cell_len(line) > 80] == []
    assert "\x1b" not in printed.getvalue()
    command = "".join(line.strip().removesuffix("\\") for line in lines if line.strip().startswith(("costream", "--")))
    assert command.startswith(f"costream reread --topic-partition usage.events:65535 --from {WIDE}")
    assert f"--to {2 * WIDE}" in command


def test_what_of_a_sample_was_not_compared_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(common, "console", Console(file=printed, width=80))
    check = Check("costs", "?", compared=1_890, drawn=2_000, left_out={costs.BEFORE_TEXTS: 10, costs.UNPRICED: 100})
    audit_command._print(AuditReport(NOW, date(2026, 11, 1), (check,), ()), None)
    lines = printed.getvalue().splitlines()
    assert "costs: 10 of 2,000 calls stored before prices had texts" in lines
    assert "costs: 100 of 2,000 calls without a price" in lines
    assert lines[-2] == "the audit holds"


def test_a_report_as_json_has_the_steps_with_their_commands() -> None:
    told = json.loads(wide_report().to_json())
    assert told["next_steps"][0]["check"] == "raw rows"
    assert told["next_steps"][0]["command"].startswith("costream reread")
    assert NextStep("raw rows", "from a backup").command == ""


def test_a_repair_says_what_it_left_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(common, "console", Console(file=printed, width=80))
    audit_command.say_repairs(Repairs(0, 2, 18, (LeftAlone("usage_hourly", SOURCE, 3, 18),)))
    told = " ".join(printed.getvalue().split())
    assert "left: 18 rollup rows. Raw rows of their partitions are missing" in told
    assert "18 of usage_hourly, partition 3 of topic-1" in told
