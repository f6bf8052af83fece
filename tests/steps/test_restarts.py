"""Chat steps whose model begins its reply again: nobody takes the text of the attempt that broke for part of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest

from stepwired.errors import InvalidRequest, Reason
from stepwired.events import (
    Batch,
    ChatOptions,
    ChatRequest,
    Finished,
    FinishReason,
    Json,
    Message,
    ResponseFormat,
    Restarted,
    Role,
    Started,
    TextDelta,
    Usage,
    UsageSource,
)
from stepwired.limits import Limits
from stepwired.steps.leaves import Models
from stepwired.steps.registry import Registry
from stepwired.steps.results import Item, RunEvent, StageEvent, StageEventKind
from stepwired.steps.spec import ChatEmit, ChatLeaf, Compose, Gather, Kind, Map, Retry, Spec, Spread, Timeout
from tests.steps.conftest import Scripted, as_json, events_of, finished_in, placed, results_in

K = StageEventKind
AGAIN = ChatOptions(restart=True)
AS_OBJECT = ResponseFormat(retry=True)


class Breaking(Scripted):
    """Breaks off after its first words if it may begin again."""

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked.append(request)
        yield [Started("m", "p"), TextDelta("Hel")]
        if request.options.restart:
            yield [Restarted(2, "PROVIDER_ERROR", "m", "p"), TextDelta("Hello")]
        else:
            yield [TextDelta("lo")]
        usage = Usage(UsageSource.PROVIDER)
        yield [Finished(FinishReason.STOP, "m", "p", usage, (Message(Role.ASSISTANT, "Hello"),))]


def request(value: Json) -> ChatRequest:
    """Reads a text, or `{"prompt": …, …options}`."""
    options = dict(value) if isinstance(value, dict) else {"prompt": value}
    return ChatRequest(messages=(Message(text=str(options.pop("prompt"))),), options=ChatOptions(**options))


def registry(scripted: Scripted) -> Registry:
    return Registry(Models(scripted.chat, scripted.embed, request, as_json), {}, Limits())


def told(events: Sequence[RunEvent]) -> list[object]:
    """Results and pieces of text, in their order, and where what came before no longer holds."""
    found: list[object] = []
    for event in events:
        if isinstance(event, Item):
            found.append(event.result.text if isinstance(event.result, Message) else event.result)
        elif isinstance(event, StageEvent) and event.kind in {K.RESTARTED, K.TEXT_DELTA}:
            found.append(
                (event.text_delta, event.path) if event.text_delta else (event.kind, event.path, event.attempt)
            )
    return found


async def test_whoever_shows_the_text_as_it_comes_is_told_that_it_begins_again() -> None:
    events = await events_of(registry(Breaking()), placed(Spread(), ChatLeaf(options=AGAIN)), ["hi"], events=True)
    assert told(events) == [("Hel", (0,)), (K.RESTARTED, (0,), 2), ("Hello", (0,)), "Hello"]


async def test_pieces_that_no_longer_hold_are_told_before_those_that_do() -> None:
    leaf = ChatLeaf(options=AGAIN, emit=ChatEmit.DELTAS)
    events = await events_of(registry(Breaking()), placed(leaf), "hi", events=True)
    results_only = [each for each in told(events) if not (isinstance(each, tuple) and isinstance(each[0], str))]
    assert results_only == ["Hel", (K.RESTARTED, (), 2), "Hello"]


@pytest.mark.parametrize("option", [{"restart": True}, {"response_format": AS_OBJECT}], ids=["restart", "retry"])
async def test_an_input_cannot_have_pieces_begin_again_where_nobody_has_looked(option: Mapping[str, Any]) -> None:
    asked: Json = {"prompt": "hi", **option}
    breaking = Breaking()
    [failure] = results_in(await events_of(registry(breaking), placed(ChatLeaf(emit=ChatEmit.DELTAS)), asked))
    assert isinstance(failure, InvalidRequest)
    assert failure.reason is Reason.STEP_INPUT_INVALID
    assert breaking.asked == []
    [message] = results_in(await events_of(registry(breaking), placed(ChatLeaf()), asked))
    assert isinstance(message, Message)


async def test_options_of_the_step_hold_where_the_input_says_nothing() -> None:
    mine = ChatOptions(restart=True, cache=True, max_turns=3, tool_choice="none", stop=("x",), temperature=0.5)
    breaking = Breaking()
    inputs: list[Json] = ["hi", {"prompt": "hi", "max_turns": 5, "temperature": 0.0}]
    events = await events_of(registry(breaking), placed(Spread(), ChatLeaf(options=mine)), inputs)
    assert finished_in(events).errors == 0
    first, second = (asked.options for asked in breaking.asked)
    assert first == mine
    assert second == ChatOptions(
        restart=True, cache=True, max_turns=5, tool_choice="none", stop=("x",), temperature=0.0
    )


CHAT = Spec(ChatLeaf(options=AGAIN, emit=ChatEmit.DELTAS), "chat")
FITTING = Spec(ChatLeaf(options=ChatOptions(response_format=AS_OBJECT), emit=ChatEmit.DELTAS), "fit")
WIDE = Spec(CHAT.kind, "chat", max_concurrency=2)


@pytest.mark.parametrize(
    ("steps", "events", "is_good"),
    [
        ([CHAT], True, True),
        ([CHAT], False, False),
        ([Spread(), CHAT], True, True),
        ([Map(CHAT)], True, True),
        ([Compose((CHAT,))], True, True),
        ([CHAT, Gather()], True, False),
        ([Spread(), WIDE], True, False),
        ([Map(WIDE)], True, False),
        ([Retry(CHAT)], True, False),
        ([Timeout(CHAT, 1.0)], True, False),
        ([FITTING], True, True),
        ([FITTING, Gather()], True, False),
        ([ChatLeaf(options=AGAIN), Gather()], False, True),
        ([ChatLeaf(emit=ChatEmit.DELTAS), Gather()], False, True),
    ],
)
async def test_pieces_may_begin_again_only_where_their_reader_sees_it(
    steps: list[Kind | Spec], events: bool, is_good: bool
) -> None:
    faults = await registry(Breaking()).validate(placed(*steps), has_events=events)
    assert {fault.reason for fault in faults} <= {Reason.STEP_GRAPH_INVALID}
    field = "fit.chat.options.response_format.retry" if FITTING in steps else "chat.chat.options.restart"
    assert [fault.field for fault in faults] == ([] if is_good else [field])
