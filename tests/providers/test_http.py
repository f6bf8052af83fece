"""Sockets: closed when their reader leaves, used again when it read to the end, and never lost."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from stepwired.errors import Failure, Misconfigured, Reason
from stepwired.events import EmbedRequest, Finished, FinishReason
from stepwired.providers.base import Budget, Endpoint, static
from stepwired.providers.net import reply as reading
from stepwired.providers.net.http import Http
from stepwired.providers.wires.openai.wire import OpenAI
from tests.fakeprov import Behaviour, Exchange, Provider, behaviours
from tests.fakeprov.behaviours import DONE, STREAM, chunk, transcript, usage
from tests.providers.conftest import REQUEST, Clock, Outcome, Wire, ask

TLS = Path(__file__).parent / "tls"


async def read_one_batch_and(wire: OpenAI, then: Callable[[AsyncGenerator[Any, None]], Awaitable[None]]) -> None:
    async with aclosing(wire.chat(REQUEST)) as batches:
        await anext(batches)
        await then(batches)


async def cancelled(work: Awaitable[Any], when: asyncio.Event) -> None:
    """Cancel it in a task of its own, once `when` is set."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(30):
        await when.wait()
    await behaviours.turns()  # let what was sent arrive
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


STATES: dict[str, Behaviour] = {
    "before the head": behaviours.silent(),
    "within the head": behaviours.silent(b"HTTP/1.1 200 OK\r\ncontent-"),
    "after the head": behaviours.silent(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
    "in the middle, while it is silent": behaviours.stalled(),
    "in the middle, while it sends": behaviours.endless(chunk("a"), 0.001),
    "in the middle, flooded": behaviours.flood(10_000_000),
    "within an error's body": behaviours.silent(b"HTTP/1.1 500 No\r\ncontent-length: 999\r\n\r\n{"),
}


@pytest.mark.parametrize("state", STATES)
async def test_a_cancelled_chat_closes_its_socket_at_once(wire: Wire, state: str) -> None:
    async with Provider(STATES[state]) as provider:
        await cancelled(ask(wire(provider.base_url)), provider.asked)
        await provider.closed()


@pytest.mark.parametrize("state", ["before the head", "after the head", "within an error's body"])
async def test_a_cancelled_embedding_closes_its_socket_at_once(wire: Wire, state: str) -> None:
    async with Provider(STATES[state]) as provider:
        await cancelled(wire(provider.base_url).embed(EmbedRequest(("a",), "m")), provider.asked)
        await provider.closed()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to see what is open")
async def test_a_peer_that_reads_nothing_does_not_keep_a_socket_open(http: Http) -> None:
    accepted = asyncio.Event()

    async def take(exchange: Exchange) -> None:
        exchange.stop_reading()
        accepted.set()
        await asyncio.Event().wait()

    body = b"x" * (16 * 1024 * 1024)
    async with Provider(take, is_reading=False) as provider:

        async def post() -> None:
            async with http.post("acme", provider.base_url, body, headers={}, budget=Budget()):
                raise AssertionError("there is no answer")

        before = sockets()
        await cancelled(post(), accepted)
        await behaviours.turns()
        assert sockets() == before + 1  # the provider's end of it: the peer cannot tell, as it does not read


def sockets() -> int:
    """How many this process has open."""
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(str(link).startswith("socket:") for link in links)


@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1, 5_000_000])
async def test_a_large_request_arrives_whole_over_a_kept_and_a_dead_connection_too(http: Http, size: int) -> None:
    async def behave(exchange: Exchange) -> None:
        if exchange.number == 2:
            exchange.reset()  # a kept connection, which turns out dead
        else:
            await behaviours.status(200)(exchange)

    body = random.Random(7).randbytes(size)
    async with Provider(behave) as provider:
        for _ in range(3):
            async with http.post("acme", provider.base_url, body, headers={}, budget=Budget()) as reply:
                assert await reply.read_all() == b"{}"
    assert [request.body == body for request in provider.requests] == [True] * 4
    assert {request.headers["content-length"] for request in provider.requests} == {str(size)}
    assert not any("transfer-encoding" in request.headers for request in provider.requests)


async def test_leaving_a_reply_early_closes_its_socket_at_once(wire: Wire) -> None:
    async with Provider(behaviours.stalled()) as provider:

        async def leave(_: object) -> None:
            return

        await read_one_batch_and(wire(provider.base_url), leave)
        await provider.closed()


async def test_a_cancel_at_every_offset_of_a_reply_leaves_nothing_and_the_next_is_whole(wire: Wire) -> None:
    body = transcript(["Hel"])
    for at in range(0, len(body), 7):
        async with Provider(behaviours.paused(body, at, asyncio.Event())) as provider:
            task = asyncio.create_task(ask(wire(provider.base_url)))
            await provider.asked.wait()
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await provider.closed()
            provider.behaviour = behaviours.reply()
            assert (await ask(wire(provider.base_url))).text == "Hello"


async def test_thousands_of_cancels_leave_every_later_request_answered_and_no_socket_open(wire: Wire) -> None:
    async def mixed(exchange: Exchange) -> None:
        kind = exchange.number % 4
        if kind == 0:
            await behaviours.silent()(exchange)
        elif kind == 1:
            await behaviours.stalled()(exchange)
        elif kind == 2:
            await behaviours.endless(chunk("a"), 0.001)(exchange)
        else:
            await behaviours.reply()(exchange)

    dice = random.Random(7)
    async with Provider(mixed) as provider:
        openai = wire(provider.base_url)
        cancels = 0

        async def churn() -> None:
            nonlocal cancels
            while cancels < 5000:
                task = asyncio.create_task(ask(openai))
                await behaviours.turns(dice.randrange(100))  # from before it connects to the middle of a reply
                if task.cancel():
                    cancels += 1
                with suppress(asyncio.CancelledError):
                    await task

        await asyncio.gather(*(churn() for _ in range(20)))
        provider.behaviour = behaviours.reply()
        good = [await ask(openai) for _ in range(100)]
        good += await asyncio.gather(*(ask(openai) for _ in range(200)))
        assert [outcome.text for outcome in good] == ["Hello"] * 300
        assert provider.live <= 200  # as many as were needed at once at the end


async def test_a_finished_reply_leaves_its_connection_for_the_next(wire: Wire) -> None:
    async with Provider(behaviours.reply()) as provider:
        for _ in range(5):
            await ask(wire(provider.base_url))
        provider.behaviour = behaviours.embeddings()
        await wire(provider.base_url).embed(EmbedRequest(("a",), "m"))
        provider.behaviour = behaviours.status(429)
        await ask(wire(provider.base_url))
    assert [connection.requests for connection in provider.connections] == [7]


async def test_a_body_that_ends_a_moment_after_done_leaves_its_connection_too(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LINGER_S", 5.0)

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(transcript(["a"]))
        await behaviours.turns()
        await exchange.end()

    async with Provider(behave) as provider:
        for _ in range(3):
            await ask(wire(provider.base_url))
    assert len(provider.connections) == 1


@pytest.mark.parametrize("more", [b"", chunk("more")])
async def test_a_body_that_does_not_end_after_done_costs_a_moment_and_its_connection(wire: Wire, more: bytes) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(transcript(["a"]))
        if more:
            await exchange.chunk(more)
        await exchange.gone()

    async with Provider(behave) as provider:
        outcome = await ask(wire(provider.base_url))
        assert isinstance(outcome.events[-1], Finished)
        await provider.closed()


async def test_a_body_that_goes_silent_between_its_reason_and_done_costs_a_moment(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_REST_S", 0.1)
    after = chunk(finish="stop") + usage()
    async with Provider(behaviours.stalled(after=after)) as provider:
        outcome = await asyncio.wait_for(ask(wire(provider.base_url, idle_s=600.0)), 30)
        await provider.closed()
        last = outcome.events[-1]
        assert isinstance(last, Finished)
        assert (outcome.text, last.reason, last.usage.input_tokens) == ("Hello", FinishReason.STOP, 3)


async def test_pings_after_the_reason_do_not_draw_a_reply_out(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("Hello") + chunk(finish="stop"))
        while True:
            await exchange.chunk(b": ping\n\n")
            await behaviours.turns()

    monkeypatch.setattr(reading, "_REST_S", 0.1)
    async with Provider(behave) as provider:
        outcome = await asyncio.wait_for(ask(wire(provider.base_url, idle_s=600.0)), 30)
        assert isinstance(outcome.events[-1], Finished)


async def test_the_last_event_does_not_wait_for_the_bodys_end(wire: Wire) -> None:
    async with Provider(behaviours.stalled(after=DONE)) as provider:
        async with aclosing(wire(provider.base_url).chat(REQUEST)) as batches:
            assert isinstance((await anext(batches))[-1], Finished)
        await provider.closed()


@pytest.mark.parametrize("with_reset", [False, True])
async def test_a_kept_connection_that_turns_out_dead_is_replaced_unnoticed(wire: Wire, with_reset: bool) -> None:  # F36
    async def close_the_second(exchange: Exchange) -> None:
        if exchange.connection.requests > 1:
            await behaviours.hang_up(with_reset=with_reset)(exchange)
        else:
            await behaviours.reply()(exchange)

    async with Provider(close_the_second) as provider:
        for _ in range(3):
            outcome = await ask(wire(provider.base_url))
            assert (outcome.text, outcome.failure) == ("Hello", None)
    assert [connection.requests for connection in provider.connections] == [2, 2, 1]


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(wire: Wire) -> None:
    async def reply_and_close(exchange: Exchange) -> None:
        await behaviours.reply()(exchange)
        exchange.finish()

    async with Provider(reply_and_close) as provider:
        for count in range(1, 4):
            assert (await ask(wire(provider.base_url))).text == "Hello"
            await provider.closed(count)
            await behaviours.turns()
    assert [connection.requests for connection in provider.connections] == [1, 1, 1]


async def test_a_new_connection_that_breaks_is_not_tried_again(wire: Wire) -> None:
    async with Provider(behaviours.hang_up()) as provider:
        outcome = await ask(wire(provider.base_url))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_UNREACHABLE
    assert len(provider.connections) == 1


async def test_more_than_a_hundred_replies_stream_side_by_side(wire: Wire) -> None:
    everybody = asyncio.Event()

    async def behave(exchange: Exchange) -> None:
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("Hel"))
        if exchange.number == 299:
            everybody.set()
        await everybody.wait()
        await exchange.chunk(chunk("lo") + DONE)
        await exchange.end()

    async with Provider(behave) as provider:
        openai = wire(provider.base_url)
        outcomes = await asyncio.gather(*(ask(openai) for _ in range(300)))
    assert {outcome.text for outcome in outcomes} == {"Hello"}


async def test_cookies_of_one_caller_do_not_reach_the_next(wire: Wire) -> None:
    async with Provider(behaviours.stream(transcript(["a"]), {"set-cookie": "who=alice; path=/"})) as provider:
        for _ in range(2):
            assert (await ask(wire(provider.base_url))).failure is None
    assert "cookie" not in provider.requests[1].headers


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Provider(behaviours.status(502)) as proxy, Provider(behaviours.reply()) as provider:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base_url.removesuffix("/v1"))
        http = Http()
        wire = OpenAI(Endpoint("acme", static(provider.base_url)), http)
        assert (await ask(wire)).text == "Hello"
        await http.aclose()
    assert not proxy.connections


@pytest.mark.parametrize(
    ("timing", "behaviour", "phase", "reason"),
    [
        ({"first_byte_s": 0.1}, behaviours.silent(), "first_byte", Reason.PROVIDER_TIMEOUT),
        ({"total_s": 1.0}, behaviours.endless(chunk("a"), 0.01), "total", Reason.PROVIDER_TIMEOUT),
        ({"idle_s": 1.0}, behaviours.stalled(), None, Reason.PROVIDER_STREAM_STALLED),
    ],
)
async def test_each_kind_of_waiting_has_its_end_and_its_failure(
    wire: Wire, timing: dict[str, float], behaviour: Behaviour, phase: str | None, reason: Reason
) -> None:
    async with Provider(behaviour) as provider:
        outcome = await ask(wire(provider.base_url, **timing))
        await provider.closed()
    assert outcome.failure is not None
    assert (outcome.failure.reason, outcome.failure.metadata.get("phase")) == (reason, phase)
    assert outcome.failure.metadata["timeoutMs"] == str(round(next(iter(timing.values())) * 1000))


async def test_a_reply_whose_time_is_up_is_closed_though_nobody_reads_it(wire: Wire, clock: Clock) -> None:
    exchanges: asyncio.Queue[Exchange] = asyncio.Queue()
    async with Provider(handing_over(exchanges)) as provider:
        batches = wire(provider.base_url).chat(REQUEST)
        first = asyncio.ensure_future(anext(batches))
        exchange = await exchanges.get()
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("a"))
        await first
        await exchange.chunk(chunk("b"))
        await behaviours.turns()
        await clock.pass_by(Budget().total_s + 1)
        await provider.closed()
        await anext(batches)  # what had arrived
        with pytest.raises(Failure) as failed:
            await anext(batches)
    assert failed.value.metadata["phase"] == "total"


def handing_over(exchanges: asyncio.Queue[Exchange]) -> Behaviour:
    """The test itself answers."""

    async def behave(exchange: Exchange) -> None:
        exchanges.put_nowait(exchange)
        await exchange.gone()

    return behave


async def said_slowly(wire: Wire, clock: Clock, piece: bytes) -> Outcome:
    """What becomes of a reply with 40 s before each of its pieces, where 60 s of silence are too many."""
    exchanges: asyncio.Queue[Exchange] = asyncio.Queue()
    async with Provider(handing_over(exchanges)) as provider:
        task = asyncio.create_task(ask(wire(provider.base_url)))
        exchange = await exchanges.get()
        await exchange.head(200, STREAM)
        await exchange.chunk(chunk("", role="assistant"))
        await behaviours.turns()
        for data in (piece, piece, piece, chunk(finish="length") + DONE):
            await clock.pass_by(40.0)
            if exchange.connection.closed.is_set():
                break
            await exchange.chunk(data)
            await behaviours.turns()
        return await asyncio.wait_for(task, 30)


def tool_call(**function: str) -> bytes:
    return chunk(tool_calls=[{"index": 0, "function": function}])


SAID = [
    pytest.param(chunk("a"), id="text"),
    pytest.param(chunk(reasoning="a"), id="reasoning"),
    pytest.param(tool_call(name="f", arguments=" "), id="tool calls"),
]
UNSAID = [
    pytest.param(b": ping\n\n", id="comments"),
    pytest.param(b"\n", id="blank lines"),
    pytest.param(b"event: ping\ndata: {}\n\n", id="events of another name"),
    pytest.param(chunk(""), id="chunks without text"),
    pytest.param(tool_call(arguments=""), id="tool calls without content"),
]


@pytest.mark.parametrize("piece", SAID)
async def test_what_goes_on_is_no_silence(wire: Wire, clock: Clock, piece: bytes) -> None:
    outcome = await said_slowly(wire, clock, piece)
    assert outcome.failure is None


@pytest.mark.parametrize("piece", UNSAID)
async def test_what_says_nothing_leaves_a_silence_what_it_is(wire: Wire, clock: Clock, piece: bytes) -> None:  # F14
    outcome = await said_slowly(wire, clock, piece)
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_STREAM_STALLED


async def test_a_refused_connection_is_told_as_such(wire: Wire) -> None:  # F11
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        outcome = await ask(wire(f"http://127.0.0.1:{reserved.getsockname()[1]}/v1"))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_UNREACHABLE
    assert "refused" in str(outcome.failure)


async def test_a_host_that_takes_no_connection_is_given_up(wire: Wire) -> None:  # F11
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, two):  # the kernel keeps one more than it is told, and drops what comes then
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        outcome = await ask(wire(f"http://127.0.0.1:{full.getsockname()[1]}/v1", connect_s=0.2))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_TIMEOUT
    assert outcome.failure.metadata == {"provider": "acme", "phase": "connect", "timeoutMs": "200"}


async def test_a_host_without_address_is_told_as_such(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:  # F34
    def no_such_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    outcome = await ask(wire("http://no-such-host.invalid/v1"))
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_UNREACHABLE


@pytest.mark.parametrize(
    "base_url", ["ftp://127.0.0.1/v1", "127.0.0.1/v1", "http://", "http://[::1/v1", "http://a\nb/"]
)
async def test_an_address_that_is_none_is_the_operators_to_correct(wire: Wire, base_url: str) -> None:
    outcome = await ask(wire(base_url))
    assert isinstance(outcome.failure, Misconfigured)


@pytest.mark.parametrize("key", ["new\nline", "schlüssel", "\x00"])
async def test_a_key_that_no_header_can_hold_is_the_operators_to_correct(http: Http, key: str) -> None:
    async with Provider(behaviours.reply()) as provider:
        outcome = await ask(OpenAI(Endpoint("acme", static(provider.base_url, key)), http))
    assert isinstance(outcome.failure, Misconfigured)
    assert key not in str(outcome.failure)


def server(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / f"{name}.pem")
    return context


def trusting(name: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=TLS / f"{name}.pem")


@pytest.mark.parametrize(
    ("name", "trusted"), [("expired", "expired"), ("elsewhere", "elsewhere"), ("valid", "expired")]
)
async def test_a_certificate_that_does_not_hold_is_refused(name: str, trusted: str) -> None:  # F33
    http = Http(trusting(trusted))
    async with Provider(behaviours.reply(), tls=server(name)) as provider:
        outcome = await ask(OpenAI(Endpoint("acme", static(provider.base_url)), http))
        await http.aclose()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_TLS_INVALID
    assert not provider.requests


async def test_a_server_without_tls_is_no_server_with_tls() -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 This is HTTP\r\n\r\n")
        writer.close()

    http = Http(trusting("valid"))
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as plain:
        url = f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}/v1"
        outcome = await ask(OpenAI(Endpoint("acme", static(url)), http))
        await http.aclose()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.PROVIDER_TLS_INVALID


async def test_tls_streams_keeps_its_connection_and_closes_at_once_too() -> None:
    http = Http(trusting("valid"))
    async with Provider(behaviours.reply(), tls=server("valid")) as provider:
        wire = OpenAI(Endpoint("acme", static(provider.base_url)), http)
        for _ in range(2):
            assert (await ask(wire)).text == "Hello"
        assert len(provider.connections) == 1
        provider.behaviour = behaviours.stalled()
        provider.asked.clear()
        await cancelled(ask(wire), provider.asked)
        await provider.closed()
        await http.aclose()
