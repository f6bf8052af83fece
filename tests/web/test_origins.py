"""A browser's pages: which names the server answers to, and whose scripts may read what it says."""

from __future__ import annotations

import asyncio

import pytest

from stepwired.web.bounds import Bounds
from stepwired.web.server import Settings
from tests.rpc.serving import SOON_S, Silent, until
from tests.web.fronting import CHAT, HI, Reply, serve

POSTED = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nOrigin: ".encode()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:8080", "[::1]", "my.host:1"])
async def test_the_names_of_loopback_and_those_that_are_allowed_are_answered(host: str) -> None:
    async with serve(settings=Settings(page=False, allowed_hosts=["my.host"])) as front:
        assert (await front.ask("GET", "/v1/models", headers={"Host": host})).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/", "/stepwire.v1.ChatService/Chat", CHAT])
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "a/?", "localhost@evil", "127.0.0.1 ", "", "localhost:x"]
)
async def test_any_other_name_is_refused_whatever_is_asked(host: str, path: str) -> None:
    async def app(*_: object) -> None:
        raise AssertionError

    async with serve(beside={"/stepwire.v1.": app}) as front:
        reply = await front.ask(
            "POST", path, HI, headers={"Host": host.strip() if host != "127.0.0.1 " else "127.0.0.1."}
        )
        assert (reply.status, reply.error["code"]) == (421, "host_not_allowed")


async def test_no_name_and_two_names_are_refused() -> None:
    async with serve() as front:
        for head in (
            b"GET /v1/models HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        ):
            async with front.connection() as connection:
                await connection.send(head)
                reply = await connection.reply()
            assert (reply.status, reply.error["code"]) == (421, "host_not_allowed")


async def test_pages_that_are_allowed_may_read_answers_and_errors() -> None:
    async with serve(settings=Settings(page=False, allow_origins=["null", "http://localhost:3000"])) as front:
        for origin in ("null", "http://localhost:3000"):
            good = await front.ask("GET", "/v1/models", headers={"Origin": origin})
            bad = await front.ask("POST", CHAT, {}, headers={"Origin": origin})
            streamed = await front.ask("POST", CHAT, HI | {"stream": True}, headers={"Origin": origin})
            for reply in (good, bad, streamed):
                assert reply.headers["access-control-allow-origin"] == origin
                assert "Retry-After" in reply.headers["access-control-expose-headers"]
                assert "access-control-allow-credentials" not in reply.headers
                assert "Origin" in reply.headers["vary"]


REFUSED_EARLY = {
    431: b"X-Large: " + b"x" * 66_000,
    400: b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    408: b"Content-Length: 100\r\n\r\n{",
    413: b"Content-Length: 100000000\r\n\r\n{",
}


async def refused(origin: bytes, status: int) -> Reply:
    """What a page of an origin gets for a request that is refused before it is whole."""
    bounds = Bounds(body_idle_s=0.05) if status == 408 else Bounds()
    settings = Settings(page=False, allow_origins=["http://localhost:3000"], bounds=bounds)
    async with asyncio.timeout(SOON_S), serve(settings=settings) as front, front.connection() as connection:
        await connection.send(POSTED + origin + b"\r\n" + REFUSED_EARLY[status])
        reply = await connection.reply()
    assert reply.status == status
    assert reply.error
    assert reply.headers["vary"] == "Origin"
    return reply


@pytest.mark.parametrize("status", REFUSED_EARLY)
async def test_pages_that_are_allowed_may_read_why_no_whole_request_of_theirs_came(status: int) -> None:
    reply = await refused(b"http://localhost:3000", status)
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "X-Request-Id" in reply.headers["access-control-expose-headers"]


@pytest.mark.parametrize("status", REFUSED_EARLY)
async def test_other_pages_may_not_read_why_no_whole_request_of_theirs_came(status: int) -> None:
    reply = await refused(b"http://localhost:3001", status)
    assert not [name for name in reply.headers if name.startswith("access-control")]


async def test_a_page_is_told_that_there_is_no_room_for_its_connection() -> None:
    model = Silent()
    settings = Settings(page=False, allow_origins=["null"], bounds=Bounds(connections=1, linger_s=60))
    async with asyncio.timeout(SOON_S), serve(model.chat, settings=settings) as front, front.connection() as one:
        await one.ask("POST", CHAT, HI)
        await until(lambda: model.running == 1)
        for origin, allowed in (("null", "null"), ("http://evil.example", None)):
            reply = await front.ask("GET", "/v1/models", headers={"Origin": origin})
            assert (reply.status, reply.error["code"]) == (503, "too_many_connections")
            assert reply.headers.get("access-control-allow-origin") == allowed
            await until(lambda: len(front.server._state.connections) == 1)


async def test_a_page_that_is_allowed_is_told_of_a_host_that_is_not() -> None:
    async with serve(settings=Settings(page=False, allow_origins=["null"])) as front:
        reply = await front.ask("GET", "/v1/models", headers={"Origin": "null", "Host": "my.host"})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (421, "null")


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://localhost:3001", "http://localhost:8080"])
async def test_other_pages_are_told_nothing_that_lets_them_read(origin: str) -> None:
    async with serve(settings=Settings(page=False, allow_origins=["http://localhost:3000"])) as front:
        reply = await front.ask("GET", "/v1/models", headers={"Origin": origin})
        assert not [name for name in reply.headers if name.startswith("access-control")]
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        refused = await front.ask("OPTIONS", CHAT, headers=asked)
        assert (refused.status, refused.error["code"]) == (403, "origin_not_allowed")


async def test_a_page_may_ask_beforehand() -> None:
    headers = {
        "Origin": "null",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os,x-evil",
        "Access-Control-Request-Private-Network": "true",
    }
    async with serve(settings=Settings(page=False, allow_origins=["null"])) as front:
        for path in (CHAT, "/stepwire.v1.ChatService/StreamChat"):
            reply = await front.ask("OPTIONS", path, headers=headers)
            assert (reply.status, reply.body) == (204, b"")
            allowed = reply.headers["access-control-allow-headers"].split(", ")
            assert {"authorization", "content-type", "connect-protocol-version", "x-stainless-os"} <= set(allowed)
            assert "x-evil" not in allowed
            assert "POST" in reply.headers["access-control-allow-methods"]
            assert reply.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_what_a_page_can_send_without_asking_is_refused(kind: str | None) -> None:
    headers = {"Content-Length": "2"} | ({"Content-Type": kind} if kind else {})
    async with serve() as front, front.connection() as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await connection.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n{{}}".encode())
        reply = await connection.reply()
    assert (reply.status, reply.error["code"]) == (415, "unsupported_media_type")
