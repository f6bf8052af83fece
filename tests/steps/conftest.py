"""A registry over scripted models: what a chat or embedding model would say, said by a few lines of Python."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from stepwired.errors import InvalidRequest, Reason, Violation
from stepwired.events import (
    Batch,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Finished,
    FinishReason,
    Json,
    Message,
    Role,
    Started,
    TextDelta,
    Usage,
    UsageSource,
)
from stepwired.limits import Limits
from stepwired.steps.leaves import Models
from stepwired.steps.named import discover
from stepwired.steps.registry import Registry
from stepwired.steps.results import ErrorMode, Item, RunEvent, RunFinished, Value, Vector
from stepwired.steps.spec import Kind, Spec


@dataclass
class Scripted:
    """Models that answer at once: chat says the last text backwards, embed counts letters."""

    asked: list[ChatRequest] = field(default_factory=list)

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        text = request.messages[-1].text[::-1]
        yield [Started("mirror-1", "scripted"), *(TextDelta(letter) for letter in text)]
        usage = Usage(UsageSource.PROVIDER, input_tokens=len(text), output_tokens=len(text))
        yield [Finished(FinishReason.STOP, "mirror-1", "scripted", usage, (Message(Role.ASSISTANT, text),))]

    async def embed(self, request: EmbedRequest) -> Embeddings:
        rows = tuple(struct.pack("<2f", text.count("a"), text.count("b")) for text in request.texts)
        return Embeddings("letters", 2, rows, Usage(UsageSource.PROVIDER, input_tokens=len(rows)))


def chat_request(value: Json) -> ChatRequest:
    if isinstance(value, str):
        return ChatRequest(messages=(Message(text=value),))
    if isinstance(value, dict) and isinstance(prompt := value.get("prompt"), str):
        return ChatRequest(model=str(value.get("model", "")), messages=(Message(text=prompt),))
    raise InvalidRequest.of([Violation("messages", "is missing", Reason.INVALID_CONVERSATION)])


def as_json(value: Value) -> Json:
    match value:
        case Message():
            return {"role": value.role.value, "text": value.text}
        case Vector():
            return list(struct.unpack(f"<{len(value.row) // 4}f", value.row))
        case bytes():
            return value.hex()
    return value


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


def registry_of(scripted: Scripted, limits: Limits | None = None) -> Registry:
    return Registry(Models(scripted.chat, scripted.embed, chat_request, as_json), discover(), limits or Limits())


@pytest.fixture
def registry(scripted: Scripted) -> Registry:
    return registry_of(scripted)


def placed(*kinds: Kind | Spec) -> list[Spec]:
    """Steps of these kinds, as a request would place them."""
    specs = [kind if isinstance(kind, Spec) else Spec(kind, "") for kind in kinds]
    return [replace(spec, path=spec.path or f"steps[{index}]") for index, spec in enumerate(specs)]


async def events_of(
    registry: Registry, specs: list[Spec], value: Json, mode: ErrorMode = ErrorMode.CONTINUE, *, events: bool = False
) -> list[RunEvent]:
    """All that a run says."""
    async with aclosing(registry.run(specs, value, error_mode=mode, events=events, run_id="r")) as run:
        return [event async for event in run]


def results_in(events: list[RunEvent]) -> list[object]:
    return [event.result for event in events if isinstance(event, Item)]


def finished_in(events: list[RunEvent]) -> RunFinished:
    return cast(RunFinished, events[-1])
