"""What a peer may do with a connection, and what becomes of one that does more, or less, or nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from stepwired.web.bounds import Bounds
from stepwired.web.server import Settings
from tests.rpc.serving import SOON_S, Silent, until
from tests.web.fronting import CHAT, HI, Front, Reply, serve

SOON = Bounds(head_s=0.2, body_idle_s=0.2, idle_s=0.2)
HEAD = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"


def only(front: Front) -> Any:
    """The front's side of the one connection."""
    (connection,) = front.server._state.connections
    return connection


def bounded(**bounds: Any) -> Settings:
    return Settings(page=False, bounds=Bounds(**bounds))


async def sent(front: Front, data: bytes) -> Reply:
    """The answer to raw bytes, after which the connection has to end."""
    async with asyncio.timeout(SOON_S), front.connection() as connection:
        await connection.send(data)
        reply = await connection.reply()
        assert reply.headers["connection"] == "close"
        connection.writer.close()
        return reply


async def test_a_silent_socket_is_closed_without_a_word() -> None:
    settings = bounded(head_s=0.05)
    async with asyncio.timeout(SOON_S), serve(settings=settings) as front, front.connection() as connection:
        assert await connection.ended() == b""


@pytest.mark.parametrize("begin", [b"G", b"GET / HTTP/1.1\r\n", HEAD, HEAD + b"X-Slow: "])
async def test_a_head_that_does_not_come_whole_in_time_is_refused(begin: bytes) -> None:
    async with serve(settings=bounded(head_s=0.05)) as front:
        reply = await sent(front, begin)
    assert (reply.status, reply.error["code"]) == (408, "request_timeout")


async def test_a_head_that_comes_byte_by_byte_has_no_more_time() -> None:
    settings = bounded(head_s=0.2)
    async with asyncio.timeout(SOON_S), serve(settings=settings) as front, front.connection() as connection:
        sending = asyncio.create_task(_dribble(connection.writer, HEAD + b"X-Slow: " + b"x" * 10_000))
        reply = await connection.reply()
        sending.cancel()
        await asyncio.wait([sending])
    assert (reply.status, reply.error["code"]) == (408, "request_timeout")


async def _dribble(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.005)


async def test_a_body_that_stops_coming_is_refused_and_leaves_nothing() -> None:
    async with serve(settings=bounded(body_idle_s=0.05)) as front:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        reply = await sent(front, f'{head}Content-Length: 100\r\n\r\n{{"mess'.encode())
        assert (reply.status, reply.error["code"]) == (408, "request_timeout")
        await until(lambda: not front.places._live)


async def test_a_connection_that_is_not_used_again_is_closed() -> None:
    settings = bounded(idle_s=0)
    async with asyncio.timeout(SOON_S), serve(settings=settings) as front, front.connection() as connection:
        await connection.ask("GET", "/v1/models")
        assert (await connection.reply()).status == 200
        assert await connection.ended() == b""


async def test_a_model_that_thinks_long_is_no_idle_connection() -> None:
    model = Silent(begins=True)
    async with asyncio.timeout(SOON_S), serve(model.chat, settings=Settings(page=False, bounds=SOON)) as front:
        async with front.connection() as connection:
            await connection.ask("POST", CHAT, HI | {"stream": True})
            await connection.head()
            await connection.chunk()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await connection.reader.read()
        await model.stopped.wait()


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"X-Large: " + b"x" * 66_000 + b"\r\n\r\n",
        HEAD + b"X-Large: " + b"x" * 66_000,
        HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(8000)) + b"\r\n",
        b"GET /" + b"x" * 66_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["whole", "without end", "many", "path"],
)
async def test_a_head_that_is_too_large_is_refused(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "stepwired"):
        async with serve() as front:
            reply = await sent(front, data)
    assert (reply.status, reply.error["code"]) == (431, "request_header_fields_too_large")
    [line] = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert line.endswith("method=HTTP code=431 reason=request_header_fields_too_large")
    assert reply.headers["x-request-id"] in line


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"garbage\r\n\r\n",
        b"GET http://localhost/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA\x00b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n folded: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused(data: bytes) -> None:
    async with serve() as front:
        reply = await sent(front, data)
    assert (reply.status, reply.error["code"]) == (400, "malformed_http")


@pytest.mark.parametrize("data", [b"zz\r\nx\r\n0\r\n\r\n", b"5\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n"])
async def test_chunks_that_are_none_are_refused(data: bytes) -> None:
    async with serve() as front:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        reply = await sent(front, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + data)
        await until(lambda: not front.places._live)
    assert (reply.status, reply.error["code"]) == (400, "malformed_http")


async def test_a_body_in_chunks_is_read() -> None:
    async with serve() as front, front.connection() as connection:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        pieces = ("{", json.dumps(HI)[1:], "")
        chunks = "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in pieces)
        await connection.send(f"{head}Transfer-Encoding: chunked\r\n\r\n{chunks}".encode())
        reply = await connection.reply()
    assert reply.json["choices"][0]["message"]["content"] == "hithere"


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused_while_it_comes(announced: bool) -> None:
    piece = b"x" * 65_536
    async with asyncio.timeout(SOON_S), serve(settings=Settings(page=False, body_bytes=200_000)) as front:
        async with front.connection() as connection:
            size = "Content-Length: 300000" if announced else "Transfer-Encoding: chunked"
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{size}\r\n\r\n"
            await connection.send(head.encode())
            for _ in range(4):
                await connection.send(piece if announced else b"10000\r\n" + piece + b"\r\n")
            reply = await connection.reply()
            # The rest is still taken, so that the answer is not lost on its way.
            await connection.send(piece)
            connection.writer.close()
        await until(lambda: not front.places._live)
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")


async def test_a_caller_who_asks_first_is_told_not_to_send_what_is_too_large() -> None:
    async with asyncio.timeout(SOON_S), serve(settings=Settings(page=False, body_bytes=100)) as front:
        for size, status in ((101, 413), (2, 100)):
            async with front.connection() as connection:
                await connection.ask("POST", CHAT, b"", {"Content-Length": str(size), "Expect": "100-continue"})
                assert (await connection.head())[0] == status


async def test_a_second_request_before_the_answer_to_the_first_is_not_served() -> None:
    model = Silent(begins=True)
    async with asyncio.timeout(SOON_S), serve(model.chat) as front, front.connection() as connection:
        await connection.ask("POST", CHAT, HI | {"stream": True})
        await connection.ask("GET", "/v1/models")
        await connection.head()
        await connection.chunk()
        await front.places.drain(0)
        rest = await connection.ended()
    assert b"HTTP/1.1" not in rest
    assert model.stopped.is_set()


async def test_more_connections_than_there_may_be_are_refused() -> None:
    model = Silent()
    async with asyncio.timeout(SOON_S), serve(model.chat, settings=bounded(connections=2)) as front:
        async with front.connection() as one, front.connection() as two:
            for connection in (one, two):
                await connection.ask("POST", CHAT, HI)
            await until(lambda: model.running == 2)
            reply = await front.ask("GET", "/v1/models")
            assert (reply.status, reply.error["code"]) == (503, "too_many_connections")
            assert (reply.headers["retry-after"], reply.headers["x-should-retry"]) == ("1", "true")
        await until(lambda: not front.server._state.connections)
        assert (await front.ask("GET", "/v1/models")).status == 200


async def test_who_says_nothing_is_told_that_there_is_no_room_too() -> None:
    model = Silent()
    settings = bounded(connections=1, linger_s=0.05)
    async with asyncio.timeout(SOON_S), serve(model.chat, settings=settings) as front, front.connection() as one:
        await one.ask("POST", CHAT, HI)
        await until(lambda: model.running == 1)
        async with front.connection() as silent:
            assert (await silent.reply()).status == 503
            assert await silent.ended() == b""


async def test_the_connection_that_is_idle_for_longest_gives_way_to_a_new_one() -> None:
    settings = bounded(connections=2)
    async with asyncio.timeout(SOON_S), serve(settings=settings) as front, AsyncExitStack() as callers:
        one, two = [await callers.enter_async_context(front.connection()) for _ in range(2)]
        for connection in (two, one):
            await connection.ask("GET", "/v1/models")
            assert (await connection.reply()).status == 200
            then_s = asyncio.get_running_loop().time()
            await until(lambda: asyncio.get_running_loop().time() > then_s)  # noqa: B023
        three = await callers.enter_async_context(front.connection())
        for connection in (three, one):
            await connection.ask("GET", "/v1/models")
            assert (await connection.reply()).status == 200
        assert await two.ended() == b""


OFFER = (
    f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n"
).encode()
ASKED = json.dumps(HI).encode()


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: %d\r\n\r\n%b" % (len(ASKED), ASKED),
        b"Upgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(ASKED), ASKED),
    ],
    ids=["whole", "in chunks"],
)
async def test_an_offer_of_another_language_may_be_cut_anywhere(rest: bytes) -> None:
    data = OFFER + rest
    async with asyncio.timeout(SOON_S), serve() as front, front.connection() as connection:
        await until(lambda: front.server._state.connections)
        for at in range(data.index(b"Connection"), len(data)):
            received = only(front).data_received
            received(data[:at])
            received(data[at:])
            reply = await connection.reply()
            assert (reply.status, reply.json["choices"][0]["message"]["content"]) == (200, "hithere"), at


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
async def test_clients_that_offer_another_language_are_answered_in_this_one(upgrade: str) -> None:
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": upgrade, "HTTP2-Settings": "AAMAAABkAAQAoAAA"}
    async with asyncio.timeout(SOON_S), serve() as front, front.connection() as connection:
        for _ in range(2):
            await connection.ask("POST", CHAT, HI, headers)
            assert (await connection.reply()).status == 200


async def test_the_oldest_http_is_answered_and_closed() -> None:
    async with asyncio.timeout(SOON_S), serve() as front, front.connection() as connection:
        await connection.send(b"GET /v1/models HTTP/1.0\r\nHost: localhost\r\n\r\n")
        said = await connection.ended()
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_stream_is_refused_where_its_end_could_not_be_told() -> None:
    async with asyncio.timeout(SOON_S), serve() as front:
        for streamed, line in ((True, b"HTTP/1.1 505"), (False, b"HTTP/1.1 200")):
            asked = json.dumps(HI | {"stream": streamed}).encode()
            head = f"POST {CHAT} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            async with front.connection() as connection:
                await connection.send(f"{head}Content-Length: {len(asked)}\r\n\r\n".encode() + asked)
                said = await connection.ended()
            assert said.startswith(line)
            assert b"chunked" not in said
