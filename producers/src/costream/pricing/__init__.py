"""The price book: what a call costs, exactly, by the price in force when it happened. Pure: no network, no clock.

    from costream.pricing import PICO, Call, PriceBook, quote

    price = PriceBook.bundled().at(Sku("openai", "gpt-4o-mini"), datetime(2026, 11, 1, tzinfo=UTC))
    quote(price, Call("chat", failed=False, amounts={"input_tokens": 800 * PICO, "output_tokens": 100 * PICO}))

Costs are integers of 1e-12 USD and amounts integers of 1e-12 of their unit. ``sku`` is what a price is for, ``units``
what calls are measured in, ``rates`` what a price is, ``quote`` what one call costs by it, ``reasons`` why a cost is
not known or not sure; ``bundled`` reads prices out of the genai-prices package, and ``book`` answers which price was in
force. It needs the extra ``costream[pricing]``; the stream prices whole batches by the same rates (stream/pricing).
"""

from costream.pricing.book import PriceBook, PriceUnknown
from costream.pricing.bundled import BundledPrices
from costream.pricing.quote import COST_PICO_MAX, Call, Partial, Priced, Quote, Unpriced, quote
from costream.pricing.rates import (
    CALLER,
    PICO,
    Bracket,
    Linear,
    NoPrice,
    Period,
    Resolution,
    TimeOfDay,
    completed,
)
from costream.pricing.reasons import Note, Reason
from costream.pricing.sku import Sku
from costream.pricing.source import PriceSource

__all__ = [
    "CALLER",
    "COST_PICO_MAX",
    "PICO",
    "Bracket",
    "BundledPrices",
    "Call",
    "Linear",
    "NoPrice",
    "Note",
    "Partial",
    "Period",
    "PriceBook",
    "PriceSource",
    "PriceUnknown",
    "Priced",
    "Quote",
    "Reason",
    "Resolution",
    "Sku",
    "TimeOfDay",
    "Unpriced",
    "completed",
    "quote",
]
