"""Publish a usage event. Kafka's address is in COSTREAM_KAFKA_BOOTSTRAP_SERVERS (default 127.0.0.1:9092)."""

import costream

costream.record(
    provider="openai",
    model="gpt-5",
    feature="chatbot",
    user_id=17,
    input_tokens=1200,
    output_tokens=300,
    duration_ms=812.4,
)
