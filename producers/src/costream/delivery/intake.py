"""What ``record()`` was given, on its way to the background thread, and there on its way to Kafka."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from costream.delivery.spool import Message
from costream.events import UsageEvent
from costream.lenient import Refused, build, snapshot


@dataclass(frozen=True, slots=True)
class Given:
    """The fields of a call as the caller gave them; whether they are an event is seen later."""

    fields: dict[str, Any]
    fault: str = ""  # why it can be none


def gather(args: tuple[Any, ...], fields: dict[str, Any], *, now: Callable[[], Any]) -> UsageEvent | Given:
    """In the caller's thread: a few microseconds, and nothing that the caller may change afterwards is kept."""
    if not args and "event" in fields:
        args = (fields.pop("event"),)
    if len(args) == 1 and not fields and isinstance(args[0], UsageEvent):
        return args[0]
    if args:
        kinds = ", ".join(type(one).__name__ for one in args)
        return Given({}, f"record() takes one UsageEvent, or the fields of one by name, and not {kinds}")
    if fields.get("occurred_at") is None:
        fields["occurred_at"] = now()
    return Given(snapshot(fields))


def to_message(item: UsageEvent | Given, *, new_id: Callable[[], str]) -> tuple[Message, tuple[str, ...]]:
    """The message, and what had to be changed for it. Raises ``Refused``."""
    changes: tuple[str, ...] = ()
    if isinstance(item, UsageEvent):
        event = item
    elif item.fault:
        raise Refused("the event", item.fault)
    else:
        event, changes = build(item.fields, new_id=new_id)
    try:
        return Message(event.request_id.encode(), event.to_json()), changes
    except Exception as error:  # whatever an event is that was built without validation
        raise Refused("the event", f"it cannot be written as JSON, {type(error).__name__}: {error}") from error
