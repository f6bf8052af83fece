"""A registry over scripted models: what a chat or embedding model would say, said by a few lines of Python."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from stepwired.errors import Failure, InvalidRequest, Reason, StepFailed, Violation
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
from stepwired.steps.functions import Functions as FunctionsProtocol
from stepwired.steps.leaves import Models
from stepwired.steps.named import NamedStep, discover
from stepwired.steps.registry import Registry
from stepwired.steps.remote import Served
from stepwired.steps.results import ErrorMode, Item, RunEvent, RunFinished, Value, Vector
from stepwired.steps.sources import Source
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


class Functions:
    """JavaScript, said in Python: what each source means stands in a table."""

    def __init__(self, table: Mapping[str, Callable[..., Json]]) -> None:
        self.table = table
        self.open_count = 0
        """Runs that have not been closed."""
        self.batches: list[int] = []
        """How many calls each batch had."""

    async def faults(self, sources: Sequence[str]) -> Sequence[str | None]:
        return [None if source in self.table else "line 1: SyntaxError" for source in sources]

    def run(self) -> _FunctionRun:
        self.open_count += 1
        return _FunctionRun(self)


class _FunctionRun:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._is_closed = False

    async def call(self, source: str, calls: Sequence[Sequence[Json]]) -> Sequence[Json | Failure]:
        assert not self._is_closed
        self._functions.batches.append(len(calls))
        await asyncio.sleep(0)
        return [self._one(source, arguments) for arguments in calls]

    def _one(self, source: str, arguments: Sequence[Json]) -> Json | Failure:
        try:
            return self._functions.table[source](*arguments)
        except (AttributeError, TypeError, ValueError) as error:
            return StepFailed(Reason.STEP_EXECUTION_FAILED, f"the function threw {type(error).__name__}")

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._functions.open_count -= 1


def registry_of(
    scripted: Scripted,
    limits: Limits | None = None,
    *,
    functions: FunctionsProtocol | None = None,
    named: Sequence[NamedStep] = (),
    others: Sequence[Source] = (),
) -> Registry:
    """All that a run may need, with these named steps beside the built-in ones."""
    models = Models(scripted.chat, scripted.embed, chat_request, as_json, lambda _: 2)
    there = {**discover(), **{step.name: {step.version: step} for step in named}}
    return Registry(models, there, limits or Limits(), functions=functions, others=others)


@pytest.fixture
def registry(scripted: Scripted) -> Registry:
    return registry_of(scripted)


def leaf(kind: Kind) -> Spec:
    """A step within a map that stands first."""
    return Spec(kind, "steps[0].map.step")


def placed(*kinds: Kind | Spec) -> list[Spec]:
    """Steps of these kinds, as a request would place them."""
    specs = [kind if isinstance(kind, Spec) else Spec(kind, "") for kind in kinds]
    return [replace(spec, path=spec.path or f"steps[{index}]") for index, spec in enumerate(specs)]


async def events_of(
    registry: Registry,
    specs: list[Spec],
    value: Json,
    mode: ErrorMode = ErrorMode.CONTINUE,
    *,
    events: bool = False,
    client: Served | None = None,
    time_left_s: float | None = None,
) -> list[RunEvent]:
    """All that a run says."""
    started = registry.run(
        specs, value, error_mode=mode, events=events, run_id="r", client=client, time_left_s=time_left_s
    )
    async with aclosing(started) as run:
        return [event async for event in run]


def results_in(events: list[RunEvent]) -> list[object]:
    return [event.result for event in events if isinstance(event, Item)]


def finished_in(events: list[RunEvent]) -> RunFinished:
    return cast(RunFinished, events[-1])
