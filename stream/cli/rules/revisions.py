"""costream rules publish, list, show-revision and diff: own rules as numbered revisions in the warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from stream.cli import common, revisions
from stream.cli.rules import files as rule_files

if TYPE_CHECKING:
    from sinks.clickhouse.revisions import Revision

SHIPPED: Final = "shipped"  # in place of a file: no rules of one's own
REVISION: Final = "revision:"  # and before a number, or `newest`
UNSAID: Final = frozenset({"file", "note"})  # where a rule stands changes nothing that it does

Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines for people.")]


@dataclass(frozen=True, slots=True)
class Change:
    """A field of a rule; ``old`` and ``new`` are None where there is no such rule."""

    rule: str
    field: str
    old: Any
    new: Any


def publish(
    files: Annotated[
        list[Path] | None, typer.Argument(help="All files of your own rules (TOML); else COSTREAM_RULE_FILES.")
    ] = None,
    note: revisions.Note = "",
    by: revisions.By = "",
    none: Annotated[bool, typer.Option("--none", help="No own rules any more: a revision without files.")] = False,
    dry_run: revisions.DryRun = False,
    as_json: Json = False,
) -> None:
    """Check files of your own rules and publish them as the next revision. It takes the place of the one before, as a
    whole. Whoever judges takes it over within 10 seconds, without a restart. What changes is told first. The same files
    again are no new revision.

    Examples: costream rules publish our-rules.toml --note "agreed with finance" · costream rules publish our-rules.toml
    --dry-run
    """
    settings = common.settings()
    address = common.address(settings)
    chosen = revisions.chosen(files, settings.rule_files, none=none, what="rules", variable="COSTREAM_RULE_FILES")
    read = rule_files.texts_of(chosen)
    _rules_of(read)  # whose faults are told by their paths
    texts = revisions.by_name(read)
    revisions.require_bounds(texts, note, by)
    from importlib.metadata import version
    from uuid import uuid4

    from sinks.clickhouse.migrate import require_current
    from sinks.clickhouse.reader import Reader
    from sinks.clickhouse.revisions import digest_of
    from sinks.clickhouse.rule_revisions import RULES
    from sinks.clickhouse.writer import Writer

    with common.explained(), closing(Reader(address)) as reader, closing(Writer(address)) as writer:
        require_current(address)
        last = RULES.newest(reader)
        changes = list(_changes(last.files if last else {}, texts))
        if dry_run or (last and last.digest == digest_of(texts)):
            _tell_published(last, changes, published=False, dry_run=dry_run, as_json=as_json)
            return
        revision = revisions.published(
            RULES,
            reader,
            writer,
            texts,
            by=by,
            note=note,
            build=f"costream {version('costream')}",
            new_id=lambda: str(uuid4()),
        )
    _tell_published(revision, changes, published=True, dry_run=False, as_json=as_json)


def list_revisions(as_json: Json = False) -> None:
    """The revisions of your own rules, the newest first, which is the one in force: when it was published, by whom,
    why, and of which files. Asks the warehouse.

    Example: costream rules list
    """
    from sinks.clickhouse.rule_revisions import RULES

    revisions.tell_all(
        RULES, none="no own rules are published: workers judge by those that are shipped", as_json=as_json
    )


def show_revision(number: Annotated[str, typer.Argument(help="The number, or newest.")], as_json: Json = False) -> None:
    """The files of a revision, as they were published: one text that is itself a file of rules, if no two of them have
    the same table. Exit status 1 if there is no such revision. Asks the warehouse.

    Example: costream rules show-revision 3 > before.toml, costream rules publish before.toml
    """
    revisions.tell_files(_asked(number), what="rules", as_json=as_json)


def diff(
    old: Annotated[str, typer.Argument(help="A file of rules, revision:NUMBER, revision:newest, or shipped.")],
    new: Annotated[str, typer.Argument(help="Likewise.")],
    as_json: Json = False,
) -> None:
    """What another set of rules would change: every field of every rule, as it was and as it becomes. A revision is
    asked of the warehouse.

    Examples: costream rules diff shipped our-rules.toml · costream rules diff revision:3 revision:newest
    """
    found = list(_changes(_side(old), _side(new)))
    if as_json:
        typer.echo(json.dumps({"changes": [_as_json(one) for one in found]}, ensure_ascii=False))
        return
    _tell_changes(found)


# --- what differs ----------------------------------------------------------------------------------------------------


def _rules_of(texts: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Every rule that would hold, by its name. Whether the rate of a currency is known is not a matter of rules."""
    return rule_files.as_json_of(rule_files.rulebook_of(texts, rule_files.rates_of(())))


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    before, after = _rules_of(old), _rules_of(new)
    for name in sorted({*before, *after}):
        was, becomes = before.get(name), after.get(name)
        if was is None or becomes is None:
            yield Change(name, "", None if was is None else was["kind"], None if becomes is None else becomes["kind"])
            continue
        for field in dict.fromkeys([*was, *becomes]):
            if field not in UNSAID and was.get(field) != becomes.get(field):
                yield Change(name, field, was.get(field), becomes.get(field))


def _side(name: str) -> Mapping[str, str]:
    if name == SHIPPED:
        return {}
    if not name.startswith(REVISION):
        return rule_files.texts_of([Path(name)])
    found = _asked(name.removeprefix(REVISION))
    return found.files if found else {}


def _asked(number: str) -> Revision | None:
    from sinks.clickhouse.rule_revisions import RULES

    return revisions.asked(RULES, number, what="rules")


# --- what is told ----------------------------------------------------------------------------------------------------


def _tell_published(
    revision: Revision | None, changes: list[Change], *, published: bool, dry_run: bool, as_json: bool
) -> None:
    if as_json:
        told = {"revision": revision.number if revision else None, "published": published}
        typer.echo(json.dumps(told | {"changes": [_as_json(one) for one in changes]}, ensure_ascii=False))
        return
    _tell_changes(changes)
    if published and revision:
        common.say(f"published as revision {revision.number}: whoever judges takes it over within 10 seconds")
    elif dry_run:
        common.say("nothing was published: this was a rehearsal")
    elif revision:
        common.say(f"nothing was published: revision {revision.number}, which is in force, has the same files")


def _tell_changes(changes: list[Change]) -> None:
    for one in changes:
        field = f".{one.field}" if one.field else ""
        line = f"{one.rule}{field}: {_text(one.old)} -> {_text(one.new)}"
        common.console.print(Text(common.visible(line)), soft_wrap=True)
    if not changes:
        common.say("no rule changes")


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(" ".join(step.values()) for step in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_json(one: Change) -> dict[str, Any]:
    return {"rule": one.rule, "field": one.field, "old": one.old, "new": one.new}
