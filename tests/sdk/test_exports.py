"""What users may import. A change here is a change to them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import get_args

import stepwire
from stepwire import errors, guide, replies, results, stored

PUBLIC = [
    "AsyncClient",
    "AsyncConversation",
    "AsyncTalk",
    "ChatEvent",
    "ChatOptions",
    "Client",
    "Conversation",
    "ConversationChange",
    "ConversationInfo",
    "EmbeddingModel",
    "EmbeddingResult",
    "FinishReason",
    "Finished",
    "Image",
    "Message",
    "MessageHit",
    "Model",
    "Pipeline",
    "ReasoningDelta",
    "Reply",
    "Restarted",
    "RunEvent",
    "RunFinished",
    "RunResults",
    "RunStarted",
    "SearchHit",
    "StageEvent",
    "Started",
    "Step",
    "StepInfo",
    "StepMetadata",
    "StepResult",
    "Stored",
    "Talk",
    "TextDelta",
    "TokenCount",
    "Tool",
    "ToolAnswered",
    "ToolCallDelta",
    "ToolCalled",
    "UpdatedMessage",
    "Usage",
    "Worker",
    "errors",
    "image",
    "serve_steps",
    "steps",
]

ERRORS = [
    "Cancelled",
    "Conflict",
    "DeadlineExceeded",
    "Denied",
    "Error",
    "InvalidRequest",
    "Misconfigured",
    "NotFound",
    "ServerError",
    "StepFailed",
    "Throttled",
    "Unavailable",
    "Violation",
]

CALLS = [
    "append",
    "chat",
    "collect",
    "conversation",
    "converse",
    "count_tokens",
    "create_conversation",
    "delete_conversation",
    "download_image",
    "embed",
    "embedding_model",
    "embedding_models",
    "export_conversation",
    "fork_conversation",
    "get_message",
    "import_conversation",
    "list_conversations",
    "list_steps",
    "messages",
    "model",
    "models",
    "render",
    "run",
    "run_events",
    "search",
    "search_messages",
    "stream_chat",
    "stream_embeddings",
    "update_conversation",
    "update_message",
    "upload_image",
    "validate",
    "watch_conversation",
]

TALKS = [
    "add_message",
    "add_message_with_image",
    "add_tool_result",
    "add_tool_use",
    "chat",
    "get_message_view",
    "get_messages",
    "get_single_prompt",
    "stream_chat",
    "update_metadata",
]


def public(kind: type) -> list[str]:
    return sorted(name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_"))


def test_the_public_names_are_these() -> None:
    assert stepwire.__all__ == PUBLIC
    assert errors.__all__ == ERRORS
    assert all(hasattr(stepwire, name) for name in PUBLIC)
    assert set(replies.__all__) | set(results.__all__) | set(stored.__all__) <= set(PUBLIC)


def test_the_clients_have_these_calls() -> None:
    assert public(stepwire.AsyncClient) == sorted([*CALLS, "close"])
    assert public(stepwire.Client) == sorted([*CALLS, "close", "start_with_callbacks"])


def test_both_conversations_have_these_methods_and_the_guide_its_own() -> None:
    assert public(stepwire.AsyncConversation) == public(stepwire.Conversation) == TALKS
    assert guide.__all__ == [
        "AbortController",
        "AbortError",
        "AbortSignal",
        "ChatStep",
        "ChatStepFactory",
        "Conversation",
        "Embeddings",
        "GuideStep",
        "ModelInfo",
        "Steps",
    ]
    assert public(guide.Conversation) == [
        "AddMessage",
        "AddMessageWithImage",
        "AddToolResult",
        "AddToolUse",
        "GetMessageView",
        "GetMessages",
        "GetSinglePrompt",
        "ToGoConversation",
        "UpdateMetadata",
        "addMessage",
        "addMessageWithImage",
        "addToolResult",
        "addToolUse",
        "getMessageView",
        "getMessages",
        "getSinglePrompt",
        "toGoConversation",
        "updateMetadata",
    ]
    assert all(inspect.getdoc(getattr(stepwire.Conversation, name)) for name in TALKS)


def test_each_error_is_drawn_in_the_tree() -> None:
    tree = (errors.__doc__ or "").split("A caller")[0]
    assert all(name in tree for name in ERRORS if name != "Violation")


def test_every_public_class_and_call_says_what_it_is_for() -> None:
    for kind in (stepwire.AsyncClient, stepwire.Client):
        for name in CALLS:
            doc = inspect.getdoc(getattr(kind, name)) or ""
            assert "client." in doc, f"{kind.__name__}.{name} shows no example"
            assert "Raises:" in doc, f"{kind.__name__}.{name} does not say what it raises"
    classes = [getattr(stepwire, name) for name in PUBLIC if inspect.isclass(getattr(stepwire, name))]
    assert all(inspect.getdoc(kind) for kind in classes if kind.__module__.startswith("stepwire."))
    assert (len(get_args(stepwire.ChatEvent)), len(get_args(stepwire.RunEvent))) == (8, 4)


def test_numpy_is_loaded_only_by_the_first_vector() -> None:
    program = "import sys, stepwire; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
