"""Who hangs up, does not read or does not send over HTTP: what becomes of the call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator

import pytest
from grpc import StatusCode as K

from stepwire.v1 import chat_pb2
from stepwired.events import Batch, ChatRequest, TextDelta
from stepwired.limits import Limits
from stepwired.providers.base import Endpoint, ModelEntry, static
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.net.http import Http as ProviderHttp
from stepwired.rpc.call import Call
from tests.fakeprov import Provider, behaviours
from tests.rpc.connecting import PROTOCOLS, Http, Refused, connection, listening
from tests.rpc.serving import SOON_S, STARTED, Silent, serve, until, within

C = chat_pb2
CHAT, STREAM = C.ChatRequest(prompt="hi"), C.StreamChatRequest(prompt="hi")
METHODS = ["Chat", "StreamChat", "Converse"]


def ask(http: Http, method: str, *, is_whole: bool = True) -> None:
    """Send a request; a talk that is not whole could still go on."""
    if method == "Converse" and not is_whole:
        http.begin("ChatService/Converse")
        http.send(C.ConverseRequest(chat=STREAM))
    elif method == "Converse":
        http.post("ChatService/Converse", C.ConverseRequest(chat=STREAM))
    else:
        http.post(f"ChatService/{method}", CHAT if method == "Chat" else STREAM, is_unary=method == "Chat")


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("method", [*METHODS, "Converse open"])
@pytest.mark.parametrize("protocol", PROTOCOLS[1:3])
async def test_hanging_up_stops_the_model(protocol: str, method: str, begins: bool) -> None:
    model = Silent(begins=begins)
    async with serve(model.chat) as client, listening(client.server) as port:
        async with connection(port, protocol) as http:
            ask(http, method.split(maxsplit=1)[0], is_whole="open" not in method)
            await within(model.asked.wait())
            if begins and method != "Chat":
                await http.reply()
        await within(model.stopped.wait())
        await until(lambda: client.metrics.calls)
    assert [(code, reason) for _, code, reason in client.metrics.calls] == [("CANCELLED", "")]


async def test_hanging_up_closes_the_providers_socket() -> None:
    provider_http = ProviderHttp()
    async with Provider(behaviours.stalled()) as provider:
        endpoint = Endpoint("acme", static(provider.base_url))
        models = Catalogue([endpoint], [ModelEntry("m", "chat", "acme", "gpt-x")], provider_http)
        async with serve(models.chat) as client, listening(client.server) as port:
            async with connection(port) as http:
                ask(http, "StreamChat")
                messages = http.messages(await http.reply(), C.StreamChatResponse, [])
                assert (await anext(messages)).HasField("started")
            await within(provider.closed())
    await provider_http.aclose()


async def test_hanging_up_during_a_turn_is_noticed_though_the_next_waits_unread() -> None:
    model = Silent(begins=True)
    async with serve(model.chat) as client, listening(client.server) as port:
        async with connection(port) as http:
            http.begin("ChatService/Converse")
            for _ in range(5):
                http.send(C.ConverseRequest(chat=STREAM))
            await within(model.asked.wait())
        await within(model.stopped.wait())


async def test_hanging_up_behind_much_that_waits_unread_stops_a_model_that_says_nothing() -> None:
    model = Silent()
    async with serve(model.chat) as client, listening(client.server) as port:
        async with connection(port) as http:
            http.begin("ChatService/Converse")
            http.send(C.ConverseRequest(chat=STREAM))
            await within(model.asked.wait())
            for _ in range(9):
                http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="x" * 100_000)))
            http.writer.close()  # once all of that is sent: the end comes behind it
            await within(model.stopped.wait())
        await until(lambda: not client.server.places.bodies.held_bytes)


async def test_a_stream_is_read_ahead_only_as_far_as_there_is_room() -> None:
    model = Silent()
    limits = Limits(bodies_bytes=1_000_000)
    async with serve(model.chat, limits=limits) as client, listening(client.server) as port:
        bodies = client.server.places.bodies
        async with connection(port) as http:
            http.begin("ChatService/Converse")
            http.send(C.ConverseRequest(chat=STREAM))
            await within(model.asked.wait())
            for _ in range(30):
                http.send(C.ConverseRequest(chat=C.StreamChatRequest(prompt="x" * 100_000)))
            await until(lambda: bodies.held_bytes > 300_000)
            for _ in range(100):
                await asyncio.sleep(0)
                assert bodies.held_bytes <= 500_000 + 2 * 100_000  # the half of it, and what of a message is read
            await client.server.places.drain(0)
        await until(lambda: not bodies.held_bytes)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", METHODS[:2])
async def test_a_request_that_is_not_whole_when_the_server_ends_is_told_why(protocol: str, method: str) -> None:
    async with serve() as client, listening(client.server) as port, connection(port, protocol) as http:
        http.begin(f"ChatService/{method}", is_unary=method == "Chat", size=1000)
        http.writer.write(b"\0\0\0")
        await until(lambda: client.server.places._live)
        await within(client.server.places.drain(SOON_S))
        assert not client.server.places._live
        with pytest.raises(Refused) as caught:
            await (http.single(C.ChatResponse) if method == "Chat" else http.all(C.StreamChatResponse))
    said = caught.value.told
    assert (said.code, said.reason) == (K.UNAVAILABLE, "SERVER_DRAINING")
    assert said.request_id == said.trailers["x-request-id"] != ""


@pytest.mark.parametrize("method", METHODS[:2])
async def test_a_request_that_was_read_is_none_of_those_that_are_being_read(method: str) -> None:
    model = Silent()
    async with serve(model.chat) as client, listening(client.server) as port:
        async with connection(port) as http:
            ask(http, method)
            await within(model.asked.wait())
            assert [type(member) for member in client.server.places._live] == [Call]
        await until(lambda: not client.server.places._live)


def requests() -> int:
    """How many are being served."""
    return sum(getattr(task.get_coro(), "__name__", "") == "run_asgi" for task in asyncio.all_tasks())


@pytest.mark.parametrize("method", METHODS)
async def test_hanging_up_before_the_request_is_whole_begins_nothing(method: str) -> None:
    model = Silent()
    async with serve(model.chat) as client, listening(client.server) as port:
        async with connection(port) as http:
            http.begin(f"ChatService/{method}", is_unary=method == "Chat", size=1000)
            http.writer.write(b"\0\0")
            await until(requests)
        await until(lambda: not requests())
    assert not model.asked.is_set()
    assert {code for _, code, _ in client.metrics.calls} <= {"CANCELLED"}


@pytest.mark.parametrize("method", ["StreamChat", "Converse"])
async def test_a_reader_that_does_not_read_loses_its_stream_and_stops_the_model(method: str) -> None:
    stopped, sent = asyncio.Event(), [0]

    async def endless(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        try:
            yield [STARTED]
            while True:
                yield [TextDelta("x" * 60_000)]
                sent[0] += 60_000
        finally:
            stopped.set()

    limits = Limits(stalled_reader_s=0.3)
    async with serve(endless, limits=limits) as client, listening(client.server) as port:
        with socket.socket() as narrow:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            narrow.setblocking(False)
            await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", port))
            async with connection(0, sock=narrow, limit=1024) as http:
                ask(http, method)
                await within(stopped.wait())
                assert sent[0] < 20_000_000  # what sockets buffer, and not what a model could say meanwhile
                with pytest.raises(asyncio.IncompleteReadError):  # the end is missing, and that can be seen
                    await http.all(C.StreamChatResponse if method == "StreamChat" else C.ConverseResponse)
        await until(lambda: client.metrics.calls)
    assert [(code, reason) for _, code, reason in client.metrics.calls] == [("RESOURCE_EXHAUSTED", "SLOW_CONSUMER")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", METHODS)
async def test_a_sender_that_does_not_send_is_given_up(protocol: str, method: str) -> None:
    limits = Limits(stalled_sender_s=0.2)
    async with serve(limits=limits) as client, listening(client.server) as port, connection(port, protocol) as http:
        http.begin(f"ChatService/{method}", is_unary=method == "Chat", size=1000)
        http.writer.write(b"\0\0\0")
        with pytest.raises(Refused) as caught:
            await (http.single(C.ChatResponse) if method == "Chat" else http.all(C.StreamChatResponse))
    said = caught.value.told
    assert (said.code, said.reason, said.facts) == (K.RESOURCE_EXHAUSTED, "SLOW_PRODUCER", {"limitSeconds": "0.2"})
    assert said.request_id == said.trailers["x-request-id"] != ""
