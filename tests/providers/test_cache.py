"""What is kept of replies, for how long, and for whom."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from stepwired.errors import Failure, Reason, Unavailable
from stepwired.events import (
    Batch,
    ChatOptions,
    ChatRequest,
    Finished,
    FinishReason,
    Image,
    Message,
    ReasoningDelta,
    Restarted,
    Role,
    Started,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolCalled,
    ToolResult,
    ToolUse,
    Usage,
)
from stepwired.providers.base import Endpoint, ModelEntry, static
from stepwired.providers.cache import Memory, digest
from stepwired.providers.cache_chat import Replies
from tests.providers.retrying import Seen, good, read

ENDPOINT = Endpoint("at-a", static("http://127.0.0.1:9"))
MODEL = ModelEntry("a", "chat", "at-a", "their-a")
REQUEST = ChatRequest("a", messages=(Message(text="hi"),), options=ChatOptions(cache=True))


def test_the_least_recently_used_goes_first() -> None:
    memory: Memory[str] = Memory(4 * 300)
    for key in (b"a", b"b", b"c", b"d"):
        memory.put(key, key.decode(), 44)
    assert memory.get(b"a") == "a"
    memory.put(b"e", "e", 44)
    assert [memory.get(key) for key in (b"a", b"b", b"c", b"d", b"e")] == ["a", None, "c", "d", "e"]
    assert memory.size_bytes == 4 * 300


def test_what_is_larger_than_all_of_it_is_not_kept_and_drives_nothing_out() -> None:
    memory: Memory[str] = Memory(1000)
    memory.put(b"a", "a", 10)
    memory.put(b"b", "b", 1000)
    assert (memory.get(b"a"), memory.get(b"b")) == ("a", None)
    memory.put(b"a", "A", 1000)  # its old value is no longer true
    assert memory.get(b"a") is None
    assert (len(memory), memory.size_bytes) == (0, 0)


def test_what_is_old_is_gone() -> None:
    now_s = 0.0
    memory: Memory[str] = Memory(1000, 10.0, now=lambda: now_s)
    memory.put(b"a", "a", 10)
    now_s = 9.9
    assert memory.get(b"a") == "a"
    now_s = 10.0
    assert memory.get(b"a") is None
    assert memory.size_bytes == 0


def test_parts_of_a_key_do_not_run_together() -> None:
    assert digest(b"ab", b"c") != digest(b"a", b"bc")


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


def ended(reason: FinishReason, provider: str = "at-a") -> list[Batch]:
    return [[Started("their-a", provider), TextDelta("x"), Finished(reason, "their-a", provider, Usage(), ())]]


@pytest.mark.parametrize(
    "script",
    [
        ended(FinishReason.LENGTH),
        ended(FinishReason.CONTENT_FILTER),
        ended(FinishReason.UNKNOWN),
        ended(FinishReason.STOP, "at-b"),  # a fallback
        [[Started("their-a", "at-a"), TextDelta("x")], Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "cut")],
    ],
)
async def test_what_is_not_whole_or_not_the_models_own_is_not_kept(script: list[Batch | Failure]) -> None:
    cache, model = replies(), Model(*script)
    await ask(cache, model)
    await ask(cache, model)
    assert model.asked == 2


async def test_a_reply_that_its_reader_left_is_not_kept() -> None:
    cache, model = replies(), Model(*good("a", "Hel", "lo"))
    reading = cache.chat(ENDPOINT, MODEL, REQUEST, model.chat)
    await anext(reading)
    await reading.aclose()
    await ask(cache, model)
    assert model.asked == 2
