"""By which names each usage event of a batch is stored, and what it cost in 1e-12 USD, or why that is not known: in
columns, by the book of ``costream.pricing``. What a name and a price is, is decided there; this room imports nothing
that waits or reaches outside.
"""

from stream.pricing.columns import price
from stream.pricing.names import StoredNames, named
from stream.pricing.texts import price_rows

__all__ = ["StoredNames", "named", "price", "price_rows"]
