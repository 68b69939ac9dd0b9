"""What each usage event cost, in 1e-12 USD, or why that is not known.

``rates`` says what a price is and what one call costs by it, ``bundled`` reads prices out of the genai-prices package,
``book`` answers which price was in force, and ``columns`` prices a whole batch.
"""

from stream.pricing.book import PriceBook, PriceSource, PriceUnknown
from stream.pricing.bundled import BundledPrices
from stream.pricing.columns import price
from stream.pricing.rates import (
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
    "price",
    "quote",
]
