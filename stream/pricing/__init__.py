"""What each usage event of a batch cost, in 1e-12 USD, or why that is not known: in columns, by the rates and the book
of ``costream.pricing``. What a price is, is decided there; this room imports nothing that waits or reaches outside.
"""

from stream.pricing.columns import price
from stream.pricing.texts import price_rows

__all__ = ["price", "price_rows"]
