"""costream: publish usage events of paid API calls to Kafka, without ever hurting the service that made them.

import costream

costream.record(provider="openai", model="gpt-5", feature="chatbot", input_tokens=812)
"""

import logging

from costream.delivery.parcel import ProducerStats
from costream.errors import BudgetLimited, CostreamError, InvalidSettings
from costream.events import UsageEvent
from costream.guard import BudgetGuard
from costream.guarding.limited import Limited
from costream.producer import UsageProducer, flush, get_default_producer, record, stats

__all__ = [
    "BudgetGuard",
    "BudgetLimited",
    "CostreamError",
    "InvalidSettings",
    "Limited",
    "ProducerStats",
    "UsageEvent",
    "UsageProducer",
    "flush",
    "get_default_producer",
    "record",
    "stats",
]

# The host decides where our lines go; without a word from it they go nowhere.
logging.getLogger(__name__).addHandler(logging.NullHandler())
