"""Responses in the shape that each provider documents, and the event of each, worked out by hand.

Of a response only what is read, or what could be mistaken for it, stands here. ``request`` is what was sent,
``headers`` are those of the answer; all else is its body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Case:
    """One response and what it is as an event."""

    api: str  # its name in the table
    provider: str
    about: str
    response: dict[str, Any]
    event: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.provider} {self.api}: {self.about}"


_ALL_OF_ANTHROPIC: Final = {
    "input_tokens": 2_000,
    "cache_read_input_tokens": 9_000,
    "cache_creation_input_tokens": 800,
    "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 500},
    "output_tokens": 700,
    "output_tokens_details": {"thinking_tokens": 400},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    "service_tier": "priority",
    "inference_geo": "us",
}
_ALL_OF_ANTHROPIC_AS_EVENT: Final = {
    "input_tokens": 11_800,
    "output_tokens": 700,
    "cache_read_tokens": 9_000,
    "cache_write_tokens": 800,
    "reasoning_tokens": 400,
    "quantities": {"cache_write_5m_tokens": "300", "cache_write_1h_tokens": "500", "web_searches": "2"},
    "service_tier": "priority",
    "inference_geo": "us",
}
_PLAIN_CHAT: Final = {"model": "m-1", "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}}
_PLAIN_CHAT_AS_EVENT: Final = {"model": "m-1", "input_tokens": 12, "output_tokens": 5}

CASES: Final = [
    Case(
        "Chat Completions",
        "openai",
        "cache, reasoning, audio and a prediction",
        {
            "id": "chatcmpl-1",
            "model": "gpt-5-2025-08-07",
            "service_tier": "flex",
            "usage": {
                "prompt_tokens": 1_500,
                "completion_tokens": 900,
                "total_tokens": 2_400,
                "prompt_tokens_details": {
                    "cached_tokens": 1_024,
                    "cache_write_tokens": 128,
                    "audio_tokens": 200,
                    "text_tokens": 1_300,
                },
                "completion_tokens_details": {
                    "reasoning_tokens": 320,
                    "audio_tokens": 60,
                    "accepted_prediction_tokens": 40,
                    "rejected_prediction_tokens": 30,
                },
            },
        },
        {
            "model": "gpt-5-2025-08-07",
            "input_tokens": 1_500,
            "output_tokens": 900,
            "cache_read_tokens": 1_024,
            "cache_write_tokens": 128,
            "reasoning_tokens": 320,
            "quantities": {"input_audio_tokens": "200", "output_audio_tokens": "60"},
            "service_tier": "flex",
        },
    ),
    Case(
        "Chat Completions",
        "azure",
        "zeros in the details are sent, and left out of quantities",
        {
            "model": "gpt-4o-2024-11-20",
            "service_tier": None,
            "usage": {
                "prompt_tokens": 19,
                "completion_tokens": 10,
                "total_tokens": 29,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
            },
        },
        {
            "model": "gpt-4o-2024-11-20",
            "input_tokens": 19,
            "output_tokens": 10,
            "cache_read_tokens": 0,
            "reasoning_tokens": 0,
        },
    ),
    Case(
        "Chat Completions",
        "groq",
        "times beside the counts, and null details",
        {
            "model": "openai/gpt-oss-120b",
            "service_tier": "on_demand",
            "usage": {
                "queue_time": 0.03,
                "prompt_tokens": 4_641,
                "prompt_time": 0.12,
                "completion_tokens": 1_817,
                "completion_time": 3.9,
                "total_tokens": 6_458,
                "prompt_tokens_details": {"cached_tokens": 4_608},
                "completion_tokens_details": None,
            },
        },
        {
            "model": "openai/gpt-oss-120b",
            "input_tokens": 4_641,
            "output_tokens": 1_817,
            "cache_read_tokens": 4_608,
            "service_tier": "on_demand",
        },
    ),
    *(
        Case("Chat Completions", provider, "no details", _PLAIN_CHAT, _PLAIN_CHAT_AS_EVENT)
        for provider in ("cerebras", "fireworks", "together", "vllm")
    ),
    Case(
        "Responses",
        "openai",
        "cache, reasoning and tools",
        {
            "model": "gpt-5-2025-08-07",
            "service_tier": "default",
            "output": [
                {"type": "web_search_call", "action": {"type": "search", "query": "a"}},
                {"type": "web_search_call", "action": {"type": "open_page", "url": "b"}},
                {"type": "web_search_call", "action": {"type": "search", "query": "c"}},
                {"type": "file_search_call", "queries": ["d", "e"]},
                {"type": "message", "content": []},
            ],
            "tool_usage": {"image_gen": {"input_tokens": 0}, "web_search": {"num_requests": 1}},
            "usage": {
                "input_tokens": 3_000,
                "input_tokens_details": {"cached_tokens": 2_048, "cache_write_tokens": 100},
                "output_tokens": 400,
                "output_tokens_details": {"reasoning_tokens": 256},
                "total_tokens": 3_400,
            },
        },
        {
            "model": "gpt-5-2025-08-07",
            "input_tokens": 3_000,
            "output_tokens": 400,
            "cache_read_tokens": 2_048,
            "cache_write_tokens": 100,
            "reasoning_tokens": 256,
            "quantities": {"web_searches": "1", "storage_searches": "1"},
            "service_tier": "default",
        },
    ),
    Case(
        "Responses",
        "azure",
        "searches counted by their calls where their number is not told",
        {
            "model": "gpt-4.1-2025-04-14",
            "output": [
                {"type": "web_search_call", "action": {"type": "search", "query": "a"}},
                {"type": "web_search_call", "action": {"type": "open_page", "url": "b"}},
                {"type": "web_search_call", "action": {"type": "search", "query": "c"}},
            ],
            "usage": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120},
        },
        {
            "model": "gpt-4.1-2025-04-14",
            "input_tokens": 100,
            "output_tokens": 20,
            "quantities": {"web_searches": "2"},
        },
    ),
    Case(
        "Realtime, the event response.done",
        "openai",
        "text, audio and image, in part from the cache",
        {
            "request": {"model": "gpt-realtime"},
            "type": "response.done",
            "response": {
                "usage": {
                    "total_tokens": 1_600,
                    "input_tokens": 1_300,
                    "output_tokens": 300,
                    "input_token_details": {
                        "text_tokens": 400,
                        "audio_tokens": 700,
                        "image_tokens": 200,
                        "cached_tokens": 640,
                        "cached_tokens_details": {"text_tokens": 128, "audio_tokens": 384, "image_tokens": 128},
                    },
                    "output_token_details": {"text_tokens": 60, "audio_tokens": 240},
                }
            },
        },
        {
            "model": "gpt-realtime",
            "input_tokens": 1_300,
            "output_tokens": 300,
            "cache_read_tokens": 640,
            "quantities": {
                "input_audio_tokens": "700",
                "input_image_tokens": "200",
                "output_audio_tokens": "240",
                "cache_audio_read_tokens": "384",
                "cache_image_read_tokens": "128",
            },
        },
    ),
    Case(
        "Audio transcriptions",
        "openai",
        "billed by tokens",
        {
            "request": {"model": "gpt-4o-transcribe"},
            "text": "Imagine the wildest idea",
            "usage": {
                "type": "tokens",
                "input_tokens": 14,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
                "output_tokens": 45,
                "total_tokens": 59,
            },
        },
        {
            "model": "gpt-4o-transcribe",
            "operation": "transcription",
            "input_tokens": 14,
            "output_tokens": 45,
            "quantities": {"input_audio_tokens": "14"},
        },
    ),
    Case(
        "Audio transcriptions",
        "azure",
        "billed by duration",
        {"request": {"model": "whisper-1"}, "text": "Hello", "usage": {"type": "duration", "seconds": 12.5}},
        {"model": "whisper-1", "operation": "transcription", "quantities": {"audio_seconds": "12.5"}},
    ),
    Case(
        "Audio speech",
        "openai",
        "the answer is audio, so what was sent is counted",
        {"request": {"model": "tts-1", "input": "Grüße aus Köln.", "voice": "alloy"}},
        {"model": "tts-1", "operation": "speech", "quantities": {"input_characters": "15"}},
    ),
    Case(
        "Images",
        "openai",
        "with the split of the output",
        {
            "request": {"model": "gpt-image-1.5"},
            "data": [{"b64_json": ""}],
            "usage": {
                "input_tokens": 500,
                "input_tokens_details": {"image_tokens": 450, "text_tokens": 50},
                "output_tokens": 4_260,
                "output_tokens_details": {"image_tokens": 4_160, "text_tokens": 100},
                "total_tokens": 4_760,
            },
        },
        {
            "model": "gpt-image-1.5",
            "operation": "image",
            "input_tokens": 500,
            "output_tokens": 4_260,
            "quantities": {"input_image_tokens": "450", "output_image_tokens": "4160"},
        },
    ),
    Case(
        "Embeddings",
        "openai",
        "input alone",
        {"object": "list", "model": "text-embedding-3-small", "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        {"model": "text-embedding-3-small", "operation": "embedding", "input_tokens": 8},
    ),
    Case(
        "Batch, a line of the output file",
        "openai",
        "of Chat Completions",
        {
            "id": "batch_req_1",
            "custom_id": "request-1",
            "response": {
                "status_code": 200,
                "request_id": "req_1",
                "body": {
                    "model": "gpt-4o-mini-2024-07-18",
                    "usage": {
                        "prompt_tokens": 24,
                        "completion_tokens": 8,
                        "total_tokens": 32,
                        "prompt_tokens_details": {"cached_tokens": 16},
                        "completion_tokens_details": {"reasoning_tokens": 4},
                    },
                },
            },
            "error": None,
        },
        {
            "model": "gpt-4o-mini-2024-07-18",
            "input_tokens": 24,
            "output_tokens": 8,
            "cache_read_tokens": 16,
            "reasoning_tokens": 4,
            "service_tier": "batch",
        },
    ),
    Case(
        "Batch, a line of the output file",
        "azure",
        "of Responses",
        {
            "custom_id": "request-2",
            "response": {
                "status_code": 200,
                "body": {
                    "model": "gpt-5-mini",
                    "usage": {
                        "input_tokens": 30,
                        "input_tokens_details": {"cached_tokens": 10},
                        "output_tokens": 9,
                        "output_tokens_details": {"reasoning_tokens": 5},
                        "total_tokens": 39,
                    },
                },
            },
        },
        {
            "model": "gpt-5-mini",
            "input_tokens": 30,
            "output_tokens": 9,
            "cache_read_tokens": 10,
            "reasoning_tokens": 5,
            "service_tier": "batch",
        },
    ),
    Case(
        "Messages",
        "anthropic",
        "the input comes without its cache",
        {"model": "claude-sonnet-4-5-20250929", "usage": _ALL_OF_ANTHROPIC},
        {"model": "claude-sonnet-4-5-20250929", **_ALL_OF_ANTHROPIC_AS_EVENT},
    ),
    Case(
        "Messages",
        "anthropic",
        "fast mode, and nothing else",
        {
            "model": "claude-opus-4-6",
            "usage": {
                "input_tokens": 10,
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 0,
                "cache_creation": None,
                "output_tokens": 4,
                "server_tool_use": None,
                "service_tier": "standard",
                "speed": "fast",
            },
        },
        {
            "model": "claude-opus-4-6",
            "input_tokens": 10,
            "output_tokens": 4,
            "cache_read_tokens": 0,
            "cache_write_tokens": 0,
            "service_tier": "fast",
        },
    ),
    Case(
        "Messages",
        "google",
        "Vertex AI, no fast mode",
        {
            "model": "claude-haiku-4-5-20251001",
            "usage": {"input_tokens": 10, "output_tokens": 4, "service_tier": "standard", "speed": "standard"},
        },
        {"model": "claude-haiku-4-5-20251001", "input_tokens": 10, "output_tokens": 4, "service_tier": "standard"},
    ),
    Case(
        "Messages, streamed",
        "anthropic",
        "the last counts are cumulative",
        {
            "message_start": {
                "message": {
                    "model": "claude-sonnet-4-6",
                    "usage": _ALL_OF_ANTHROPIC | {"input_tokens": 25, "output_tokens": 1, "speed": "standard"},
                }
            },
            "message_delta": {
                "usage": {
                    "input_tokens": 2_000,
                    "cache_read_input_tokens": 9_500,
                    "cache_creation_input_tokens": 900,
                    "output_tokens": 700,
                    "output_tokens_details": {"thinking_tokens": 400},
                    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
                }
            },
        },
        {
            **_ALL_OF_ANTHROPIC_AS_EVENT,
            "model": "claude-sonnet-4-6",
            "input_tokens": 12_400,
            "cache_read_tokens": 9_500,
            "cache_write_tokens": 900,
        },
    ),
    Case(
        "Messages, streamed",
        "anthropic",
        "the end says the output alone",
        {
            "message_start": {
                "message": {
                    "model": "claude-sonnet-4-6",
                    "usage": {
                        "input_tokens": 25,
                        "cache_read_input_tokens": 70,
                        "cache_creation_input_tokens": 5,
                        "output_tokens": 1,
                        "speed": "fast",
                    },
                }
            },
            "message_delta": {"usage": {"output_tokens": 15}},
        },
        {
            "model": "claude-sonnet-4-6",
            "input_tokens": 100,
            "output_tokens": 15,
            "cache_read_tokens": 70,
            "cache_write_tokens": 5,
            "service_tier": "fast",
        },
    ),
    Case(
        "Message Batches, a line of the results",
        "anthropic",
        "as a message, at the price of a batch",
        {
            "custom_id": "request-1",
            "result": {
                "type": "succeeded",
                "message": {"model": "claude-opus-4-6", "usage": _ALL_OF_ANTHROPIC | {"service_tier": "batch"}},
            },
        },
        {**_ALL_OF_ANTHROPIC_AS_EVENT, "model": "claude-opus-4-6", "service_tier": "batch"},
    ),
    Case(
        "generateContent, Gemini API and Vertex AI",
        "google",
        "thoughts and tools are outside the totals",
        {
            "modelVersion": "gemini-3-pro-preview",
            "candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "", "b", "a"]}}, {"finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 1_200,
                "cachedContentTokenCount": 1_000,
                "candidatesTokenCount": 300,
                "thoughtsTokenCount": 900,
                "toolUsePromptTokenCount": 400,
                "totalTokenCount": 2_800,
                "trafficType": "ON_DEMAND",
            },
        },
        {
            "model": "gemini-3-pro-preview",
            "input_tokens": 1_600,
            "output_tokens": 1_200,
            "cache_read_tokens": 1_000,
            "reasoning_tokens": 900,
            "quantities": {"web_searches": "2"},
            "service_tier": "ON_DEMAND",
        },
    ),
    Case(
        "generateContent, Gemini API and Vertex AI",
        "google",
        "every kind of token",
        {
            "modelVersion": "gemini-2.5-flash",
            "usageMetadata": {
                "promptTokenCount": 2_000,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 700},
                    {"modality": "AUDIO", "tokenCount": 600},
                    {"modality": "IMAGE", "tokenCount": 258},
                    {"modality": "DOCUMENT", "tokenCount": 142},
                    {"modality": "VIDEO", "tokenCount": 300},
                ],
                "cachedContentTokenCount": 900,
                "cacheTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 100},
                    {"modality": "AUDIO", "tokenCount": 400},
                    {"modality": "IMAGE", "tokenCount": 200},
                    {"modality": "DOCUMENT", "tokenCount": 50},
                    {"modality": "VIDEO", "tokenCount": 150},
                ],
                "toolUsePromptTokenCount": 100,
                "toolUsePromptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 30},
                    {"modality": "AUDIO", "tokenCount": 1},
                    {"modality": "IMAGE", "tokenCount": 20},
                    {"modality": "DOCUMENT", "tokenCount": 40},
                    {"modality": "VIDEO", "tokenCount": 9},
                ],
                "candidatesTokenCount": 1_500,
                "candidatesTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 100},
                    {"modality": "IMAGE", "tokenCount": 1_120},
                    {"modality": "AUDIO", "tokenCount": 180},
                    {"modality": "VIDEO", "tokenCount": 100},
                ],
                "totalTokenCount": 3_600,
            },
        },
        {
            "model": "gemini-2.5-flash",
            "input_tokens": 2_100,
            "output_tokens": 1_500,
            "cache_read_tokens": 900,
            "quantities": {
                "input_audio_tokens": "601",
                "input_image_tokens": "460",
                "input_video_tokens": "309",
                "cache_audio_read_tokens": "400",
                "cache_image_read_tokens": "250",
                "cache_video_read_tokens": "150",
                "output_audio_tokens": "180",
                "output_image_tokens": "1120",
                "output_video_tokens": "100",
            },
        },
    ),
    Case(
        "generateContent, Gemini API and Vertex AI",
        "google",
        "all went into thoughts: the answer's count is left out",
        {
            "modelVersion": "gemini-2.5-flash",
            "usageMetadata": {"promptTokenCount": 7, "thoughtsTokenCount": 64, "totalTokenCount": 71},
        },
        {"model": "gemini-2.5-flash", "input_tokens": 7, "output_tokens": 64, "reasoning_tokens": 64},
    ),
    Case(
        "embedContent, Gemini API and Vertex AI",
        "google",
        "Gemini API",
        {
            "request": {"model": "gemini-embedding-001"},
            "embeddings": [{"values": []}],
            "usageMetadata": {"promptTokenCount": 9},
        },
        {"model": "gemini-embedding-001", "operation": "embedding", "input_tokens": 9},
    ),
    Case(
        "embedContent, Gemini API and Vertex AI",
        "google",
        "Vertex AI: a count for each text",
        {
            "request": {"model": "text-embedding-005"},
            "predictions": [
                {"embeddings": {"values": [], "statistics": {"token_count": 4.0, "truncated": False}}},
                {"embeddings": {"values": [], "statistics": {"token_count": 6.0, "truncated": False}}},
            ],
        },
        {"model": "text-embedding-005", "operation": "embedding", "input_tokens": 10},
    ),
    Case(
        "Converse and ConverseStream",
        "aws",
        "the input comes without its cache",
        {
            "request": {"modelId": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
            "usage": {
                "inputTokens": 100,
                "outputTokens": 50,
                "totalTokens": 1_650,
                "cacheReadInputTokens": 1_000,
                "cacheWriteInputTokens": 500,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 300}],
            },
            "metrics": {"latencyMs": 900},
            "serviceTier": {"type": "flex"},
        },
        {
            "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "input_tokens": 1_600,
            "output_tokens": 50,
            "cache_read_tokens": 1_000,
            "cache_write_tokens": 500,
            "quantities": {"cache_write_5m_tokens": "300", "cache_write_1h_tokens": "200"},
            "service_tier": "flex",
        },
    ),
    Case(
        "Converse and ConverseStream",
        "aws",
        "no cache",
        {
            "request": {"modelId": "amazon.nova-lite-v1:0"},
            "usage": {"inputTokens": 30, "outputTokens": 12, "totalTokens": 42},
        },
        {"model": "amazon.nova-lite-v1:0", "input_tokens": 30, "output_tokens": 12},
    ),
    Case(
        "InvokeModel of an Anthropic model",
        "aws",
        "Anthropic's body, Amazon's header",
        {
            "request": {"modelId": "anthropic.claude-sonnet-4-5-20250929-v1:0"},
            "headers": {"X-Amzn-Bedrock-Service-Tier": "priority"},
            "model": "claude-sonnet-4-5-20250929",
            "usage": {
                "input_tokens": 20,
                "cache_read_input_tokens": 70,
                "cache_creation_input_tokens": 10,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6},
                "output_tokens": 5,
            },
        },
        {
            "model": "anthropic.claude-sonnet-4-5-20250929-v1:0",
            "input_tokens": 100,
            "output_tokens": 5,
            "cache_read_tokens": 70,
            "cache_write_tokens": 10,
            "quantities": {"cache_write_5m_tokens": "4", "cache_write_1h_tokens": "6"},
            "service_tier": "priority",
        },
    ),
    Case(
        "Chat, v2",
        "cohere",
        "billed units, and not tokens",
        {
            "request": {"model": "command-a-03-2025"},
            "finish_reason": "COMPLETE",
            "usage": {
                "billed_units": {"input_tokens": 5.0, "output_tokens": 418.0},
                "tokens": {"input_tokens": 71.0, "output_tokens": 419.0},
            },
        },
        {"model": "command-a-03-2025", "input_tokens": 5, "output_tokens": 418},
    ),
    Case(
        "Embed, v2",
        "cohere",
        "input alone",
        {"request": {"model": "embed-v4.0"}, "meta": {"billed_units": {"input_tokens": 4.0}}},
        {"model": "embed-v4.0", "operation": "embedding", "input_tokens": 4},
    ),
    Case(
        "Rerank, v2",
        "cohere",
        "searches and no tokens",
        {"request": {"model": "rerank-v3.5"}, "results": [], "meta": {"billed_units": {"search_units": 1.0}}},
        {"model": "rerank-v3.5", "operation": "search", "quantities": {"rerank_searches": "1"}},
    ),
    Case(
        "Chat",
        "mistral",
        "audio in the prompt, and the cache",
        {
            "model": "voxtral-small-2507",
            "usage": {
                "prompt_tokens": 400,
                "completion_tokens": 60,
                "total_tokens": 460,
                "prompt_audio_seconds": 21,
                "prompt_tokens_details": {"cached_tokens": 64},
                "service_tier": "standard",
            },
        },
        {
            "model": "voxtral-small-2507",
            "input_tokens": 400,
            "output_tokens": 60,
            "cache_read_tokens": 64,
            "quantities": {"audio_seconds": "21"},
            "service_tier": "standard",
        },
    ),
    Case(
        "OCR",
        "mistral",
        "pages",
        {"model": "mistral-ocr-2505", "pages": [], "usage_info": {"pages_processed": 29, "doc_size_bytes": 3_002_783}},
        {"model": "mistral-ocr-2505", "operation": "api", "quantities": {"input_document_pages": "29"}},
    ),
    Case(
        "Chat Completions",
        "deepseek",
        "hits and misses are the prompt",
        {
            "model": "deepseek-v4-pro",
            "usage": {
                "prompt_tokens": 1_000,
                "completion_tokens": 500,
                "total_tokens": 1_500,
                "prompt_cache_hit_tokens": 640,
                "prompt_cache_miss_tokens": 360,
                "completion_tokens_details": {"reasoning_tokens": 410},
            },
        },
        {
            "model": "deepseek-v4-pro",
            "input_tokens": 1_000,
            "output_tokens": 500,
            "cache_read_tokens": 640,
            "reasoning_tokens": 410,
        },
    ),
    Case(
        "Chat Completions",
        "deepseek",
        "hits in the place where OpenAI has them",
        {
            "model": "deepseek-v4-flash",
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 7,
                "total_tokens": 107,
                "prompt_tokens_details": {"cached_tokens": 64},
            },
        },
        {"model": "deepseek-v4-flash", "input_tokens": 100, "output_tokens": 7, "cache_read_tokens": 64},
    ),
    Case(
        "Chat Completions",
        "x-ai",
        "reasoning is outside the completion",
        {
            "model": "grok-4",
            "usage": {
                "prompt_tokens": 10_120,
                "completion_tokens": 1_499,
                "total_tokens": 14_428,
                "prompt_tokens_details": {
                    "text_tokens": 10_120,
                    "audio_tokens": 0,
                    "image_tokens": 0,
                    "cached_tokens": 128,
                },
                "completion_tokens_details": {"reasoning_tokens": 2_809, "audio_tokens": 0},
                "num_sources_used": 0,
                "cost_in_usd_ticks": 232_856_000,
            },
        },
        {
            "model": "grok-4",
            "input_tokens": 10_120,
            "output_tokens": 4_308,
            "cache_read_tokens": 128,
            "reasoning_tokens": 2_809,
            "reported_cost_usd": "0.0232856",
        },
    ),
    Case(
        "Responses",
        "x-ai",
        "reasoning is in the output",
        {
            "model": "grok-4",
            "usage": {
                "input_tokens": 32,
                "input_tokens_details": {"cached_tokens": 8},
                "output_tokens": 300,
                "output_tokens_details": {"reasoning_tokens": 290},
                "total_tokens": 332,
            },
        },
        {
            "model": "grok-4",
            "input_tokens": 32,
            "output_tokens": 300,
            "cache_read_tokens": 8,
            "reasoning_tokens": 290,
        },
    ),
    Case(
        "Sonar, Chat Completions",
        "perplexity",
        "deep research: reasoning and citations are outside the completion",
        {
            "model": "sonar-deep-research",
            "usage": {
                "prompt_tokens": 33,
                "completion_tokens": 7_163,
                "total_tokens": 7_196,
                "citation_tokens": 20_016,
                "num_search_queries": 19,
                "reasoning_tokens": 193_607,
                "search_context_size": "low",
                "cost": {"input_tokens_cost": 0.00007, "output_tokens_cost": 0.0573, "total_cost": 0.8132},
            },
        },
        {
            "model": "sonar-deep-research",
            "input_tokens": 33,
            "output_tokens": 220_786,
            "reasoning_tokens": 193_607,
            "quantities": {"output_citation_tokens": "20016", "web_searches": "19"},
            "reported_cost_usd": "0.8132",
        },
    ),
    Case(
        "Responses",
        "perplexity",
        "searches among the calls of tools",
        {
            "model": "openai/gpt-5.2",
            "usage": {
                "input_tokens": 3_681,
                "input_tokens_details": {"cache_read_input_tokens": 1_024, "cache_creation_input_tokens": 0},
                "output_tokens": 780,
                "total_tokens": 4_461,
                "tool_calls_details": {"search_web": {"invocation": 2}, "fetch_url": {"invocation": 1}},
                "cost": {"currency": "USD", "input_cost": 0.00644, "output_cost": 0.01092, "total_cost": 0.02736},
            },
        },
        {
            "model": "openai/gpt-5.2",
            "input_tokens": 3_681,
            "output_tokens": 780,
            "cache_read_tokens": 1_024,
            "quantities": {"web_searches": "2"},
            "reported_cost_usd": "0.02736",
        },
    ),
    Case(
        "Chat Completions",
        "openrouter",
        "the cost is a number with a float's last digits",
        {
            "model": "google/gemini-3.1-flash-image-preview",
            "service_tier": "default",
            "usage": {
                "prompt_tokens": 1_194,
                "completion_tokens": 1_500,
                "total_tokens": 2_694,
                "cost": 0.00033949999999999996,
                "is_byok": False,
                "prompt_tokens_details": {
                    "cached_tokens": 512,
                    "cache_write_tokens": 100,
                    "audio_tokens": 50,
                    "video_tokens": 300,
                },
                "completion_tokens_details": {"reasoning_tokens": 80, "audio_tokens": 20, "image_tokens": 1_120},
                "cost_details": {"upstream_inference_cost": None},
                "server_tool_use_details": {"web_search_requests": 3, "tool_calls_requested": 3},
            },
        },
        {
            "model": "google/gemini-3.1-flash-image-preview",
            "input_tokens": 1_194,
            "output_tokens": 1_500,
            "cache_read_tokens": 512,
            "cache_write_tokens": 100,
            "reasoning_tokens": 80,
            "quantities": {
                "input_audio_tokens": "50",
                "input_video_tokens": "300",
                "output_audio_tokens": "20",
                "output_image_tokens": "1120",
                "web_searches": "3",
            },
            "reported_cost_usd": "0.0003395",
            "service_tier": "default",
        },
    ),
    Case(
        "Chat Completions",
        "openrouter",
        "a cost that is written with an exponent",
        {"model": "m-1", "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 1.2e-05}},
        {"model": "m-1", "input_tokens": 1, "output_tokens": 2, "reported_cost_usd": "0.000012"},
    ),
    Case(
        "Embeddings",
        "voyageai",
        "a total alone",
        {"object": "list", "model": "voyage-3.5", "usage": {"total_tokens": 10}},
        {"model": "voyage-3.5", "operation": "embedding", "input_tokens": 10},
    ),
    Case(
        "Embeddings",
        "jina",
        "the model is the one that was asked for",
        {"request": {"model": "jina-embeddings-v3"}, "data": [], "usage": {"prompt_tokens": 6, "total_tokens": 6}},
        {"model": "jina-embeddings-v3", "operation": "embedding", "input_tokens": 6},
    ),
    Case(
        "Rerank",
        "jina",
        "tokens, not searches",
        {
            "model": "jina-reranker-v2-base-multilingual",
            "results": [],
            "usage": {"prompt_tokens": 815, "total_tokens": 815},
        },
        {"model": "jina-reranker-v2-base-multilingual", "operation": "search", "input_tokens": 815},
    ),
    Case(
        "Rerank",
        "voyageai",
        "the model is the one that was asked for",
        {"request": {"model": "rerank-2.5"}, "data": [], "usage": {"total_tokens": 26}},
        {"model": "rerank-2.5", "operation": "search", "input_tokens": 26},
    ),
    Case(
        "chat and generate",
        "ollama",
        "the last object of the stream",
        {"model": "llama3.2", "done": True, "prompt_eval_count": 26, "eval_count": 259, "eval_duration": 4_709_213_000},
        {"model": "llama3.2", "input_tokens": 26, "output_tokens": 259},
    ),
    Case(
        "Listen, recorded audio",
        "deepgram",
        "seconds",
        {"request": {"model": "nova-3"}, "metadata": {"duration": 25.933313, "channels": 1}},
        {"model": "nova-3", "operation": "transcription", "quantities": {"audio_seconds": "25.933313"}},
    ),
    Case(
        "Transcript",
        "assemblyai",
        "seconds",
        {"request": {"speech_model": "best"}, "speech_model_used": "universal", "audio_duration": 281},
        {"model": "universal", "operation": "transcription", "quantities": {"audio_seconds": "281"}},
    ),
    Case(
        "Transcript",
        "assemblyai",
        "the model is the one that was asked for",
        {"request": {"speech_model": "best"}, "audio_duration": 9},
        {"model": "best", "operation": "transcription", "quantities": {"audio_seconds": "9"}},
    ),
    Case(
        "Text to speech",
        "elevenlabs",
        "what is billed stands in a header",
        {"request": {"model_id": "eleven_flash_v2_5", "text": "Hello there"}, "headers": {"character-cost": 6}},
        {"model": "eleven_flash_v2_5", "operation": "speech", "quantities": {"input_characters": "6"}},
    ),
    Case(
        "Text to speech",
        "elevenlabs",
        "without the header what was sent is counted",
        {"request": {"model_id": "eleven_multilingual_v2", "text": "Hello there"}},
        {"model": "eleven_multilingual_v2", "operation": "speech", "quantities": {"input_characters": "11"}},
    ),
    Case(
        "Speech to text",
        "elevenlabs",
        "seconds",
        {"request": {"model_id": "scribe_v2"}, "text": "", "audio_duration_secs": 61.3},
        {"model": "scribe_v2", "operation": "transcription", "quantities": {"audio_seconds": "61.3"}},
    ),
    Case(
        "No usage object, as of a stream that was broken off",
        "openai",
        "no count is sent, and no zero",
        {"request": {"model": "gpt-5"}, "model": "gpt-5-2025-08-07", "usage": None},
        {"model": "gpt-5-2025-08-07", "usage_status": "missing"},
    ),
    Case(
        "No usage object, as of a stream that was broken off",
        "google",
        "the model is the one that was asked for",
        {"request": {"model": "gemini-2.5-pro"}},
        {"model": "gemini-2.5-pro", "usage_status": "missing"},
    ),
    Case(
        "An error without a usage object",
        "anthropic",
        "the provider's words",
        {
            "request": {"model": "claude-sonnet-4-6"},
            "type": "error",
            "error": {"type": "overloaded_error", "message": "Overloaded"},
        },
        {"model": "claude-sonnet-4-6", "status": "error", "error": "Overloaded", "usage_status": "missing"},
    ),
    Case(
        "An error without a usage object",
        "aws",
        "the words at the top",
        {"request": {"modelId": "m", "model": "amazon.nova-lite-v1:0"}, "message": "Too many tokens, please wait"},
        {
            "model": "amazon.nova-lite-v1:0",
            "status": "error",
            "error": "Too many tokens, please wait",
            "usage_status": "missing",
        },
    ),
]
