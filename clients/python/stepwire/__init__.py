"""Stepwire for Python: chat, embeddings, conversations and pipelines over gRPC.

    from stepwire import Client

    with Client("localhost:50051") as client:
        print(client.chat("Say hello."))

`AsyncClient` is the same for asyncio. Everything that fails raises a class of `stepwire.errors`.
"""

from stepwire import errors, steps
from stepwire._aio import AsyncClient
from stepwire._blocking import Client
from stepwire._conversation import Conversation
from stepwire._conversation_aio import AsyncConversation
from stepwire._converse import AsyncTalk
from stepwire._pictures import image
from stepwire._talking import Talk
from stepwire._worker import Worker, serve_steps
from stepwire.replies import (
    ChatEvent,
    Finished,
    FinishReason,
    ReasoningDelta,
    Reply,
    Restarted,
    Started,
    TextDelta,
    TokenCount,
    ToolAnswered,
    ToolCallDelta,
    ToolCalled,
    Usage,
)
from stepwire.results import (
    EmbeddingResult,
    RunEvent,
    RunFinished,
    RunResults,
    RunStarted,
    SearchHit,
    StageEvent,
    StepResult,
)
from stepwire.stored import ConversationChange, MessageHit, Stored, UpdatedMessage
from stepwire.v1.chat_pb2 import ChatOptions, Model, Tool
from stepwire.v1.conversation_pb2 import Conversation as ConversationInfo
from stepwire.v1.embed_pb2 import EmbeddingModel
from stepwire.v1.message_pb2 import Image, Message
from stepwire.v1.pipeline_pb2 import Pipeline
from stepwire.v1.step_run_pb2 import Step, StepInfo, StepMetadata

__all__ = [
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
