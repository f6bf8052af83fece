from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from stepwire.v1 import chat_pb2
from stepwired.errors import InvalidRequest, Reason
from stepwired.events import (
    Batch,
    ChatOptions,
    ChatRequest,
    Finished,
    FinishReason,
    Json,
    Message,
    ModelInfo,
    ReasoningDelta,
    Role,
    TextDelta,
    ToolUse,
    Usage,
    UsageSource,
)
from stepwired.limits import KIB, Limits
from stepwired.rpc.convert.chat import chat_request, chat_request_of_json
from stepwired.rpc.convert.replies import ReplyWriter
from tests.rpc.serving import STARTED, Catalogue, finished, serve, told, within

LIMITS = Limits()


def joined(batches: Sequence[Batch], limit_bytes: int = 64 * KIB) -> list[chat_pb2.StreamChatResponse]:
    writer = ReplyWriter(0.0, limit_bytes, chat_pb2.StreamChatResponse)
    return [response for batch in batches for response in writer.responses(batch, lambda: 1.5)]


def test_the_prompt_is_the_last_message_and_the_system_is_none() -> None:
    request = json_format.Parse(
        """{"system": "Be brief.", "prompt": "And now?", "conversation_id": "c1", "parent_id": "m1", "model": "gpt-4",
            "messages": [{"role": "user", "text": "hi"}, {"role": "assistant", "text": "Hello"}, {"text": "Well"}],
            "options": {"temperature": 0, "stop": ["\\n"], "seed": 0}}""",
        chat_pb2.StreamChatRequest(),
    )
    assert chat_request(request, LIMITS) == ChatRequest(
        model="gpt-4",
        system="Be brief.",
        messages=(
            Message(Role.USER, "hi"),
            Message(Role.ASSISTANT, "Hello"),
            Message(Role.USER, "Well"),
            Message(Role.USER, "And now?"),
        ),
        conversation_id="c1",
        parent_id="m1",
        options=ChatOptions(temperature=0.0, stop=("\n",), seed=0),
    )


def test_a_conversation_alone_is_something_to_reply_to() -> None:
    assert chat_request(chat_pb2.StreamChatRequest(conversation_id="c"), LIMITS).messages == ()


def test_both_requests_have_the_same_fields() -> None:
    def fields(kind: type[chat_pb2.StreamChatRequest] | type[chat_pb2.ChatRequest]) -> list[tuple[str, int, int]]:
        return [(field.name, field.number, field.type) for field in kind.DESCRIPTOR.fields]

    assert fields(chat_pb2.StreamChatRequest) == fields(chat_pb2.ChatRequest)


USER_HI = ChatRequest(messages=(Message(Role.USER, "hi"),))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hi", USER_HI),
        ({"text": "hi"}, USER_HI),
        ({"role": "assistant", "text": "hi"}, ChatRequest(messages=(Message(Role.ASSISTANT, "hi"),))),
        ([{"text": "hi"}], USER_HI),
        ({"prompt": "hi"}, USER_HI),
        (
            {"prompt": "hi", "options": {"maxTokens": 3}},
            ChatRequest("", "", USER_HI.messages, options=ChatOptions(max_tokens=3)),
        ),
        ({"conversation_id": "c", "parentId": "p"}, ChatRequest(conversation_id="c", parent_id="p")),
        ({"conversationId": "c", "parent_id": "p"}, ChatRequest(conversation_id="c", parent_id="p")),
        (
            {"toolUse": {"toolId": "t", "name": "n", "input": {"a": 1}}},
            ChatRequest(messages=(Message(Role.ASSISTANT, tool_use=ToolUse("t", "n", {"a": 1})),)),
        ),
    ],
)
def test_a_chat_step_takes_text_messages_and_requests(value: Json, expected: ChatRequest) -> None:
    assert chat_request_of_json(value, LIMITS) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.STEP_INPUT_INVALID),
        (3, Reason.STEP_INPUT_INVALID),
        (True, Reason.STEP_INPUT_INVALID),
        (["hi"], Reason.STEP_INPUT_INVALID),
        ({"prompt": 3}, Reason.STEP_INPUT_INVALID),
        ({"promt": "a secret"}, Reason.STEP_INPUT_INVALID),
        ({"prompt": "\ud83d"}, Reason.STEP_INPUT_INVALID),
        ({"text": "hi", "role": "banana"}, Reason.INVALID_MESSAGE),
        ({}, Reason.INVALID_CONVERSATION),
        ([], Reason.INVALID_CONVERSATION),
        ("", Reason.INVALID_CONVERSATION),
    ],
)
def test_anything_else_is_refused_without_being_repeated(value: Json, reason: Reason) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat_request_of_json(value, LIMITS)
    assert caught.value.reason is reason
    assert "a secret" not in str(caught.value)


def test_whole_numbers_are_told_in_full() -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat_request(chat_pb2.StreamChatRequest(prompt="hi", options={"max_tokens": -2147483648}), LIMITS)
    assert "is -2147483648, and must be 1 to 2147483647" in str(caught.value)


def test_lone_surrogates_in_a_text_are_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat_request_of_json("\ud83d", LIMITS)
    assert caught.value.reason is Reason.STEP_INPUT_INVALID


def test_neighbouring_deltas_of_a_kind_are_joined_and_counted() -> None:
    batch: Batch = [
        STARTED,
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        TextDelta("a"),
        TextDelta("b"),
        TextDelta("c"),
        finished("abc"),
    ]
    started, thought, text, end = joined([batch])
    assert started.started == chat_pb2.ChatStarted(model="echo-1", provider="scripted")
    assert thought.reasoning_delta.text == "hm"
    assert (text.text_delta.text, text.text_delta.delta_count) == ("abc", 3)
    assert end.finished.messages[0].text == "abc"
    assert end.finished.first_event_latency.ToMilliseconds() == 1500


def test_without_a_piece_there_is_no_latency() -> None:
    assert not joined([[STARTED, finished("")]])[-1].finished.HasField("first_event_latency")


def test_how_a_reply_ended_is_told_in_full() -> None:
    usage = Usage(UsageSource.PROVIDER, input_tokens=0, output_tokens=7)
    event = Finished(FinishReason.LENGTH, "m", "p", usage, (Message(Role.ASSISTANT, "x"),), branched=False)
    (end,) = joined([[event]])
    assert end.finished.reason == chat_pb2.FINISH_REASON_LENGTH
    assert end.finished.HasField("branched")
    assert not end.finished.branched
    assert end.finished.usage.HasField("input_token_count")
    assert not end.finished.usage.HasField("reasoning_token_count")
    assert not joined([[finished("")]])[0].finished.HasField("branched")


def test_every_finish_reason_has_its_value() -> None:
    made = {
        chat_pb2.FinishReason.Name(joined([[Finished(reason, "", "", Usage(), ())]])[0].finished.reason)
        for reason in FinishReason
    }
    assert made == set(chat_pb2.FinishReason.keys())


deltas = st.lists(
    st.builds(TextDelta, st.text(max_size=40)) | st.builds(ReasoningDelta, st.text(max_size=40)), max_size=12
)


@given(batches=st.lists(deltas, max_size=6), limit_bytes=st.integers(4, 64))
def test_joining_and_cutting_loses_nothing_and_keeps_the_limit(batches: list[Batch], limit_bytes: int) -> None:
    responses = joined(batches, limit_bytes)
    events = [event for batch in batches for event in batch]
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    thoughts = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert "".join(response.text_delta.text for response in responses) == "".join(texts)
    assert "".join(response.reasoning_delta.text for response in responses) == "".join(thoughts)
    for response in responses:
        piece = response.text_delta.text or response.reasoning_delta.text
        assert 0 < len(piece.encode()) <= limit_bytes
        assert response.text_delta.delta_count >= 1 or response.HasField("reasoning_delta")


async def test_a_long_piece_is_cut_at_64_kib() -> None:
    text = "é" * 100_000

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta(text), finished(text)]

    async with serve(chat) as client:
        call = client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi"))
        pieces = [event.text_delta.text async for event in call if event.HasField("text_delta")]
    assert "".join(pieces) == text
    assert [len(piece.encode()) for piece in pieces] == [64 * KIB, 64 * KIB, 64 * KIB, 200_000 - 3 * 64 * KIB]


async def test_chat_is_stream_chat_collected() -> None:
    async with serve() as client:
        reply = await client.chat.Chat(chat_pb2.ChatRequest(prompt="a b c"))
    assert reply.text == reply.finished.messages[0].text == "abc"
    assert reply.finished.HasField("first_event_latency")
    assert reply.finished.model == "echo-1"


async def test_a_thought_is_the_first_piece_of_a_reply_in_both_calls() -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, ReasoningDelta("hm")]
        yield [finished("")]

    async with serve(chat) as client:
        once = await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi"))
        events = [event async for event in client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi"))]
    assert once.finished.HasField("first_event_latency")
    assert events[-1].finished.HasField("first_event_latency")


@pytest.mark.parametrize("in_finished", [False, True])
async def test_a_reply_too_large_to_collect_says_to_stream_it(*, in_finished: bool) -> None:
    stopped = False

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        nonlocal stopped
        try:
            yield [STARTED]
            for _turn in range(1 if in_finished else 10**6):
                yield [TextDelta("x" * 1000)]
            yield [finished("x" * 200_000)]
        finally:
            stopped = True

    async with serve(chat, limits=Limits(reply_bytes=100_000)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.chat.Chat(chat_pb2.ChatRequest(prompt="hi")))
    assert stopped
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESPONSE_TOO_LARGE")
    assert error.facts == {"limitBytes": "100000"}
    assert "StreamChat" in error.message


async def test_models_are_listed_by_name_in_pages() -> None:
    names = [f"m{index:03}" for index in range(250)]
    infos = [ModelInfo(name, (), "e", name, is_default=name == "m007") for name in reversed(names)]
    async with serve(models=Catalogue(chats=infos)) as client:
        seen: list[chat_pb2.Model] = []
        token, pages = "", 0
        while True:
            page = await client.chat.ListModels(chat_pb2.ListModelsRequest(page_token=token))
            seen += page.models
            pages += 1
            if not (token := page.next_page_token):
                break
        assert pages == 3
        assert [model.name for model in seen] == names
        assert [model.name for model in seen if model.is_default] == ["m007"]
        assert (await client.chat.GetModel(chat_pb2.GetModelRequest())).model.name == "m007"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.chat.GetModel(chat_pb2.GetModelRequest(name="gpt-5x"))
    error = told(caught.value)
    assert (error.code, error.reason, error.facts) == (
        grpc.StatusCode.NOT_FOUND,
        "MODEL_NOT_FOUND",
        {"model": "gpt-5x"},
    )
    assert "ResourceInfo" in error.kinds
