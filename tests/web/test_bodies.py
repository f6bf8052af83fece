"""What comes with a request's body, before it, beside it and after it, and what becomes of a caller who leaves."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stepwired.web.bounds import Bounds
from stepwired.web.server import Settings
from tests.rpc.serving import SOON_S, Silent, until
from tests.web.fronting import CHAT, HI, Connection, Front, Reply, serve

CHUNKED = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n".encode()
JSON = b"Content-Type: application/json\r\n"
ASKED = json.dumps(HI).encode()
BODY = b"%x\r\n%b\r\n0\r\n" % (len(ASKED), ASKED)


def posted(body: bytes, path: str = CHAT) -> bytes:
    """A request, as it is sent."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()
    return head + JSON + b"\r\n" + body


def only(front: Front) -> Any:
    """The front's side of the one connection."""
    (connection,) = front.server._state.connections
    return connection


async def sent(front: Front, *pieces: bytes) -> Reply:
    async with asyncio.timeout(SOON_S), front.connection() as connection:
        for piece in pieces:
            await connection.send(piece)
        return await connection.reply()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("size", [1_000, 100_000, 200_000, 1_000_000])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_hanging_up_stops_the_model_however_large_the_request_was(how: str, size: int, streamed: bool) -> None:
    model = Silent()
    body = json.dumps(HI | {"stream": streamed, "padding": "x" * size}).encode()
    async with asyncio.timeout(SOON_S), serve(model.chat) as front:
        async with front.connection() as connection:
            await connection.send(posted(body))
            await model.asked.wait()
            if how == "reset":
                connection.reset()
            else:
                connection.writer.close()
            await model.stopped.wait()
        await until(lambda: not front.places._live)


async def test_reading_goes_on_once_a_body_is_whole() -> None:
    model = Silent()
    async with asyncio.timeout(SOON_S), serve(model.chat) as front, front.connection() as connection:
        await connection.ask("POST", CHAT, b"", {"Content-Length": "200000"})
        await until(lambda: front.places._live)
        own = only(front)
        own.on_body(json.dumps(HI | {"padding": "x" * 199_000}).encode())  # in one piece, as a fast peer's may come
        assert own.flow.read_paused
        own.on_message_complete()
        assert not own.flow.read_paused
        await model.asked.wait()


@pytest.mark.parametrize(
    "trailers",
    [
        [b"".join(b"a%d: b\r\n" % number for number in range(20_000))],
        [b"a: "] + [b"x" * 65_536] * 20,
    ],
    ids=["many", "one without end"],
)
async def test_trailers_have_the_limit_of_headers(trailers: list[bytes]) -> None:
    async with serve() as front:
        reply = await sent(front, CHUNKED + JSON + b"\r\n" + BODY, *trailers)
        await until(lambda: not front.places._live)
    assert (reply.status, reply.error["code"]) == (431, "request_header_fields_too_large")


@pytest.mark.parametrize("trailer", [b"X-Request-Id: theirs\r\n", JSON, b"Host: evil\r\n"])
async def test_trailers_are_no_headers(trailer: bytes) -> None:
    head = CHUNKED if trailer == JSON else CHUNKED + JSON
    async with serve() as front:
        reply = await sent(front, head + b"\r\n" + BODY + trailer + b"\r\n")
    assert reply.status == (415 if trailer == JSON else 200)
    assert reply.headers["x-request-id"] != "theirs"


async def test_a_host_in_a_trailer_is_none() -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n".encode()
    async with serve() as front:
        reply = await sent(front, head + JSON + b"\r\n" + BODY + b"Host: localhost\r\n\r\n")
    assert reply.status != 200


async def answered_early(connection: Connection) -> None:
    """Get an answer to a request half of whose body is still to come."""
    await connection.send(posted(b"1234", "/v1/nope")[:-2])
    status, headers = await connection.head()
    await connection.reader.readexactly(int(headers["content-length"]))
    assert status == 404


async def test_what_waits_between_requests_is_off_once_the_next_one_has_begun() -> None:
    model = Silent()
    async with asyncio.timeout(SOON_S), serve(model.chat) as front, front.connection() as connection:
        await answered_early(connection)
        await connection.send(b"34" + posted(json.dumps(HI | {"stream": True}).encode()))
        await model.asked.wait()
        own = only(front)
        assert own.timeout_keep_alive_task is None
        assert own._watch is None


async def test_the_head_of_a_request_that_comes_with_the_rest_of_another_body_has_its_limit() -> None:
    async with asyncio.timeout(SOON_S), serve() as front, front.connection() as connection:
        await answered_early(connection)
        await connection.send(b"34GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Large: ")
        await connection.send(b"x" * 200_000)
        assert (await connection.reply()).status == 431


async def test_a_blank_line_between_two_requests_begins_none() -> None:
    async with asyncio.timeout(SOON_S), serve() as front, front.connection() as connection:
        await connection.ask("GET", "/v1/models")
        assert (await connection.reply()).status == 200
        own = only(front)
        heard_s = own._heard_s
        await connection.send(b"\r\n")
        await until(lambda: own._heard_s != heard_s)
        assert own._watch is None
        assert own.timeout_keep_alive_task is not None
        await connection.ask("GET", "/v1/models")
        assert (await connection.reply()).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST http://x/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_request_that_is_wrong_twice_is_refused_once(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with asyncio.timeout(SOON_S), serve() as front, front.connection() as connection:
        await connection.send(data)
        assert (await connection.reply()).status == 400
        connection.writer.write_eof()
        assert await connection.ended() == b""
    assert caplog.text == ""


async def test_a_body_that_comes_too_slowly_is_refused_though_it_never_stops() -> None:
    bounds = Bounds(body_s=0.05, body_idle_s=3600)
    async with asyncio.timeout(SOON_S), serve(settings=Settings(page=False, bounds=bounds)) as front:
        reply = await sent(front, posted(ASKED)[:-1])
        await until(lambda: not front.places._live)
    assert (reply.status, reply.error["code"]) == (408, "request_timeout")


async def test_the_more_of_a_body_came_the_longer_it_may_take() -> None:
    async with asyncio.timeout(SOON_S), serve() as front, front.connection() as connection:
        await connection.ask("POST", CHAT, b"", {"Content-Length": "2000000"})
        await until(lambda: front.places._live)
        own = only(front)
        before_s = own._body_due_s()
        await connection.send(b"x" * 1_000_000)
        await until(lambda: own._body_bytes == 1_000_000)
        assert own._body_due_s() == pytest.approx(before_s + 1_000_000 / Bounds().body_bytes_s)
