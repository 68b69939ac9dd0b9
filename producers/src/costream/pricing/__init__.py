"""The price book: what a call costs, exactly, by the price in force when it happened. Pure: no network, no clock.

    from costream.pricing import PICO, Call, PriceBook, quote

    price = PriceBook.bundled().at("openai", "gpt-4o-mini", datetime(2026, 11, 1, tzinfo=UTC))
    quote(price, Call("chat", failed=False, amounts={"input_tokens": 800 * PICO, "output_tokens": 100 * PICO}))

Costs are integers of 1e-12 USD and amounts integers of 1e-12 of their unit. ``rates`` says what a price is and what one
call costs by it, ``bundled`` reads prices out of the genai-prices package, and ``book`` answers which price was in
force. It needs the extra ``costream[pricing]``; the stream prices whole batches by the same rates (stream/pricing).
"""

from costream.pricing.book import PriceBook, PriceSource, PriceUnknown
from costream.pricing.bundled import BundledPrices
from costream.pricing.rates import (
    COST_PICO_MAX,
    PICO,
    Bracket,
    Call,
    Linear,
    NoPrice,
    Partial,
    Period,
    Priced,
    Quote,
    Resolution,
    TimeOfDay,
    Unpriced,
    quote,
)

__all__ = [
    "COST_PICO_MAX",
    "PICO",
    "Bracket",
    "BundledPrices",
    "Call",
    "Linear",
    "NoPrice",
    "Partial",
    "Period",
    "PriceBook",
    "PriceSource",
    "PriceUnknown",
    "Priced",
    "Quote",
    "Resolution",
    "TimeOfDay",
    "Unpriced",
    "quote",
]
