"""How a request ends that does not end by itself: by its caller, by a failure, by the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Receive, Scope, Send

from stepwired.errors import Failure, InvalidRequest, Reason, Throttled, Unavailable
from stepwired.events import Batch, ChatRequest, Embeddings, EmbedRequest, TextDelta
from stepwired.limits import Limits
from stepwired.web.bounds import Bounds
from stepwired.web.server import Settings
from tests.rpc.serving import SOON_S, STARTED, Silent, finished, until
from tests.web.fronting import CHAT, HI, serve

SECRET = "what a caller said"


@pytest.mark.parametrize("begins", [False, True], ids=["before the first token", "after it"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_caller_who_hangs_up_stops_the_model(begins: bool, streamed: bool, how: str) -> None:
    model = Silent(begins=begins)
    async with asyncio.timeout(SOON_S), serve(model.chat) as front:
        async with front.connection() as connection:
            await connection.ask("POST", CHAT, HI | {"stream": streamed})
            await model.asked.wait()
            if begins and streamed:
                await connection.head()
                await connection.chunk()
            if how == "reset":
                connection.reset()
            else:
                connection.writer.close()
            await model.stopped.wait()
        await until(lambda: not front.places._live)
        assert front.places._taken == 0
        await until(lambda: front.metrics.calls)
        assert [(call[0], call[1]) for call in front.metrics.calls] == [(f"POST {CHAT}", "CANCELLED")]


async def test_a_caller_who_hangs_up_in_the_middle_of_its_request_leaves_nothing() -> None:
    async with asyncio.timeout(SOON_S), serve() as front:
        async with front.connection() as connection:
            await connection.ask("POST", CHAT, b'{"mess', {"Content-Length": "1000"})
            await until(lambda: front.places._live)
        await until(lambda: not front.places._live)


async def failing(failure: Failure) -> AsyncGenerator[Batch, None]:
    yield [STARTED]
    raise failure


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failure_before_the_first_token_is_a_status(streamed: bool) -> None:
    failure = Throttled(Reason.PROVIDER_RATE_LIMITED, "rate limit of the provider", retry_after_s=1.2)
    async with serve(lambda _: failing(failure)) as front:
        reply = await front.chat(stream=streamed)
    assert reply.status == 429
    assert reply.error["code"] == "rate_limit_exceeded"
    assert (reply.headers["retry-after"], reply.headers["x-should-retry"]) == ("2", "true")


@pytest.mark.parametrize("kind", ["failure", "crash", "its own cancellation", "no end"])
async def test_a_failure_after_the_first_token_is_an_event_and_no_end(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta("half of ")]
        if kind == "failure":
            raise Unavailable(Reason.PROVIDER_STREAM_TRUNCATED, "cut off")
        if kind == "crash":
            raise RuntimeError(SECRET)
        if kind == "its own cancellation":
            raise asyncio.CancelledError

    async with serve(chat) as front:
        reply = await front.chat(stream=True)
    *_, last = reply.events
    codes = {
        "failure": "provider_stream_truncated",
        "crash": "internal",
        "its own cancellation": "internal_cancelled",
        "no end": "internal",
    }
    assert reply.status == 200
    assert reply.text == "half of "
    assert "[DONE]" not in reply.events
    assert last["error"]["code"] == codes[kind]
    assert last["error"]["request_id"] == reply.headers["x-request-id"]
    assert not reply.is_whole  # those who pass over the event find that the reply has no end
    assert SECRET not in caplog.text + reply.body.decode()


async def test_an_exception_that_nobody_foresaw_is_answered_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        raise RuntimeError(SECRET)
        yield []

    async with serve(chat) as front:
        reply = await front.chat()
    assert (reply.status, reply.error["code"]) == (500, "internal")
    assert reply.headers["x-request-id"] in reply.error["message"]
    assert SECRET not in reply.body.decode() + caplog.text
    assert reply.headers["x-request-id"] in caplog.text


async def test_more_calls_than_there_are_places_are_refused_at_once() -> None:
    model = Silent()
    async with asyncio.timeout(SOON_S), serve(model.chat, limits=Limits(max_calls=1)) as front:
        async with front.connection() as connection:
            await connection.ask("POST", CHAT, HI)
            await model.asked.wait()
            refused = await front.chat()
            assert (await front.ask("GET", "/v1/models")).status == 200
        await model.stopped.wait()
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "1"


async def test_draining_refuses_new_requests_and_lets_those_that_run_finish() -> None:
    release = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        yield [STARTED, TextDelta("a")]
        await release.wait()
        yield [TextDelta("b"), finished("ab")]

    async with asyncio.timeout(SOON_S), serve(chat) as front, front.connection() as connection:
        await connection.ask("POST", CHAT, HI | {"stream": True})
        status, _ = await connection.head()
        front.beside.is_draining = True
        draining = asyncio.create_task(front.places.drain(SOON_S))
        await until(lambda: front.places._draining)
        refused, health = await front.chat(), await front.ask("GET", "/healthz")
        release.set()
        chunks = []
        while chunk := await connection.chunk():
            chunks.append(chunk)
        await draining
    assert status == 200
    assert chunks[-1] == b"data: [DONE]\n\n"
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "server_draining", "1")
    assert (health.status, health.error["code"]) == (503, "server_draining")
    assert (health.headers["retry-after"], health.headers["x-should-retry"]) == ("1", "true")


@pytest.mark.parametrize("begins", [False, True])
async def test_what_outlasts_the_grace_is_told_so(begins: bool) -> None:
    model = Silent(begins=begins)
    async with asyncio.timeout(SOON_S), serve(model.chat) as front, front.connection() as connection:
        await connection.ask("POST", CHAT, HI | {"stream": True})
        await model.asked.wait()
        if begins:
            await until(lambda: any(getattr(live, "has_started", False) for live in front.places._live))
        await front.places.drain(0)
        assert model.stopped.is_set()
        reply = await connection.reply()
    if begins:
        assert reply.events[-1]["error"]["code"] == "server_draining"
        assert not reply.is_whole
    else:
        assert (reply.status, reply.error["code"]) == (503, "server_draining")


async def test_a_hang_up_interrupts_no_cleaning_up_that_the_server_has_begun() -> None:
    asked, ending, go_on, cleaned = (asyncio.Event() for _ in range(4))

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        try:
            asked.set()
            await asyncio.Event().wait()
        finally:
            ending.set()
            await go_on.wait()
            cleaned.set()
        yield []

    async with asyncio.timeout(SOON_S), serve(chat) as front:
        async with front.connection() as connection:
            await connection.ask("POST", CHAT, HI)
            await asked.wait()
            draining = asyncio.create_task(front.places.drain(0))
            await ending.wait()
            connection.reset()
            await until(lambda: not front.server._state.connections)
        go_on.set()
        await draining
        await until(lambda: front.metrics.calls)
        assert cleaned.is_set()
    assert [(call[1], call[2]) for call in front.metrics.calls] == [("503", "SERVER_DRAINING")]


async def test_a_reader_that_does_not_read_holds_up_the_model_and_is_cut_off_at_last() -> None:
    made = 0
    stopped = asyncio.Event()

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        nonlocal made
        yield [STARTED]
        try:
            while True:
                made += 60_000
                yield [TextDelta("x" * 60_000)]
        finally:
            stopped.set()

    bounds = Bounds(stalled_s=0.2)
    async with asyncio.timeout(60), serve(chat, settings=Settings(page=False, bounds=bounds)) as front:
        async with front.connection() as connection:
            connection.pause()
            await connection.ask("POST", CHAT, HI | {"stream": True})
            await stopped.wait()
        await until(lambda: front.metrics.calls)
        assert [(call[1], call[2]) for call in front.metrics.calls] == [("408", "SLOW_CONSUMER")]
    assert made < 16_000_000


async def test_embedding_is_stopped_as_well() -> None:
    asked, stopped = asyncio.Event(), asyncio.Event()

    async def embed(_: EmbedRequest) -> Embeddings:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    async with asyncio.timeout(SOON_S), serve(embed=embed) as front:
        async with front.connection() as connection:
            await connection.ask("POST", "/v1/embeddings", {"input": "cat"})
            await asked.wait()
        await stopped.wait()


async def test_requests_and_callers_keep_their_own_ids_and_keys(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[ChatRequest] = []

    async def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        asked.append(request)
        raise InvalidRequest(Reason.PROVIDER_REJECTED_REQUEST, "no")
        yield []

    headers = {"X-Request-Id": 'my "own"', "X-Provider-Key": "sk-mine", "Authorization": "Bearer sk-ignored-altogether"}
    async with serve(chat) as front:
        mine = await front.ask("POST", CHAT, HI, headers)
        made = await front.ask("POST", CHAT, HI, {"X-Request-Id": "x" * 37})
        wrong = await front.ask("POST", CHAT, HI, {"X-Provider-Key": "é"})
    assert mine.headers["x-request-id"] == mine.error["request_id"] == 'my "own"'
    assert len(made.error["request_id"]) == 36
    assert [request.caller_key for request in asked] == ["sk-mine", ""]
    assert (wrong.status, wrong.error["code"]) == (401, "invalid_api_key")
    assert "sk-ignored" not in caplog.text + repr(asked)


async def test_what_fails_beside_after_it_began_is_cut_and_nothing_of_it_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError(SECRET)

    async with serve(beside={"/beside": app}) as front:
        reply = await front.ask("GET", "/beside/it")
    assert (reply.status, reply.body, reply.is_whole) == (200, b"half", False)
    assert SECRET not in caplog.text
    assert "RuntimeError" in caplog.text


async def test_what_is_beside_speaks_no_older_http() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError

    async with asyncio.timeout(SOON_S), serve(beside={"/beside": app}) as front, front.connection() as connection:
        await connection.send(b"GET /beside/it HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert (await connection.ended()).startswith(b"HTTP/1.1 505")
