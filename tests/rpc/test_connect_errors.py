"""Every kind of failure is told over Connect and gRPC-Web as over gRPC: code, message, reason, details, trailers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc import StatusCode as K

from stepwire.v1 import chat_pb2
from stepwired.errors import Failure, InvalidRequest, Reason, Subject, Throttled, Violation
from stepwired.events import Batch, Chat, ChatRequest, TextDelta
from stepwired.limits import MIB, Limits
from tests.rpc.connecting import PROTOCOLS, Http, Refused, connection, listening
from tests.rpc.serving import SOON_S, STARTED, Client, Silent, Told, echo, serve, told

C = chat_pb2
CHAT, STREAM = C.ChatRequest(prompt="hi"), C.StreamChatRequest(prompt="hi")
BEGUN = (STARTED, TextDelta("a"))


def limited() -> Failure:
    return Throttled(
        Reason.PROVIDER_RATE_LIMITED,
        "slow down: é “quoted” 100%\nand more",
        metadata={"provider": "acme", "model": "m"},
        retry_after_s=1.5,
        subject=Subject("provider", "acme"),
    )


def twice_wrong() -> Failure:
    found = [Violation("messages[0].text", "bad", Reason.FIELD_INVALID), Violation("b", "é\n", Reason.FIELD_REQUIRED)]
    return InvalidRequest.of(found)


def failing(make: Callable[[], BaseException], after: Batch = ()) -> Chat:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        if after:
            yield after
        raise make()

    return chat


async def large(_: ChatRequest) -> AsyncGenerator[Batch, None]:
    yield [STARTED, *(TextDelta("x" * MIB) for _ in range(5))]


async def silent(request: ChatRequest) -> AsyncGenerator[Batch, None]:
    async for batch in Silent().chat(request):
        yield batch


def nobody(method: str, _: Sequence[tuple[str, str | bytes]]) -> Failure | None:
    return InvalidRequest(Reason.PROVIDER_CALLER_KEY_INVALID, f"not you: {method}")


@dataclass(frozen=True)
class Row:
    """One way to fail."""

    name: str
    chat: Chat
    code: K
    reason: str = ""
    serving: dict[str, Any] = field(default_factory=dict)
    timeout_s: float = SOON_S
    metadata: tuple[tuple[str, str], ...] = ()
    request: str = "hi"


ROWS = [
    Row("a limit of a provider", failing(limited), K.RESOURCE_EXHAUSTED, "PROVIDER_RATE_LIMITED"),
    Row("half an answer", failing(limited, BEGUN), K.RESOURCE_EXHAUSTED, "PROVIDER_RATE_LIMITED"),
    Row("violations", failing(twice_wrong), K.INVALID_ARGUMENT, "FIELD_INVALID"),
    Row("a crash", failing(lambda: ZeroDivisionError("secret")), K.INTERNAL, "INTERNAL"),
    Row("a cancel from within", failing(asyncio.CancelledError), K.ABORTED, "INTERNAL_CANCELLED"),
    Row("a deadline", silent, K.DEADLINE_EXCEEDED, timeout_s=0.2),
    Row("nothing to say", echo, K.INVALID_ARGUMENT, "INVALID_CONVERSATION", request=""),
    Row("no right", echo, K.UNAUTHENTICATED, "PROVIDER_CALLER_KEY_INVALID", {"authorize": nobody}),
    Row(
        "a bad key", echo, K.UNAUTHENTICATED, "PROVIDER_CALLER_KEY_INVALID", metadata=(("x-provider-key", "a" * 5000),)
    ),
    Row("a reply that is too large", large, K.RESOURCE_EXHAUSTED, "RESPONSE_TOO_LARGE"),
]
METHODS = ["Chat", "StreamChat", "Converse"]


async def ask_grpc(client: Client, row: Row, method: str) -> None:
    options: dict[str, Any] = {"timeout": row.timeout_s, "metadata": (("x-request-id", "mine"), *row.metadata)}
    stream = C.StreamChatRequest(prompt=row.request)
    match method:
        case "Chat":
            await client.chat.Chat(C.ChatRequest(prompt=row.request), **options)
        case "StreamChat":
            _ = [each async for each in client.chat.StreamChat(stream, **options)]
        case _:
            call = client.chat.Converse(**options)
            with suppress(asyncio.InvalidStateError):  # it was refused before anything was sent
                await call.write(C.ConverseRequest(chat=stream))
                await call.done_writing()
            while await call.read() is not grpc.aio.EOF:
                pass


async def ask_http(http: Http, row: Row, method: str) -> None:
    headers: dict[str, Any] = {"x_request_id": "mine", **dict(row.metadata)}
    name = "connect_timeout_ms" if http.family == "connect" else "grpc_timeout"
    headers[name] = f"{row.timeout_s * 1000:.0f}" + ("m" if http.family == "grpc-web" else "")
    stream = C.StreamChatRequest(prompt=row.request)
    match method:
        case "Chat":
            await http.unary("ChatService/Chat", C.ChatRequest(prompt=row.request), C.ChatResponse, **headers)
        case "StreamChat":
            http.post("ChatService/StreamChat", stream, **headers)
            await http.all(C.StreamChatResponse)
        case _:
            http.post("ChatService/Converse", C.ConverseRequest(chat=stream), **headers)
            await http.all(C.ConverseResponse)


async def over_grpc(client: Client, row: Row, method: str) -> Told:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask_grpc(client, row, method)
    said = told(caught.value)
    said.trailers.pop("grpc-status-details-bin", None)
    return said


async def over_http(http: Http, row: Row, method: str) -> Told:
    with pytest.raises(Refused) as caught:
        await ask_http(http, row, method)
    return caught.value.told


def like(said: Told) -> dict[str, Any]:
    """What has to be the same."""
    found = dict(vars(said))
    found["kinds"] = sorted(said.kinds)
    if said.code is K.DEADLINE_EXCEEDED:  # said by gRPC itself, in words of its own, and without our trailers
        del found["message"], found["trailers"]
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_failure_is_told_alike_in_every_form(row: Row, method: str) -> None:
    if row.name == "a reply that is too large" and method != "Chat":
        return  # streams are cut into small messages
    async with serve(row.chat, **row.serving) as client, listening(client.server) as port:
        expected = await over_grpc(client, row, method)
        assert (expected.code, expected.reason) == (row.code, row.reason)
        for protocol in PROTOCOLS:
            async with connection(port, protocol) as http:
                assert like(await over_http(http, row, method)) == like(expected), protocol
    assert len({(code, reason) for _, code, reason in client.metrics.calls}) == 1


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_beyond_those_that_are_served_is_refused_alike_and_unread(method: str) -> None:
    row, model = Row("", echo, K.RESOURCE_EXHAUSTED), Silent(begins=True)
    async with serve(model.chat, limits=Limits(max_calls=1)) as client, listening(client.server) as port:
        async with connection(port) as first:
            first.post("ChatService/StreamChat", STREAM)
            await first.reply()
            expected = await over_grpc(client, row, method)
            assert expected.reason == "CONCURRENCY_LIMITED"
            for protocol in PROTOCOLS:
                async with connection(port, protocol) as http:
                    assert like(await over_http(http, row, method)) == like(expected)
                async with connection(port, protocol) as http:  # nothing of the body is sent
                    http.begin(f"ChatService/{method}", is_unary=method == "Chat", size=1000)
                    assert (await http.reply()).status in {429, 200}
        await model.stopped.wait()


@pytest.mark.parametrize("method", METHODS)
async def test_a_draining_server_refuses_alike(method: str) -> None:
    row = Row("", echo, K.UNAVAILABLE)
    model = Silent(begins=True)
    async with serve(model.chat) as client, listening(client.server) as port, connection(port) as first:
        first.post("ChatService/StreamChat", STREAM)
        reply = await first.reply()
        draining = asyncio.create_task(client.server.drain(SOON_S))
        messages = first.messages(reply, C.StreamChatResponse, [])
        assert (await anext(messages)).HasField("started")
        for protocol in PROTOCOLS:
            async with connection(port, protocol) as http:
                said = await over_http(http, row, method)
                assert (said.code, said.reason) == (K.UNAVAILABLE, "SERVER_DRAINING")
                assert said.trailers == {"x-request-id": "mine", "grpc-retry-pushback-ms": "1000"}
        first.hang_up()
        await draining


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_draining_ends_a_call_and_says_why(protocol: str) -> None:
    model = Silent(begins=True)
    async with serve(model.chat) as client, listening(client.server) as port, connection(port, protocol) as http:
        http.post("ChatService/StreamChat", STREAM)
        messages = http.messages(await http.reply(), C.StreamChatResponse, [])
        assert (await anext(messages)).HasField("started")
        draining = asyncio.create_task(client.server.drain(0))
        with pytest.raises(Refused) as caught:
            _ = [each async for each in messages]
        assert (caught.value.told.reason, caught.value.told.facts) == ("SERVER_DRAINING", {"partial": "true"})
        await draining
        assert model.stopped.is_set()
