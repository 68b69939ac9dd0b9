"""costream: publish usage events of paid API calls to Kafka, without ever hurting the service that made them."""

from costream.events import UsageEvent

__all__ = ["UsageEvent"]
