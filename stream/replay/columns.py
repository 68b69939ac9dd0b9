"""Which column of a table is which field of an event: by the names that people and tools use, or as it is said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from costream import UsageEvent

Cached = Literal["", "inside", "beside"]

USAGE_DETAILS: Final = "usage_details"  # one column with all counts, as Langfuse exports them
# field -> the columns that are taken for it, the best first. Spelling does not matter: promptTokens is prompt_tokens.
# Not among them is `id`: it is often a row's number, and two files would then share their ids.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "request_id": ("request_id", "call_id", "completion_id", "generation_id"),
    "occurred_at": (
        *("occurred_at", "timestamp", "start_time_iso", "start_time", "started_at", "request_time", "datetime"),
        *("created_at", "created", "time", "date"),
    ),
    "provider": ("provider", "custom_llm_provider", "gen_ai.provider.name", "vendor"),
    "model": ("model", "model_name", "provided_model_name", "gen_ai.response.model", "response_model"),
    "operation": ("operation",),
    "feature": ("feature", "feature_name"),
    "task_type": ("task_type",),
    "user_id": ("user_id", "user", "end_user", "customer_id"),
    "team": ("team", "team_id", "team_name", "team_alias"),
    "environment": ("environment", "env"),
    "service_tier": ("service_tier",),
    "inference_geo": ("inference_geo",),
    "session_id": ("session_id", "conversation_id", "thread_id"),
    "status": ("status", "level"),
    "error": ("error", "error_message", "status_message"),
    "duration_ms": ("duration_ms", "request_duration_ms", "latency_ms", "response_time_ms", "completion_time_ms"),
    "time_to_first_token_ms": ("time_to_first_token_ms", "ttft_ms"),
    "input_tokens": ("input_tokens", "prompt_tokens", "context_tokens", "n_context_tokens_total", "tokens_prompt"),
    "output_tokens": (
        *("output_tokens", "completion_tokens", "generated_tokens", "n_generated_tokens_total", "tokens_completion"),
    ),
    "cache_read_tokens": ("cache_read_tokens", "input_cached_tokens", "cached_tokens", "cache_read_input_tokens"),
    "cache_write_tokens": ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens"),
    "reasoning_tokens": ("reasoning_tokens",),
    "quantities": ("quantities",),
    "unit_prices": ("unit_prices",),
    "reported_cost_usd": ("reported_cost_usd", "cost_usd", "spend", "total_cost", "cost"),
    "revenue_usd": ("revenue_usd",),
    "utilization": ("utilization",),
    "metadata": (),
}
# Providers disagree on whether the input holds what these count, so it has to be said.
CACHE_UNCLEAR: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")
REQUESTS: Final = ("num_model_requests", "num_requests", "n_requests", "api_requests", "request_count", "requests")
OTHER_TOKENS: Final = re.compile(r"\w*(audio|image|video)\w*tokens")


class ColumnsRefused(ValueError):
    """The columns cannot be told apart; the text says which, and what to say."""


@dataclass(frozen=True)
class Columns:
    """Where each field stands. ``requests`` are columns that say how many calls a row sums, ``other_tokens`` those that
    count what no field of an event tells."""

    header: tuple[str, ...]
    places: Mapping[str, int]
    details: int | None
    requests: tuple[int, ...]
    other_tokens: tuple[int, ...]
    cached: Cached

    def told(self) -> dict[str, str]:
        """Field to column, for a person."""
        places = dict(self.places) | ({USAGE_DETAILS: self.details} if self.details is not None else {})
        return {field: self.header[place] for field, place in places.items()}

    def unused(self) -> list[str]:
        used = {*self.places.values(), self.details, *self.requests, *self.other_tokens}
        return [name for place, name in enumerate(self.header) if place not in used and name]


def choose(
    header: Sequence[str], said: Mapping[str, str], *, cached: Cached = "", given: Sequence[str] = ()
) -> Columns:
    """``said`` maps a field to its column, or to nothing; ``given`` are fields that all rows have from elsewhere."""
    names = [name.strip() for name in header]
    plain = [_plain(name) for name in names]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ColumnsRefused(f"two columns are called {twice[0]!r}: rename one of them")
    places = dict(_said(names, plain, said))
    taken = set(places.values())
    for field, known in NAMES.items():
        if field not in said and field not in given:
            place = next((plain.index(_plain(name)) for name in known if _plain(name) in plain), None)
            if place is not None and place not in taken:
                places[field] = place
    _require(names, places, given)
    details = plain.index(_plain(USAGE_DETAILS)) if _plain(USAGE_DETAILS) in plain else None
    if "input_tokens" in places or "output_tokens" in places:
        details = None
    unclear = [names[place] for place in places.values() if plain[place] in map(_plain, CACHE_UNCLEAR)]
    if unclear and not cached:
        raise ColumnsRefused(
            f"the column {unclear[0]!r} counts tokens that some leave out of the input, and some do not: say --cached "
            "beside (as Anthropic's API counts them) or --cached inside (as OpenAI's and LiteLLM's do)"
        )
    used = set(places.values())
    return Columns(
        header=tuple(names),
        places=places,
        details=details,
        requests=tuple(
            place for place, name in enumerate(plain) if name in map(_plain, REQUESTS) and place not in used
        ),
        other_tokens=tuple(
            place for place, name in enumerate(plain) if OTHER_TOKENS.fullmatch(name) and place not in used
        ),
        cached=cached,
    )


def _said(names: list[str], plain: list[str], said: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    for field, column in ((field, column) for field, column in said.items() if column):
        if column in names:
            yield field, names.index(column)
        elif _plain(column) in plain:
            yield field, plain.index(_plain(column))
        else:
            raise ColumnsRefused(f"there is no column {column!r} for {field}; its columns are {', '.join(names)}")


def _require(names: list[str], places: Mapping[str, int], given: Sequence[str]) -> None:
    for field in ("occurred_at", "model", "provider"):
        if field not in places and field not in given:
            all_rows = "" if field == "occurred_at" else f", or --{field} NAME for all rows"
            have = f"its columns are {', '.join(names)}"
            raise ColumnsRefused(f"no column is known to be {field}: say --map {field}=COLUMN{all_rows}; {have}")


def field_named(name: str) -> bool:
    return name in UsageEvent.model_fields and name != "schema_version"


def _plain(name: str) -> str:
    """Without case and punctuation: ``Prompt Tokens``, ``prompt_tokens`` and ``promptTokens`` are one name."""
    return re.sub(r"[\W_]+", "", name).lower()
