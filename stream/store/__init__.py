"""The order in which a batch becomes durable: rows, then topics, then the acknowledgement; and what is refused.

Guarantees 1 and 2 hang on that order. Nothing here decides what an event costs or whether it counts.
"""
