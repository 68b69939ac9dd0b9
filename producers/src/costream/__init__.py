"""costream: publish usage events of paid API calls to Kafka, without ever hurting the service that made them.

import costream
from costream import UsageEvent

costream.record(UsageEvent.create(provider="openai", model="gpt-5", feature="chatbot", input_tokens=812))
"""

import logging

from costream._parcel import ProducerStats
from costream.errors import CostreamError, InvalidSettings, NotAUsageEvent
from costream.events import UsageEvent
from costream.producer import UsageProducer, get_default_producer, record

__all__ = [
    "CostreamError",
    "InvalidSettings",
    "NotAUsageEvent",
    "ProducerStats",
    "UsageEvent",
    "UsageProducer",
    "get_default_producer",
    "record",
]

# The host decides where our lines go; without a word from it they go nowhere.
logging.getLogger(__name__).addHandler(logging.NullHandler())
