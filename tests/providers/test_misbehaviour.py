"""What becomes of each way in which a provider misbehaves, F01 to F39, on real sockets and on every wire."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from stepwired.errors import Reason
from stepwired.events import ChatRequest, Finished, FinishReason, Message
from stepwired.providers.base import Budget, Endpoint, ModelEntry, static
from stepwired.providers.catalogue.catalogue import Catalogue
from stepwired.providers.net.http import Http
from tests.fakeprov import Behaviour, Provider, behaviours
from tests.providers.conftest import KEY
from tests.providers.misbehaving import WIRES, Row, framed, talks
from tests.providers.misbehaviours import TABLE
from tests.providers.retrying import Seen, Time, read, time_left

TALKS = talks()
REQUEST = ChatRequest("m", messages=(Message(text="hi"),))
EACH = [(wire, row) for row in TABLE for wire in row.wires]
COUNT = re.compile(rb'("(?:completion_tokens|output_tokens|candidatesTokenCount|eval_count)": ?)\d+')
each_wire = pytest.mark.parametrize("wire", WIRES)


def catalogue(wire: str, http: Http, base_url: str, time: Time, **budget: float) -> Catalogue:
    endpoint = Endpoint("acme", static(base_url, KEY), wire=wire, budget=Budget(**budget))  # type: ignore[arg-type]
    return Catalogue([endpoint], [ModelEntry("m", "chat", "acme", "gpt-x")], http, retry=time.retry())


async def ask(wire: str, http: Http, provider: Provider, time: Time | None = None, **budget: float) -> Seen:
    return await read(catalogue(wire, http, provider.base_url, time or Time(), **budget).chat(REQUEST))


@pytest.mark.parametrize(("wire", "row"), EACH, ids=[f"{row.name} {wire}" for wire, row in EACH])
async def test_it_comes_to_what_it_has_to_and_leaves_nothing_behind(wire: str, row: Row, http: Http) -> None:
    talk, time = TALKS[wire], Time()
    async with Provider(row.behave(talk)) as provider:
        seen = await ask(wire, http, provider, time, **row.budget)
        if row.reason is None:
            assert seen.failure is None
            assert isinstance(seen.events[-1], Finished)
        else:
            assert seen.failure is not None
            assert (seen.failure.reason, seen.failure.metadata["provider"]) == (row.reason, "acme")
            assert KEY not in f"{seen.failure} {seen.failure.metadata} {seen.failure.violations}"
            assert not any(isinstance(event, Finished) for event in seen.events)
        wanted = {"": "", "begun": talk.begun_text, "whole": talk.text, "any": seen.text}
        assert seen.text == wanted[row.text]
        assert len(provider.requests) == row.asked
        assert len(time.waits) == row.asked - 1
        assert all(row.least_s <= wait_s <= row.most_s for wait_s in time.waits)
        # Nothing it does keeps it from being asked again, and well.
        provider.behaviour = talk.reply()
        assert (await ask(wire, http, provider)).text == talk.text


@each_wire
async def test_a_wait_beyond_the_deadline_fails_now(wire: str, http: Http) -> None:  # F05
    time = Time()
    async with Provider(TALKS[wire].refuse(429, {"retry-after": "11"}, "rate_limit_error")) as provider:
        with time_left(10.0):
            seen = await ask(wire, http, provider, time)
    assert (len(provider.requests), time.waits) == (1, [])
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.retry_after_s) == (Reason.PROVIDER_RATE_LIMITED, 11.0)


@each_wire
async def test_an_end_without_a_reason_is_an_end_where_it_is_marked(wire: str, http: Http) -> None:  # F18
    talk = TALKS[wire]
    marked = {"openai": behaviours.DONE, "anthropic": behaviours.event({"type": "message_stop"})}
    async with Provider(talk.stream(talk.begun + marked.get(wire, b""))) as provider:
        seen = await ask(wire, http, provider)
    if wire in marked:  # many local servers do
        last = seen.events[-1]
        assert isinstance(last, Finished)
        assert (last.reason, seen.text) == (FinishReason.UNKNOWN, talk.begun_text)
    else:
        assert seen.failure is not None
        assert seen.failure.reason is Reason.PROVIDER_STREAM_TRUNCATED


@pytest.mark.parametrize("wire", ["openai", "anthropic", "ollama"])  # with Gemini's nothing says that it is the end
async def test_a_connection_with_more_behind_the_end_is_not_used_again(wire: str, http: Http) -> None:  # F19
    talk = TALKS[wire]
    body = behaviours.silent(talk.chunked + framed(talk.good + talk.more))
    async with Provider(body) as provider:
        for _ in range(2):
            assert (await ask(wire, http, provider)).text == talk.text
        assert [connection.requests for connection in provider.connections] == [1, 1]


@each_wire
@pytest.mark.parametrize("half", [b"\xe2\x82", b"\\ud83d"], ids=["bytes", "a surrogate"])
async def test_half_a_character_is_replaced_and_the_reply_goes_on(wire: str, half: bytes, http: Http) -> None:  # F21
    talk = TALKS[wire]
    body = talk.good.replace(b'"Hel', b'"H' + half + b"el", 1)
    assert body != talk.good
    async with Provider(talk.stream(body)) as provider:
        seen = await ask(wire, http, provider)
    assert seen.failure is None
    assert seen.text == talk.text.replace("H", "H\ufffd", 1)


@each_wire
async def test_a_line_without_end_is_given_up_after_a_mebibyte(wire: str, http: Http) -> None:  # F23
    async with Provider(behaviours.endless(b"x" * 65536)) as provider:
        seen = await ask(wire, http, provider)
        await provider.closed()
    assert seen.failure is not None
    assert seen.failure.reason in {Reason.PROVIDER_RESPONSE_TOO_LARGE, Reason.PROVIDER_PROTOCOL_ERROR}
    assert provider.connections[0].sent_bytes < 8 * 1024 * 1024  # what buffers hold, and no more


@each_wire
async def test_a_redirect_is_not_followed_and_the_key_not_sent(wire: str, http: Http) -> None:  # F29
    async with Provider(TALKS[wire].reply()) as elsewhere:
        for status in (301, 302, 303, 307, 308):
            async with Provider(behaviours.status(status, {"location": elsewhere.base_url})) as provider:
                seen = await ask(wire, http, provider)
            assert seen.failure is not None
            assert seen.failure.reason is Reason.PROVIDER_REDIRECT_REFUSED
        assert not elsewhere.connections


@each_wire
@pytest.mark.parametrize("count", [b"-5", b"99999999999999999999", b"1e300"])
async def test_counts_that_cannot_be_are_clamped_and_flagged(wire: str, count: bytes, http: Http) -> None:  # F38
    talk = TALKS[wire]
    body = COUNT.sub(rb"\g<1>" + count, talk.good)
    assert body != talk.good
    async with Provider(talk.stream(body)) as provider:
        seen = await ask(wire, http, provider)
    last = seen.events[-1]
    assert isinstance(last, Finished)
    assert last.usage.is_corrected
    assert last.usage.output_tokens is not None
    assert 0 <= last.usage.output_tokens < 2**31


@each_wire
async def test_a_count_of_5000_digits_is_no_count(wire: str, http: Http) -> None:  # F31
    talk = TALKS[wire]
    async with Provider(talk.stream(COUNT.sub(rb"\g<1>" + b"9" * 5000, talk.good))) as provider:
        seen = await ask(wire, http, provider)
    if seen.failure is not None:
        assert seen.failure.reason is Reason.PROVIDER_PROTOCOL_ERROR
    else:
        last = seen.events[-1]
        assert isinstance(last, Finished)
        assert last.usage.output_tokens is None


@each_wire
async def test_a_key_that_an_error_echoes_is_neither_passed_on_nor_logged(
    wire: str, http: Http, caplog: pytest.LogCaptureFixture
) -> None:  # F39
    caplog.set_level(logging.DEBUG)
    talk = TALKS[wire]
    echoes: list[Behaviour] = [
        behaviours.status(400, {"x-echo": KEY}, talk.error(KEY, f"Incorrect API key provided: {KEY}")),
        behaviours.status(500, {"x-echo": KEY}, f"<html>{KEY}".encode()),
        talk.stream(talk.begun + talk.event(talk.error(KEY, f"wrong: {KEY}"))),
    ]
    for echo in echoes:
        async with Provider(echo) as provider:
            seen = await ask(wire, http, provider)
        failure = seen.failure
        assert failure is not None
        assert KEY not in f"{failure} {failure.metadata} {failure.violations} {failure.subject}"
    assert KEY not in caplog.text


def test_each_misbehaviour_of_the_page_has_a_test() -> None:
    rows = {row.name.split()[0] for row in TABLE}
    elsewhere = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"(?m)^.*# (F\d\d)", path.read_text())
    }
    assert rows | elsewhere >= {f"F{number:02}" for number in range(1, 40)}
