"""What is kept of replies, for how long, and for whom."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace

import pytest

from stepwired.errors import Failure, Reason, Unavailable
from stepwired.events import (
    Attempt,
    Batch,
    ChatOptions,
    ChatRequest,
    Event,
    Finished,
    FinishReason,
    Image,
    Message,
    ReasoningDelta,
    Restarted,
    Role,
    Started,
    TextDelta,
    TokenLogprob,
    Tool,
    ToolCallDelta,
    ToolCalled,
    ToolResult,
    ToolUse,
    Usage,
)
from stepwired.providers.base import Endpoint, ModelEntry, static
from stepwired.providers.caching import replies as cached_replies
from stepwired.providers.caching.memory import Memory, digest_of
from stepwired.providers.caching.replies import Replies
from tests.providers.retrying import Seen, good, read

ENDPOINT = Endpoint("at-a", static("http://127.0.0.1:9"))
MODEL = ModelEntry("a", "chat", "at-a", "their-a")
REQUEST = ChatRequest("a", messages=(Message(text="hi"),), options=ChatOptions(cache=True))


class Model:
    """Answers with what it is given, and counts."""

    def __init__(self, *script: Batch | Failure) -> None:
        self.script = script
        self.asked = 0

    async def chat(self, _: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.asked += 1
        for step in self.script:
            if isinstance(step, Failure):
                raise step
            yield step


def replies() -> Replies:
    return Replies(Memory(1_000_000))


async def ask(cache: Replies, model: Model, request: ChatRequest = REQUEST, endpoint: Endpoint = ENDPOINT) -> Seen:
    return await read(cache.chat(endpoint, MODEL, request, model.chat))


async def test_the_same_request_is_answered_from_memory_with_its_pieces_joined() -> None:
    cache, model = replies(), Model(*good("a", "Hel", "lo"))
    first, second = await ask(cache, model), await ask(cache, model)
    assert model.asked == 1
    assert first.text == second.text == "Hello"
    assert [type(event) for event in second.events] == [Started, TextDelta, Finished]
    assert second.events[0] == Started("their-a", "at-a", is_cached=True)
    was, now = first.events[-1], second.events[-1]
    assert isinstance(was, Finished)
    assert isinstance(now, Finished)
    assert now.messages == was.messages
    assert now.usage == replace(was.usage, cost_usd=0.0)
    assert now.attempts == ()


async def test_thoughts_and_tool_calls_are_kept_in_their_places() -> None:
    use = ToolUse("1", "f", {"a": 1})
    last = Finished(FinishReason.TOOL_USE, "their-a", "at-a", Usage(), (Message(Role.ASSISTANT, tool_use=use),))
    script: list[Batch] = [
        [Started("their-a", "at-a"), ReasoningDelta("h"), ReasoningDelta("m")],
        [TextDelta("So")],
        [ToolCallDelta(0, "1", "f", '{"a"'), ToolCallDelta(0, arguments=":1}")],
        [ToolCallDelta(1, "2", "g", "{}")],
        [ToolCalled(0, use), last],
    ]
    cache, model = replies(), Model(*script)
    await ask(cache, model)
    assert (await ask(cache, model)).events == [
        Started("their-a", "at-a", is_cached=True),
        ReasoningDelta("hm"),
        TextDelta("So"),
        ToolCallDelta(0, "1", "f", '{"a":1}'),
        ToolCallDelta(1, "2", "g", "{}"),
        ToolCalled(0, use),
        Finished(FinishReason.TOOL_USE, "their-a", "at-a", Usage(cost_usd=0.0), last.messages),
    ]


async def test_of_a_reply_that_began_again_only_the_last_is_kept() -> None:
    script = good("a", "Hel", "lo")
    script[1:1] = [[TextDelta("Half")], [Restarted(2, "PROVIDER_STREAM_TRUNCATED", "their-a", "at-a")]]
    cache, model = replies(), Model(*script)
    await ask(cache, model)
    assert (await ask(cache, model)).text == "Hello"


DIFFERENT = {
    "text": replace(REQUEST, messages=(Message(text="ho"),)),
    "role": replace(REQUEST, messages=(Message(Role.SYSTEM, "hi"),)),
    "split": replace(REQUEST, messages=(Message(text="h"), Message(text="i"))),
    "system": replace(REQUEST, system="Be brief."),
    "option": replace(REQUEST, options=ChatOptions(cache=True, temperature=0.0)),
    "tool": replace(REQUEST, options=ChatOptions(cache=True, tools=(Tool("f"),))),
    "image": replace(REQUEST, messages=(Message(text="hi", images=(Image(data=b"1"),)),)),
    "result": replace(REQUEST, messages=(Message(tool_result=ToolResult("1", "hi")),)),
}


@pytest.mark.parametrize("what", DIFFERENT)
async def test_a_request_that_differs_in_anything_is_asked(what: str) -> None:
    cache, model = replies(), Model(*good("a", "x"))
    await ask(cache, model)
    await ask(cache, model, DIFFERENT[what])
    assert model.asked == 2


async def test_what_the_provider_never_sees_makes_no_difference() -> None:
    cache, model = replies(), Model(*good("a", "x"))
    await ask(cache, model)
    stored = Message(text="hi", id="m1", parent_id="m0", create_time_ns=7, metadata={"color": "red"})
    hidden = Message(text="not for models", metadata={"hidden": True})
    await ask(cache, model, replace(REQUEST, messages=(hidden, stored), request_id="r", caller_key="sk-of-somebody"))
    assert model.asked == 1


async def test_callers_with_keys_of_their_own_share_nothing() -> None:
    cache, model = replies(), Model(*good("a", "x"))
    theirs = replace(ENDPOINT, keys="caller")
    for key in ("one", "two", "one"):
        await ask(cache, model, replace(REQUEST, caller_key=key), theirs)
    assert model.asked == 2


def ended(reason: FinishReason, provider: str = "at-a", tried: tuple[str, ...] = ("their-a",)) -> list[Batch]:
    attempts = tuple(Attempt(provider, model, "", 0.0, 0.0) for model in tried)
    last = Finished(reason, "their-a", provider, Usage(), (), attempts=attempts)
    return [[Started("their-a", provider), TextDelta("x"), last]]


@pytest.mark.parametrize(
    "script",
    [
        ended(FinishReason.LENGTH),
        ended(FinishReason.CONTENT_FILTER),
        ended(FinishReason.UNKNOWN),
        ended(FinishReason.STOP, "at-b"),  # a fallback
        ended(FinishReason.STOP, tried=("their-a", "their-b")),  # a fallback at the same endpoint
        [[Started("their-a", "at-a"), TextDelta("x")], Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "cut")],
    ],
)
async def test_what_is_not_whole_or_not_the_models_own_is_not_kept(script: list[Batch | Failure]) -> None:
    cache, model = replies(), Model(*script)
    await ask(cache, model)
    await ask(cache, model)
    assert model.asked == 2


async def test_a_reply_of_the_model_itself_is_kept_however_often_it_was_tried() -> None:
    cache, model = replies(), Model(*ended(FinishReason.STOP, tried=("their-a", "their-a")))
    await ask(cache, model)
    await ask(cache, model)
    assert model.asked == 1


class Piece(str):
    """A text that counts how much of others is copied to join it."""

    __slots__ = ()
    copied = 0

    def __add__(self, other: str) -> Piece:
        Piece.copied += len(self) + len(other)
        return Piece(str(self) + other)

    def __radd__(self, other: str) -> Piece:
        Piece.copied += len(self) + len(other)
        return Piece(other + str(self))


@pytest.mark.parametrize("kind", [TextDelta, ReasoningDelta, lambda text: ToolCallDelta(0, "1", "f", text)])
async def test_keeping_a_reply_copies_no_piece_twice(kind: Callable[[str], Event]) -> None:
    Piece.copied = 0
    script = good("a")
    script[1:1] = [[kind(Piece("xy"))] for _ in range(1000)]
    cache, model = replies(), Model(*script)
    await ask(cache, model)
    kept = (await ask(cache, model)).events
    assert Piece.copied == 0
    assert (len(kept), "xy" * 1000 in str(kept[1]), model.asked) == (3, True, 1)


async def test_logprobs_stay_with_the_text_that_they_are_of() -> None:
    tokens = [TokenLogprob(text, -1.0, (TokenLogprob("z", -2.0),)) for text in "abc"]
    script = good("a")
    script[1:1] = [[TextDelta("a", (tokens[0],)), TextDelta("bc", (tokens[1], tokens[2]))]]
    cache, model = replies(), Model(*script)
    await ask(cache, model)
    assert (await ask(cache, model)).events[1] == TextDelta("abc", tuple(tokens))


LARGE = {
    "picture": Message(text="hi", images=(Image(data=b"x" * 300_000),)),
    "text": Message(text="x" * 300_000),
    "result": Message(tool_result=ToolResult("1", "x" * 300_000)),
    "call": Message(Role.ASSISTANT, tool_use=ToolUse("1", "f", {"a": [1] * 10_000})),
}


@pytest.mark.parametrize("what", LARGE)
async def test_a_large_request_is_hashed_beside_the_loop(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loops = threading.get_ident()
    seen: list[bool] = []

    def spy(parts: Iterable[bytes]) -> bytes:
        seen.append(threading.get_ident() == loops)
        return digest_of(parts)

    monkeypatch.setattr(cached_replies, "digest_of", spy)
    cache, model = replies(), Model(*good("a", "x"))
    for _ in range(2):
        await ask(cache, model, replace(REQUEST, messages=(LARGE[what],)))
    await ask(cache, model)
    assert (model.asked, seen) == (2, [False, False, True])


async def test_pictures_are_hashed_as_they_are_and_in_their_places() -> None:
    cache, model = replies(), Model(*good("a", "x"))
    one, two = Image(data=b"1"), Image(data=b"2")
    for images in ((one, two), (two, one), (one,), (replace(one, detail="low"),), (one, two)):
        await ask(cache, model, replace(REQUEST, messages=(Message(images=images),)))
    for texts in (((one,), (two,)), ((one, two), ())):
        await ask(cache, model, replace(REQUEST, messages=tuple(Message(images=images) for images in texts)))
    assert model.asked == 6


async def test_a_reply_weighs_what_it_takes_in_memory() -> None:
    memory: Memory[tuple[Event, ...]] = Memory(100_000_000)
    script = good("a")
    top = [tuple(TokenLogprob(f"token {place} {rank}", -rank / 7) for rank in range(20)) for place in range(1000)]
    script[1:1] = [[TextDelta("x", (TokenLogprob("x", -0.5, each),))] for each in top]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        copy = [tuple(TokenLogprob("".join([one.token, ""]), one.logprob * 1.5) for one in each) for each in top]
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    await ask(Replies(memory), Model(*script))
    assert copy
    assert 0.8 * held < memory.size_bytes < 2 * held


async def test_a_reply_that_its_reader_left_is_not_kept() -> None:
    cache, model = replies(), Model(*good("a", "Hel", "lo"))
    reading = cache.chat(ENDPOINT, MODEL, REQUEST, model.chat)
    await anext(reading)
    await reading.aclose()
    await ask(cache, model)
    assert model.asked == 2
