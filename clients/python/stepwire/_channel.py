"""The options of the connection: keepalive, message sizes, and which calls gRPC may repeat by itself."""

from __future__ import annotations

import json
from importlib import metadata

MAX_RECEIVE_BYTES = 8 * 1024 * 1024
"""Twice the largest reply that the server makes."""

#: Calls to which a second attempt does no harm: they change nothing, or carry a request id, which this package sets on
#: each of them, so that the server answers a repeat as it did the first. A chat costs money each time; an update, a
#: deletion, an import or a run may have happened although its answer was lost: those are the caller's to repeat.
#: A watch goes on by itself, from where it was.
IDEMPOTENT = {
    "stepwire.v1.ChatService": ("ListModels", "GetModel", "CountTokens"),
    "stepwire.v1.EmbedService": (
        "ListEmbeddingModels",
        "GetEmbeddingModel",
        "Embed",
        "StreamEmbeddings",
        "Search",
    ),
    "stepwire.v1.ConversationService": (
        "CreateConversation",
        "AppendMessages",
        "ForkConversation",
        "GetConversation",
        "ListConversations",
        "StreamMessages",
        "GetMessage",
        "SearchMessages",
        "RenderConversation",
        "DownloadImage",
        "ExportConversation",
    ),
    "stepwire.v1.StepRunService": ("ListSteps", "ValidateStep"),
    "stepwire.v1.PipelineService": ("SavePipeline", "GetPipeline", "ListPipelines"),  # a version is saved but once
}

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": service, "method": method} for service, methods in IDEMPOTENT.items() for method in methods
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],  # a push-back of the server overrules the times above
            },
        }
    ],
    # Of many calls that fail, few are repeated: a server in trouble is not helped by more calls.
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}


def options() -> list[tuple[str, str | int]]:
    """List what a channel to a Stepwire server needs beyond gRPC's own defaults."""
    return [
        ("grpc.primary_user_agent", f"stepwire-python/{metadata.version('stepwire')}"),
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        # A server that is back is found within seconds; gRPC's own limit is two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),  # the one that gRPC obeys
        ("grpc.http2.max_pings_without_data", 0),  # no limit: a silent stream stays watched
    ]
