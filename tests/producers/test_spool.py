"""The spool on disk: its bounds, its locks and what happens to a damaged file."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from costream.delivery import voice
from costream.delivery.spool import Lost, Message, Spool
from costream.settings import Settings

NOW = datetime(2025, 1, 1, tzinfo=UTC)
MIB = 1024**2
SLACK = 2 * MIB  # the write-ahead log: up to 1 MiB before its pages go into the file, and one transaction more


def messages(count: int, *, size: int = 400, start: int = 0) -> list[Message]:
    return [Message(f"request-{start + number}".encode(), b"x" * size) for number in range(count)]


def spool(folder: Path, **settings: Any) -> Spool:
    return Spool(Settings(spool_dir=folder, **settings))


def bytes_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def drain(one: Spool) -> list[Message]:
    found = []
    while batch := one.lend(1_000):
        found += [stored.message for stored in batch]
        one.settle([stored.row for stored in batch])
    return found


def test_nothing_touches_the_disk_before_the_first_message(tmp_path: Path) -> None:
    one = spool(tmp_path / "spool")
    assert one.adopt() == 0
    assert one.lend(10) == []
    one.close()
    assert not (tmp_path / "spool").exists()


def test_what_is_written_can_be_lent_settled_and_is_gone(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.write(messages(2_500), NOW)
    assert one.rows == 2_500
    assert drain(one) == messages(2_500)
    assert one.rows == 0
    assert list(tmp_path.iterdir()) == []


def test_what_kafka_did_not_acknowledge_is_lent_again(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.write(messages(3), NOW)
    batch = one.lend(10)
    one.settle([batch[1].row])
    assert [stored.message.key for stored in one.lend(10)] == [b"request-0", b"request-2"]


def test_the_folder_and_its_files_are_the_owners_alone(tmp_path: Path) -> None:
    one = spool(tmp_path / "spool")
    one.write(messages(1), NOW)
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "spool").iterdir())


def test_beyond_its_bytes_the_oldest_messages_go_and_are_counted(tmp_path: Path) -> None:
    one = spool(tmp_path, spool_bytes_max=MIB)
    lost = 0
    for start in range(0, 20_000, 500):
        lost += one.write(messages(500, start=start), NOW).events
        assert bytes_on_disk(tmp_path) <= MIB + SLACK
    assert lost + one.rows == 20_000
    assert one.rows > 1_000
    kept = [message.key for message in drain(one)]
    assert kept == [f"request-{number}".encode() for number in range(lost, 20_000)]


def test_the_bound_is_the_folders_not_each_files(tmp_path: Path) -> None:
    first, second = spool(tmp_path, spool_bytes_max=MIB), spool(tmp_path, spool_bytes_max=MIB)
    for start in range(0, 5_000, 500):
        first.write(messages(500, start=start), NOW)
        second.write(messages(500, start=start), NOW)
        assert bytes_on_disk(tmp_path) <= MIB + 2 * SLACK


def test_messages_on_loan_are_not_dropped_for_room(tmp_path: Path) -> None:
    one = spool(tmp_path, spool_bytes_max=MIB)
    one.write(messages(100), NOW)
    loan = one.lend(100)
    for start in range(0, 10_000, 500):
        one.write(messages(500, start=100 + start), NOW)
    before = one.rows
    one.settle([stored.row for stored in loan])
    assert one.rows == before - 100


@pytest.mark.parametrize(("age", "kept"), [(timedelta(hours=1), 5), (timedelta(hours=1, milliseconds=1), 0)])
def test_a_message_is_given_up_only_once_it_is_older_than_the_bound(tmp_path: Path, age: timedelta, kept: int) -> None:
    one = spool(tmp_path, spool_age_max=timedelta(hours=1))
    one.write(messages(5), NOW)
    assert one.expire(NOW + age) == Lost(5 - kept)
    assert one.rows == kept


def test_a_lost_report_gives_back_the_events_it_reported(tmp_path: Path) -> None:
    one = spool(tmp_path, spool_age_max=timedelta(hours=1))
    one.write([*messages(2), Message(b"report", b"{}", report_of=412)], NOW)
    assert one.expire(NOW + timedelta(days=1)) == Lost(events=2, reported=412)


def test_a_file_that_its_process_puts_away_while_it_is_looked_at_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    """It is listed, and gone before anything is asked of it: so is a link to nothing."""
    ended = spool(tmp_path)
    ended.write(messages(10), NOW)
    ended.close()
    (left,) = tmp_path.glob("*.sqlite")
    left.with_name(f"{left.name.partition('@')[0]}@1-gone.sqlite").symlink_to(tmp_path / "nothing")
    assert spool(tmp_path).adopt() == 10


def test_a_closed_spool_is_adopted_and_a_held_one_is_not(tmp_path: Path) -> None:
    gone, living, heir = spool(tmp_path), spool(tmp_path), spool(tmp_path)
    gone.write(messages(10), NOW)
    living.write(messages(10, start=100), NOW)
    gone.close()
    assert heir.adopt() == 10
    assert heir.adopt() == 0
    assert {message.key for message in drain(heir)} == {message.key for message in messages(10)}
    assert len(drain(living)) == 10
    assert list(tmp_path.iterdir()) == []


def test_two_heirs_never_share_an_orphan(tmp_path: Path) -> None:
    gone = spool(tmp_path)
    gone.write(messages(10), NOW)
    gone.close()
    heirs = [spool(tmp_path), spool(tmp_path)]
    assert sorted(heir.adopt() for heir in heirs) == [0, 10]


def test_a_damaged_file_is_kept_for_a_look_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "usage.events@1-abcd.sqlite").write_bytes(b"this is no database" * 100)
    one = spool(tmp_path)
    with caplog.at_level(logging.ERROR, logger="costream"):
        assert one.adopt() == 0
    assert (tmp_path / "usage.events@1-abcd.corrupt").exists()
    voice.wait(5)
    assert "is damaged" in caplog.text
    one.write(messages(1), NOW)
    assert len(drain(one)) == 1


def test_files_of_others_in_the_folder_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "usage.events.eu@1-abcd.sqlite").write_bytes(b"another topic's")
    (tmp_path / "notes.txt").write_text("mine")
    one = spool(tmp_path)
    assert one.adopt() == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_raises_and_keeps_nothing_back(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = spool(tmp_path / "file")
    with pytest.raises(OSError, match="exists"):
        one.write(messages(1), NOW)
    assert one.rows == 0
