"""What is too large to be sent, and what would take too long to read, is refused with a reason."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from stepwire.v1 import chat_pb2, conversation_pb2, message_pb2, step_run_pb2
from stepwired.errors import Reason, Violation
from stepwired.events import Batch, ChatRequest, Json
from stepwired.limits import KIB, MIB
from stepwired.rpc.scan import MAX_FIELDS, has_too_many_fields
from stepwired.steps.results import ErrorMode, Item, Metadata, Outcome, RunEvent, RunFinished, RunStarted
from stepwired.steps.spec import Spec
from stepwired.store.codec.values import json_of_value
from stepwired.store.sqlite import SqliteStore
from tests.rpc.asking import labels, tool_use, violations
from tests.rpc.serving import STARTED, finished, read, serve, told, within
from tests.rpc.test_step_runs import registry


class Scripted:
    """Runs whose results are given."""

    def __init__(self, results: Sequence[Json]) -> None:
        self._results = results

    async def validate(self, steps: Sequence[Spec], **_: bool) -> tuple[Violation, ...]:
        return ()

    async def run(
        self, steps: Sequence[Spec], value: Json, *, error_mode: ErrorMode, events: bool, run_id: str, **_: object
    ) -> AsyncGenerator[RunEvent, None]:
        yield RunStarted(run_id)
        for index, result in enumerate(self._results):
            yield Item((index,), result)
        made = Metadata("", "compose", "", 0, 0.0, 1, len(self._results), 0, 1, None, {}, Outcome.COMPLETED)
        yield RunFinished(len(self._results), 0, False, 0, made)

    async def infos(self) -> Sequence[Any]:
        return ()

    async def find(self, name: str) -> None:
        return None


HUGE: Json = [0] * 500_000  # 1 MB as JSON, 5.5 MB as protobuf


async def test_a_reply_whose_end_cannot_be_sent_says_why() -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED]
        yield [finished("x" * 5 * MIB)]

    async with serve(chat) as client:
        call = client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi"))
        assert (await read(call)).HasField("started")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(call)
    error = told(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESPONSE_TOO_LARGE")
    assert error.facts == {"limitBytes": str(4 * MIB), "partial": "true"}
    assert error.request_id
    assert error.trailers["grpc-retry-pushback-ms"] == "-1"
    assert client.metrics.calls == [("/stepwire.v1.ChatService/StreamChat", "RESOURCE_EXHAUSTED", "RESPONSE_TOO_LARGE")]


async def test_an_answer_too_large_for_any_client_says_why() -> None:
    class Talkative(Scripted):
        async def validate(self, steps: Sequence[Spec], **_: bool) -> tuple[Violation, ...]:
            return tuple(Violation("x" * 5000, "…") for _ in range(1000))

    async with serve(steps=Talkative([])) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.steps.ValidateStep(step_run_pb2.ValidateStepRequest())
    assert told(caught.value).reason == "RESPONSE_TOO_LARGE"
    assert client.metrics.calls[0][1:] == ("RESOURCE_EXHAUSTED", "RESPONSE_TOO_LARGE")


async def test_a_result_too_large_to_be_sent_fails_in_its_place() -> None:
    async with serve(steps=Scripted([1, HUGE, 2])) as client:
        events = [event async for event in client.steps.RunStep(step_run_pb2.RunStepRequest())]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["started", "value", "failure", "value", "finished"]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert list(events[2].path) == [1]
    assert events[2].failure.reason == "RESPONSE_TOO_LARGE"
    assert json_of_value(events[3].value) == 2
    assert (events[4].finished.results, events[4].finished.errors) == (2, 1)


async def test_a_result_too_large_to_be_sent_ends_a_run_that_fails_fast() -> None:
    request = step_run_pb2.RunStepRequest(error_mode=step_run_pb2.ERROR_MODE_FAIL_FAST)
    async with serve(steps=Scripted([HUGE, 2])) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            _ = [event async for event in client.steps.RunStep(request)]
    assert told(caught.value).reason == "RESPONSE_TOO_LARGE"


async def test_the_faults_of_a_spec_are_named_up_to_a_number_and_then_counted() -> None:
    bad = step_run_pb2.Step(labels={"": "x"}, max_concurrency=0, buffer=0, name="\0")
    request = step_run_pb2.ValidateStepRequest(steps=[bad] * 1000)
    async with serve(steps=registry()) as client:
        found = (await client.steps.ValidateStep(request)).violations
    assert len(found) == 2001
    assert found[-1].description == "and 3000 more"


async def test_bad_labels_of_a_step_are_one_fault() -> None:
    bad = step_run_pb2.Step(spread={}, labels={"\0" * size: "" for size in range(64)})
    async with serve(steps=registry()) as client:
        (found,) = (await client.steps.ValidateStep(step_run_pb2.ValidateStepRequest(steps=[bad]))).violations
    assert found.field == "steps[0].labels"


def test_labels_that_would_make_metadata_too_large_to_be_sent_are_refused_once() -> None:
    many = {f"{index:0>200}": "x" * 200 for index in labels(64)}
    steps = [step_run_pb2.Step(spread={}, labels=many) for _ in range(100)]
    (found,) = violations(step_run_pb2.RunStepRequest(steps=steps))
    assert (found.field, found.reason) == ("steps[40].labels", Reason.FIELD_INVALID)
    assert violations(step_run_pb2.RunStepRequest(steps=steps[:40])) == ()


def value(*items: Any) -> struct_pb2.Value:
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))


def zeros(count: int) -> struct_pb2.Struct:
    return struct_pb2.Struct(fields={"a": value(*[struct_pb2.Value(number_value=0)] * count)})


def test_json_is_refused_where_it_is_small_as_json_and_large_as_protobuf() -> None:
    assert violations(tool_use(input=zeros(90_000))) == ()
    (found,) = violations(tool_use(input=zeros(520_000)))
    assert (found.field, found.reason) == ("messages[0].tool_use.input", Reason.INVALID_MESSAGE)
    assert "protobuf" in found.description


def test_the_json_of_one_request_has_so_many_values_at_most() -> None:
    def asked(*counts: int) -> conversation_pb2.CreateConversationRequest:
        made = conversation_pb2.CreateConversationRequest()
        for count in counts:
            made.messages.append(tool_use(input=zeros(count)).messages[0])
        return made

    assert violations(asked(49_999, 49_999)) == ()
    (found,) = violations(asked(49_999, 49_999, 1))
    assert (found.field, found.reason) == ("messages[2].tool_use.input", Reason.INVALID_MESSAGE)
    assert "100000 values" in found.description


def test_the_input_of_a_run_has_a_size_and_so_many_values_at_most() -> None:
    def asked(start: struct_pb2.Value) -> tuple[Violation, ...]:
        return violations(step_run_pb2.RunStepRequest(input=start))

    assert asked(value(*[struct_pb2.Value()] * 99_999)) == ()
    (many,) = asked(value(*[struct_pb2.Value()] * 100_000))
    (large,) = asked(struct_pb2.Value(string_value="x" * 4 * MIB))
    assert [(each.field, each.reason) for each in (many, large)] == [("input", Reason.STEP_INPUT_INVALID)] * 2


async def test_a_large_request_is_read_in_a_thread_and_refused_as_ever() -> None:
    async with serve(steps=registry()) as client:
        request = step_run_pb2.RunStepRequest(input=value(*[struct_pb2.Value()] * 200_000))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(client.steps.RunStep(request).read())
        assert told(caught.value).fields == [("input", "STEP_INPUT_INVALID")]
        text = "x" * 100 * KIB
        reply = await client.steps.CollectStep(step_run_pb2.CollectStepRequest(input={"string_value": text}))
    assert reply.results[0].value.string_value == text


@pytest.mark.parametrize("part", [b'"\x00', b"\x08\x01", b"\x0d1234", b"\x0912345678", b'"\x80\x00'])
def test_parts_are_counted_before_they_are_decoded(part: bytes) -> None:
    filler = b"\x1a\x80\x80\x04" + b"x" * 64 * KIB  # a text of 64 KiB
    assert not has_too_many_fields(filler + part * (MAX_FIELDS - 1))
    assert has_too_many_fields(filler + part * MAX_FIELDS)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_what_is_no_protobuf_is_left_to_the_decoder(before: bytes, after: bytes) -> None:
    assert not has_too_many_fields(before + b"\xff" * 70_000 + after)


async def test_millions_of_empty_messages_are_refused_undecoded() -> None:
    async with serve() as client:
        call: Any = client.channel.unary_unary("/stepwire.v1.ChatService/Chat")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await within(call(b'"\x00' * 8_000_000))
    assert told(caught.value).reason == "MALFORMED_REQUEST"


async def test_what_the_store_takes_can_be_sent(tmp_path: Path) -> None:
    """The largest message there can be: a thought, its proof, a tool's input and metadata."""
    whole = message_pb2.Message(
        reasoning={"text": "x" * MIB, "signature": b"x" * MIB},
        tool_use={"tool_id": "t", "name": "n", "input": struct_pb2.Struct()},
        metadata=zeros(20_000),
    )
    whole.tool_use.input.update({"a": "x" * (MIB - 8)})
    store = await SqliteStore.open(tmp_path)
    try:
        async with serve(store=store) as client:
            await client.conversations.CreateConversation(
                conversation_pb2.CreateConversationRequest(conversation_id="c", messages=[whole])
            )
            shown = client.conversations.StreamMessages(conversation_pb2.StreamMessagesRequest(conversation_id="c"))
            (page,) = [page async for page in shown]
    finally:
        await store.close()
    assert page.messages[0].reasoning.signature == whole.reasoning.signature
