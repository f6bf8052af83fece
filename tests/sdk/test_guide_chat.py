"""The guide's chat steps, in its own spelling: the whole server on a scripted provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

import stepwire
from stepwire import ChatOptions, Client, errors
from stepwire.guide import AbortController, AbortError, ChatStep, ChatStepFactory, Conversation, Steps
from tests.fakeprov import Provider
from tests.fakeprov.behaviours import reply, stalled, status
from tests.program import running
from tests.sdk.stepping import HANG_S, Heard

SETTINGS = """
[local]
enabled = false
[endpoints.fake]
base_url = "{base_url}"
[models.m]
model = "gpt-4o"
endpoint = "fake"
"""
HELLO = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]}


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    async with Provider(reply()) as provider:
        yield provider


@pytest.fixture
async def client(provider: Provider, tmp_path: Path) -> AsyncGenerator[Client]:
    async with running(tmp_path, SETTINGS.format(base_url=provider.base_url)) as program:
        with Client(program.address) as client:
            yield client


def sent(provider: Provider) -> dict[str, Any]:
    """What the model was last asked."""
    return dict(provider.requests[-1].json())


async def blocking(step: ChatStep, given: Any) -> Any:
    """Run a step from a thread: the provider lives in this loop."""
    return await asyncio.to_thread(step.startBlocking, given)


async def test_each_way_to_write_a_chat_asks_the_model_the_same(client: Client, provider: Provider) -> None:
    step = ChatStepFactory(client).newStep()
    here = Conversation()
    kept = Conversation(client, (await asyncio.to_thread(client.create_conversation)).id)
    for conversation in (here, kept):
        await asyncio.to_thread(conversation.AddMessage, "system", "Be brief.")
        await asyncio.to_thread(conversation.AddMessage, "user", "Hello", {"metadata": {"source": "test"}})
    plain = stepwire.Conversation()
    plain.add_message("system", "Be brief.")
    plain.add_message("user", "Hello")
    for given in (HELLO, here, kept, plain, HELLO["messages"]):
        assert await step.startAsync(given) == ["Hello"]
        assert await blocking(step, given) == ["Hello"]
    asked = [request.json()["messages"] for request in provider.requests]
    assert asked == [[{"role": each["role"], "content": each["content"]} for each in HELLO["messages"]]] * 10
    assert len(await asyncio.to_thread(kept.GetMessages)) == 2  # the reply is for the caller to add


async def test_options_come_from_objects_functions_and_the_input_and_the_last_one_wins(
    client: Client, provider: Provider
) -> None:
    def warmer(step: ChatStep) -> None:
        step.settings["temperature"] += 0.5

    step = ChatStepFactory(client).newStep([{"temperature": 0.5, "maxTokens": 20, "topP": 0.5}, warmer])
    await step.startAsync("Hello")
    assert (sent(provider)["temperature"], sent(provider)["top_p"]) == (1.0, 0.5)
    assert 20 in sent(provider).values()
    await step.startAsync({**HELLO, "temperature": 0.25, "maxTokens": 10, "model": "m"})
    assert sent(provider)["temperature"] == 0.25
    assert 10 in sent(provider).values()
    mixed: list[Any] = [{"max_tokens": 3}, {"maxTokens": 30}, {"options": {"maxTokens": 3, "presencePenalty": 0.1}}]
    await ChatStepFactory(client).newStep([*mixed, {"presence_penalty": 0.2}]).startAsync(HELLO)
    assert 3 in sent(provider).values()
    assert sent(provider)["presence_penalty"] == 0.2
    await step.startAsync({**HELLO, "options": ChatOptions(temperature=0.75)})
    assert sent(provider)["temperature"] == 0.75
    await asyncio.to_thread(client.create_conversation, conversation_id="kept", messages=["Before."])
    await step.startAsync({"conversation_id": "kept", "prompt": "And now?", "options": None})
    assert [each["content"] for each in sent(provider)["messages"]] == ["Before.", "And now?"]
    with pytest.raises(errors.InvalidRequest, match="nope"):
        await step.startAsync({**HELLO, "nope": 1})


async def test_a_function_among_the_options_may_refuse(client: Client) -> None:
    factory = ChatStepFactory(client)
    with pytest.raises(errors.InvalidRequest, match="too cold"):
        factory.newStep([lambda _: "too cold"])
    with pytest.raises(KeyError):
        factory.newStep([lambda _: KeyError("x")])
    with pytest.raises(TypeError, match="a list of options"):
        factory.newStep({"temperature": 1})  # type: ignore[arg-type]


async def test_callbacks_get_the_text_piece_by_piece(client: Client, provider: Provider) -> None:
    provider.behaviour = reply(["One", " two", " three"], gap_s=0.02)
    heard = Heard()
    ChatStepFactory(client).newStep().startWithCallbacks(HELLO, {"onResult": heard.note, "onDone": heard.end})
    assert await asyncio.to_thread(heard.done.wait, HANG_S)
    assert "".join(heard.log[:-1]) == "One two three"
    assert len(heard.log) > 2  # more than one piece


async def test_cancel_and_abort_close_the_providers_socket(client: Client, provider: Provider) -> None:
    provider.behaviour = stalled()
    step, heard = ChatStepFactory(client).newStep(), Heard()
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    cancel = step.startWithCallbacks(
        HELLO,
        {
            "onResult": lambda _: loop.call_soon_threadsafe(came.set),
            "onCancel": lambda: heard.note("cancel"),
            "onDone": heard.end,
        },
    )
    await came.wait()
    cancel()
    await provider.closed(1)
    assert await asyncio.to_thread(heard.done.wait, HANG_S)
    assert heard.log == ["cancel", "done"]

    controller, asked = AbortController(), asyncio.Event()

    async def silent(exchange: Any) -> None:
        asked.set()
        await exchange.gone()

    provider.behaviour = silent
    running = asyncio.create_task(step.startAsync(HELLO, {"signal": controller.signal}))
    await asked.wait()
    controller.abort()
    with pytest.raises(AbortError):
        await running
    await provider.closed(2)


@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (429, {"code": "rate_limit_exceeded"}, "rate limit"),
        (400, {"code": "context_length_exceeded"}, "context length"),
        (401, {"code": "invalid_api_key"}, "invalid api key"),
    ],
)
async def test_errors_have_the_words_that_handlers_of_the_guide_look_for(
    client: Client, provider: Provider, code: int, body: dict[str, str], words: str
) -> None:
    provider.behaviour = status(code, {"retry-after": "9999"}, {"error": {"message": "no", **body}})
    with pytest.raises(errors.Error) as caught:
        await ChatStepFactory(client).newStep().startAsync(HELLO)
    assert words in str(caught.value)


async def test_a_chat_step_stands_in_a_pipeline_of_the_guide(client: Client, provider: Provider) -> None:
    chat = ChatStepFactory(client).newStep([{"temperature": 0.5}])
    piped = Steps(client).compose(
        [lambda topic: {"messages": [{"role": "user", "content": f"About {topic}"}]}, chat, lambda text: text.upper()]
    )
    assert await piped.startAsync("cats") == ["HELLO"]
    assert sent(provider)["messages"] == [{"role": "user", "content": "About cats"}]
    assert sent(provider)["temperature"] == 0.5
