"""Whose model it is, and what the price table calls it: names as libraries and people write them.

A provider is found by its id or by one of its aliases (data/names.toml). A model is looked for as it is written, and
then without what is not a part of its name: the path of an API, the provider before it, an ARN around it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from costream.pricing.reasons import Note, Reason

DATA: Final = files("costream.pricing") / "data"

_API_PATH: Final = re.compile(r"(?:projects/.*/)?(?:publishers/[^/]+/)?models/(?P<model>[^/]+)")
_ARN: Final = re.compile(r"arn:aws[\w-]*:bedrock:[^:]*:[^:]*:(?:inference-profile|foundation-model)/(?P<model>.+)")
_ZONE: Final = re.compile(r"(?:global|global-standard|us|eu)/")
_ROUTES: Final = (":nitro", ":floor", ":exacto", ":online")  # of OpenRouter: who serves the model then is not told
_FINE_TUNED: Final = "ft:"


@lru_cache(maxsize=4_096)
def folded(name: str) -> str:
    """Names that differ in case, or in hyphens and underscores, are one."""
    return re.sub(r"[-\s]", "_", name.strip().lower())


@cache
def aliases() -> Mapping[str, str]:
    """The id in the price table, by folded alias."""
    providers: dict[str, list[str]] = tomllib.loads((DATA / "names.toml").read_text("utf-8"))["providers"]
    return {alias: provider for provider, names in providers.items() for alias in names}


@lru_cache(maxsize=4_096)  # a producer may invent as many names as it likes
def provider_id(name: str) -> str:
    """The id in the price table; for a provider that it does not know, the name in small letters."""
    return aliases().get(folded(name)) or name.strip().lower()


def spellings(provider: str, model: str) -> Iterator[tuple[str, Note | None]]:
    """How the table may know a model of ``provider``, an id of it: the surest first, each with the doubt that it
    brings."""
    model = model.strip()
    yield model, None
    name, note = _without_path(model), None
    if name != model:
        yield name, None
    prefix, slash, rest = name.partition("/")
    if slash and provider_id(prefix) == provider:
        zone = _ZONE.match(rest)
        if zone and not zone[0].startswith("global"):
            where = zone[0].rstrip("/")
            note = Note(
                Reason.INFERENCE_GEO_UNPRICED, f"no price for inference in '{where}', charged as without a place"
            )
        name = rest[zone.end() :] if zone else rest
        yield name, note
    if name.lower().startswith(_FINE_TUNED):
        base = name.split(":")[1]
        yield base, Note(Reason.BASE_MODEL_PRICE, f"fine-tuned model charged at the rate of its base '{base}'")
    for route in _ROUTES:
        if name.endswith(route):
            base = name.removesuffix(route)
            told = f"charged at the rate of '{base}': who served it by '{route}' is not told"
            yield base, Note(Reason.BASE_MODEL_PRICE, told)


def _without_path(model: str) -> str:
    found = _API_PATH.fullmatch(model) or _ARN.fullmatch(model)
    return found["model"] if found else model
