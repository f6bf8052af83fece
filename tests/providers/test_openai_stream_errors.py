"""What is no chunk of a streamed chat completion, and errors that come within one."""

from __future__ import annotations

import pytest

from stepwired.errors import Failure, Reason
from stepwired.events import Started, TextDelta
from stepwired.providers.wires.openai.stream import OpenAIDecoder as Decoder
from tests.fakeprov.behaviours import DONE, chunk, event
from tests.providers.decoding import ASKED, failure


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {\n\n",
        b"data: no json\n\n",
        b"data: 1\n\n",
        b'data: {"choices":[{"delta":{"content":1}}]}\n\n',
        b'data: {"choices":{}}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]\n\n',
        b"data: {\xff\n\n",
        b"data: \n\n",
        pytest.param(b'data: {"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n", id="100,000 deep"),
        pytest.param(b'data: {"x":"\\ud83d","y":' + b"[" * 100_000 + b"}\n\n", id="100,000 deep and repaired"),
        pytest.param(b'data: {"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}\n\n", id="5,000 digits"),
    ],
)
def test_what_is_no_chunk_is_no_part_of_the_protocol(bad: bytes) -> None:
    assert failure(bad).reason is Reason.PROVIDER_PROTOCOL_ERROR
    assert failure(chunk("a"), bad, DONE).reason is Reason.PROVIDER_PROTOCOL_ERROR


def test_what_came_before_an_error_in_the_same_read_is_delivered_first() -> None:
    decoder = Decoder(ASKED)
    events = decoder.feed(chunk("a") + event({"error": {"message": "busy", "type": "overloaded_error"}}) + chunk("b"))
    assert events == [Started("fake-1", "acme"), TextDelta("a")]
    assert decoder.is_done
    with pytest.raises(Failure) as failed:
        decoder.end()
    assert failed.value.reason is Reason.PROVIDER_OVERLOADED


def test_an_error_before_any_text_leaves_nothing_started() -> None:
    decoder = Decoder(ASKED)
    with pytest.raises(Failure):
        decoder.feed(chunk("", role="assistant") + event({"error": {"message": "busy"}}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (event({"error": {"type": "overloaded_error"}}), Reason.PROVIDER_OVERLOADED),
        (event({"error": {"code": 429, "message": "slow"}, "choices": []}), Reason.PROVIDER_RATE_LIMITED),
        (event({"error": "broken"}), Reason.PROVIDER_ERROR),
        (event({"type": "error", "error": {"type": "rate_limit_error"}}), Reason.PROVIDER_RATE_LIMITED),
        (event({"object": "error", "message": "bad", "code": 400}), Reason.PROVIDER_REJECTED_REQUEST),
        (b'event: error\ndata: {"message":"x","type":"overloaded_error"}\n\n', Reason.PROVIDER_OVERLOADED),
    ],
)
def test_errors_inside_the_stream_are_told_by_their_kind(data: bytes, reason: Reason) -> None:
    assert failure(data).reason is reason
    assert failure(chunk("a"), data).reason is reason
