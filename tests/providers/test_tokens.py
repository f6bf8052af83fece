from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

import pytest

from stepwired.errors import InvalidRequest, NotFound, Reason
from stepwired.events import (
    Batch,
    ChatOptions,
    ChatRequest,
    Image,
    Message,
    ResponseFormat,
    Role,
    Tool,
    ToolResult,
    ToolUse,
    UsageSource,
)
from stepwired.local.supervisor import Supervisor
from stepwired.providers.base import Address, Endpoint, ModelEntry, static
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.counting import tokens
from stepwired.providers.counting.counting import Counting
from stepwired.providers.net.http import Http
from stepwired.providers.wires.quirks import VENDORS, Quirks
from tests.fakeprov import Exchange, Provider
from tests.program import shared_models

ENCODE = tokens.encoder("o200k_base")
PLAIN = Quirks()


def asked(*texts: str, model: str = "m", **more: Any) -> ChatRequest:
    return ChatRequest(model, messages=tuple(Message(text=text) for text in texts), **more)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("GPT-5-mini", "o200k_base"),
        ("openai/gpt-oss-120b", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo-16k", "cl100k_base"),
        ("gpt-40", None),
        ("claude-sonnet-4-5", None),
        ("o200", None),
        ("my-gpt-4", None),
    ],
)
def test_a_model_is_known_by_the_beginning_of_its_name(model: str, encoding: str | None) -> None:
    assert tokens.encoding_of(model) == encoding


def test_texts_are_counted_as_their_vocabulary_says_and_what_looks_special_is_text() -> None:
    assert tokens.count_text("hello world", ENCODE) == 2
    assert tokens.count_text("<|endoftext|>", ENCODE) > 1
    assert tokens.count_text("half a pair \ud83d", ENCODE) > 3


def test_a_long_text_is_counted_whole() -> None:
    text = "hello " * 100_000
    assert abs(tokens.count_text(text, ENCODE) - 100_000) <= 2 * len(text) // tokens.PIECE_CHARACTERS


def test_everything_that_a_model_reads_counts() -> None:
    plain = tokens.count(asked("hello world"), ENCODE)
    assert plain == 2 + tokens.MESSAGE_TOKENS + 1 + tokens.REPLY_TOKENS
    use = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {"q": "fox"}))
    result = Message(role=Role.TOOL, tool_result=ToolResult("t", "a fox"))
    tool = Tool("find", "Finds things.", b'{"type": "object", "properties": {"q": {"type": "string"}}}')
    longer = [
        asked("hello world", system="Be brief."),
        asked("hello world", "again"),
        ChatRequest(messages=(Message(text="hello world"), use)),
        ChatRequest(messages=(Message(text="hello world"), result)),
        ChatRequest(messages=(Message(text="hello world", images=(Image(uri="http://x"),)),)),
        asked("hello world", options=ChatOptions(tools=(tool,))),
        asked("hello world", options=ChatOptions(response_format=ResponseFormat(b'{"type":"object"}'))),
    ]
    assert all(tokens.count(each, ENCODE) > plain for each in longer)


@pytest.mark.parametrize(
    ("image", "count"),
    [
        (Image(width=512, height=512), 85 + 170),
        (Image(width=1024, height=1024), 85 + 4 * 170),
        (Image(width=2048, height=4096), 85 + 6 * 170),
        (Image(width=4096, height=8192, detail="low"), 85),
        (Image(), 85 + 4 * 170),
    ],
)
def test_a_picture_counts_by_the_squares_that_it_is_looked_at_in(image: Image, count: int) -> None:
    assert tokens.image_tokens(image) == count


# --- asking the provider, and refusing ---


@pytest.fixture
async def http() -> AsyncGenerator[Http]:
    made = Http()
    yield made
    await made.aclose()


def catalogue(
    http: Http,
    base_url: str,
    wire: str = "openai",
    quirks: Quirks = PLAIN,
    **model: Any,
) -> Catalogue:
    endpoint = Endpoint("e", static(base_url, "sk-x"), wire, quirks=quirks)
    return Catalogue([endpoint], [ModelEntry("m", "chat", "e", **{"provider_model": "p-1", **model})], http)


def answers(*replies: object, status: str = "200 OK") -> Any:
    left = list(replies)

    async def behave(exchange: Exchange) -> None:
        body = json.dumps(left.pop(0)).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        await exchange.send(head.encode() + body)

    return behave


async def test_without_a_provider_that_counts_we_do(http: Http) -> None:
    counting = Counting(catalogue(http, "http://127.0.0.1:1", context_length=7).place)
    count = await counting.count(asked("hello world"))
    assert (count.input_tokens, count.source) == (9, UsageSource.ESTIMATED)
    assert (count.model, count.context_length) == ("p-1", 7)


async def test_an_anthropic_provider_counts_the_request_itself(http: Http) -> None:
    async with Provider(answers({"input_tokens": 77})) as provider:
        counting = Counting(catalogue(http, provider.base_url, "anthropic").place)
        count = await counting.count(asked("hello world", system="Be brief."))
    assert (count.input_tokens, count.source) == (77, UsageSource.PROVIDER)
    (request,) = provider.requests
    sent = json.loads(request.body)
    assert request.path.endswith("/messages/count_tokens")
    assert sent.keys() == {"model", "messages", "system"}


async def test_a_gemini_provider_counts_the_request_itself(http: Http) -> None:
    async with Provider(answers({"totalTokens": 78})) as provider:
        counting = Counting(catalogue(http, provider.base_url, "gemini").place)
        count = await counting.count(asked("hello world", system="Be brief."))
    assert (count.input_tokens, count.source) == (78, UsageSource.PROVIDER)
    (request,) = provider.requests
    assert request.path.endswith("/models/p-1:countTokens")
    sent = json.loads(request.body)["generateContentRequest"]
    assert sent.keys() == {"model", "contents", "systemInstruction"}
    assert sent["model"] == "models/p-1"


async def test_the_engine_of_llama_counts_what_its_template_makes(http: Http) -> None:
    async with Provider(answers({"prompt": "<user>hi"}, {"tokens": [1, 2, 3]})) as provider:
        counting = Counting(catalogue(http, provider.base_url, quirks=VENDORS["llamacpp"]).place)
        count = await counting.count(asked("hi"))
    assert (count.input_tokens, count.source) == (3, UsageSource.PROVIDER)
    assert [request.path for request in provider.requests] == ["/apply-template", "/tokenize"]
    assert json.loads(provider.requests[1].body)["content"] == "<user>hi"


@pytest.mark.parametrize("answer", [{"input_tokens": -1}, {"input_tokens": True}, {}, [], "x"])
async def test_an_answer_that_is_no_count_is_none(http: Http, answer: object) -> None:
    async with Provider(answers(answer)) as provider:
        counting = Counting(catalogue(http, provider.base_url, "anthropic").place)
        assert (await counting.count(asked("hello world"))).source is UsageSource.ESTIMATED


async def test_a_provider_that_refuses_to_count_leaves_it_to_us(http: Http) -> None:
    async with Provider(answers({"error": {"message": "no"}}, status="404 Not Found")) as provider:
        counting = Counting(catalogue(http, provider.base_url, "anthropic").place)
        assert (await counting.count(asked("hello world"))).source is UsageSource.ESTIMATED


async def test_a_model_that_nobody_knows_is_not_counted_for(http: Http) -> None:
    with pytest.raises(NotFound):
        await Counting(catalogue(http, "http://127.0.0.1:1").place).count(asked("hi", model="nobody"))


class Asked:
    """A chat that takes note of being asked."""

    def __init__(self) -> None:
        self.count = 0

    async def chat(self, _: ChatRequest) -> AsyncGenerator[Batch, None]:
        self.count += 1
        yield []


async def run(http: Http, text: str, **model: Any) -> int:
    model_asked = Asked()
    chat = Counting(catalogue(http, "http://127.0.0.1:1", **model).place).guarded(model_asked.chat)
    async with aclosing(chat(asked(text))) as batches:
        async for _ in batches:
            pass
    return model_asked.count


async def test_what_is_sure_to_be_too_long_is_refused_with_both_numbers(http: Http) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await run(http, "hello " * 1001, provider_model="gpt-4o", context_length=1000)
    failure = caught.value
    assert failure.reason is Reason.CONTEXT_LENGTH_EXCEEDED
    assert "context length" in str(failure)
    assert failure.metadata["limitTokens"] == "1000"
    assert 1001 <= int(failure.metadata["requestedTokens"]) <= 1003
    assert [violation.field for violation in failure.violations] == ["messages"]


async def test_what_may_fit_is_asked(http: Http) -> None:
    assert await run(http, "hello " * 1000, provider_model="gpt-4o", context_length=1001) == 1
    assert await run(http, "hello " * 100_000, provider_model="gpt-4o") == 1


async def test_of_a_model_with_a_vocabulary_of_its_own_twice_as_much_is_asked(http: Http) -> None:
    assert await run(http, "hello " * 1990, provider_model="own", context_length=1000) == 1
    with pytest.raises(InvalidRequest):
        await run(http, "hello " * 2100, provider_model="own", context_length=1000)


async def test_short_requests_are_not_counted(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "encoder", None)
    assert await run(http, "x" * 1000, provider_model="gpt-4o", context_length=1000) == 1
    made = Asked()
    chat = Counting(catalogue(http, "http://127.0.0.1:1", context_length=1000).place).guarded(made.chat)
    stream = chat(asked("hi"))
    assert cast("Any", stream).__qualname__ == "Asked.chat"  # nothing stands between the model and its reader
    await stream.aclose()


async def test_the_local_model_counts_as_many_as_it_says_it_read(http: Http) -> None:
    supervisor = Supervisor(shared_models())
    try:

        async def where() -> Address:
            found = await supervisor.model("smollm2").address()
            return Address(found.base_url, found.api_key)

        endpoint = Endpoint("local", where, quirks=VENDORS["llamacpp"])
        models = Catalogue([endpoint], [ModelEntry("smollm2", "chat", "local", "smollm2")], http)
        request = ChatRequest(
            system="Be brief.", messages=(Message(text="Name three colours."),), options=ChatOptions(max_tokens=4)
        )
        count = await Counting(models.place).count(request)
        async with aclosing(models.chat(request)) as batches:
            events = [event async for batch in batches for event in batch]
    finally:
        await supervisor.close()
    assert count.source is UsageSource.PROVIDER
    assert count.input_tokens == events[-1].usage.input_tokens  # type: ignore[union-attr]
