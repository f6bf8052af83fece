"""What callers see when providers fail: fallbacks, waits, deadlines and keys, through the whole server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest

from stepwire.v1 import chat_pb2, chat_pb2_grpc, embed_pb2, embed_pb2_grpc
from tests.fakeprov import Provider
from tests.fakeprov.behaviours import embeddings, in_turn, reply, silent, status, truncated
from tests.program import HANG_S, Program, running
from tests.rpc.serving import told

REQUEST = chat_pb2.ChatRequest(prompt="hi")
VECTORS = """
[local]
enabled = false
[models.v]
endpoint = "e"
kind = "embed"
dimensions = 3
[endpoints.e]
base_url = "{}"
"""


def settings(providers: Sequence[Provider], more: str = "", **endpoint: str) -> str:
    """Models `m0`, `m1`, …, each at a provider of its own, and each the fallback of the one before.

    Only the second has little time, so that no other is late on a busy machine.
    """
    lines = ["[local]", "enabled = false"]
    for index, provider in enumerate(providers):
        lines += [
            f"[endpoints.at{index}]",
            f'base_url = "{provider.base_url}"',
            f"first_byte_s = {2 if index == 1 else 600}",
        ]
        lines += [f"{name} = {value}" for name, value in endpoint.items()]
        lines += [f"[models.m{index}]", f'endpoint = "at{index}"', "price = { input = 1, output = 2 }"]
        if index + 1 < len(providers):
            lines += [f'fallbacks = ["m{index + 1}"]']
    return "\n".join([*lines, more])


async def chat(program: Program, request: chat_pb2.ChatRequest = REQUEST, **call: object) -> chat_pb2.ChatResponse:
    async with program.channel() as channel:
        answer: chat_pb2.ChatResponse = await chat_pb2_grpc.ChatServiceStub(channel).Chat(
            request,
            **{"timeout": HANG_S, **call},  # type: ignore[arg-type]
        )
        return answer


async def test_the_caller_gets_the_third_models_reply_and_is_told_of_the_others(tmp_path: Path) -> None:
    async with (
        Provider(status(529)) as first,
        Provider(silent()) as second,
        Provider(reply()) as third,
        running(tmp_path, settings([first, second, third])) as program,
    ):
        answer = await chat(program)
    finished = answer.finished
    assert (answer.text, finished.provider) == ("Hello", "at2")
    assert [(each.provider, each.model, each.reason) for each in finished.attempts] == [
        *[("at0", "m0", "PROVIDER_OVERLOADED")] * 3,
        ("at1", "m1", "PROVIDER_TIMEOUT"),
        ("at2", "m2", ""),
    ]
    assert finished.attempts[3].duration.ToMilliseconds() >= 2000
    assert finished.usage.cost_usd == pytest.approx((3 * 1 + 2 * 2) / 1e6)


async def test_a_wait_beyond_the_callers_deadline_is_told_and_not_begun(tmp_path: Path) -> None:
    limited = status(429, {"retry-after": str(int(HANG_S) + 5)})
    async with Provider(limited) as provider, running(tmp_path, settings([provider])) as program:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await chat(program, timeout=HANG_S)
        assert len(provider.requests) == 1
    said = told(caught.value)
    assert (said.code, said.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "PROVIDER_RATE_LIMITED")
    assert said.retry_after_s == HANG_S + 5


async def test_a_reply_that_breaks_off_begins_again_for_those_who_want_it(tmp_path: Path) -> None:
    async with (
        Provider(in_turn(truncated(["Half"]), reply())) as provider,
        running(tmp_path, settings([provider])) as program,
        program.channel() as channel,
    ):
        request = chat_pb2.StreamChatRequest(prompt="hi", options=chat_pb2.ChatOptions(restart=True))
        events = [event async for event in chat_pb2_grpc.ChatServiceStub(channel).StreamChat(request, timeout=HANG_S)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[:3] == ["started", "text_delta", "restarted"]
    assert kinds[-1] == "finished"
    again = events[2].restarted
    assert (again.attempt, again.reason, again.provider) == (2, "PROVIDER_STREAM_TRUNCATED", "at0")
    text = "".join(event.text_delta.text for event in events[3:-1])
    assert text == "Hello" == events[-1].finished.messages[0].text


async def test_the_callers_own_key_is_sent_and_needed(tmp_path: Path) -> None:
    async with Provider(reply()) as provider, running(tmp_path, settings([provider], keys='"caller"')) as program:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await chat(program)
        assert not provider.requests
        answer = await chat(program, metadata=(("x-provider-key", "sk-of-the-caller"),))
        log = program.log.read_text()
    said = told(caught.value)
    assert (said.code, said.reason) == (grpc.StatusCode.UNAUTHENTICATED, "PROVIDER_CALLER_KEY_INVALID")
    assert "invalid api key" in (caught.value.details() or "")
    assert answer.text == "Hello"
    assert provider.requests[0].headers["authorization"] == "Bearer sk-of-the-caller"
    assert "sk-of-the-caller" not in log


async def test_a_kept_reply_is_marked_and_costs_nothing(tmp_path: Path) -> None:
    cached = chat_pb2.ChatRequest(prompt="hi", options=chat_pb2.ChatOptions(cache=True))
    async with (
        Provider(reply()) as provider,
        running(tmp_path, settings([provider], '[cache]\nchat = "memory"\n')) as program,
    ):
        first, second = await chat(program, cached), await chat(program, cached)
        assert len(provider.requests) == 1
    assert (first.cached, second.cached) == (False, True)
    assert first.text == second.text == "Hello"
    assert second.finished.usage.cost_usd == 0.0


async def test_vectors_on_disk_outlive_the_server(tmp_path: Path) -> None:
    async with Provider(embeddings(3)) as provider:
        text = VECTORS.format(provider.base_url) + '[cache]\nembeddings = "disk"\n'
        for _ in range(2):
            async with running(tmp_path, text) as program, program.channel() as channel:
                made = await embed_pb2_grpc.EmbedServiceStub(channel).Embed(
                    embed_pb2.EmbedRequest(texts=["cat", "horse"]), timeout=HANG_S
                )
                assert [item.values[0] for item in made.embeddings] == [3.0, 5.0]
                assert await program.end() == 0
        assert len(provider.requests) == 1


async def test_vectors_are_made_with_the_callers_key_in_every_call(tmp_path: Path) -> None:
    async with (
        Provider(embeddings(3)) as provider,
        running(tmp_path, VECTORS.format(provider.base_url) + 'keys = "caller"\n') as program,
        program.channel() as channel,
    ):
        stub = embed_pb2_grpc.EmbedServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Embed(embed_pb2.EmbedRequest(texts=["a"]), timeout=HANG_S)
        assert told(caught.value).reason == "PROVIDER_CALLER_KEY_INVALID"
        mine = (("x-provider-key", "sk-of-the-caller"),)
        await stub.Embed(embed_pb2.EmbedRequest(texts=["a"]), timeout=HANG_S, metadata=mine)
        await stub.Search(embed_pb2.SearchRequest(query="b", documents=["c"]), timeout=HANG_S, metadata=mine)
        stream = stub.StreamEmbeddings(embed_pb2.StreamEmbeddingsRequest(texts=["d"]), timeout=HANG_S, metadata=mine)
        assert len([item async for item in stream]) == 1
    assert {asked.headers["authorization"] for asked in provider.requests} == {"Bearer sk-of-the-caller"}
    assert len(provider.requests) == 3
