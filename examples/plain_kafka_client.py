"""Publish one usage event with nothing but a Kafka client: the contract is JSON, and any language will do.

    pip install confluent-kafka
    python examples/plain_kafka_client.py 127.0.0.1:9092

The key is the request_id. Any key and any partitioner are accepted; this one saves the stream a forward.
"""

import json
import sys
import uuid
from datetime import UTC, datetime

from confluent_kafka import Producer

bootstrap_servers, topic = (sys.argv[1:] + ["127.0.0.1:9092", "usage.events"][len(sys.argv) - 1 :])[:2]
event = {
    "schema_version": 1,
    "request_id": str(uuid.uuid4()),  # one per call; sending it twice counts once
    "occurred_at": datetime.now(UTC).isoformat(),  # always with a zone
    "provider": "openai",
    "model": "gpt-5",
    "feature": "chatbot",
    "input_tokens": 1200,
    "output_tokens": 300,
    "reported_cost_usd": "0.0123",  # decimal text keeps every digit; quantities and unit prices take nothing else
}
producer = Producer(
    {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "partitioner": "murmur2_random"}
)
producer.produce(topic, key=event["request_id"], value=json.dumps(event))
if producer.flush(10):
    sys.exit(f"{bootstrap_servers} did not acknowledge the event within 10 s; it is lost with this process")
print(f"published {event['request_id']} to {topic}")
