"""The decoder of streamed chat completions: bytes in, events out; how a reply begins, ends and is counted."""

from __future__ import annotations

from typing import Any

import pytest

from stepwired.errors import Reason
from stepwired.events import FinishReason, Started, TextDelta, Usage, UsageSource
from stepwired.providers.wires.openai.stream import OpenAIDecoder as Decoder
from tests.fakeprov.behaviours import DONE, chunk, event, transcript, usage
from tests.providers.decoding import ASKED, decode, failure, finished, text


def test_a_reply_is_started_its_deltas_and_finished() -> None:
    events = decode(transcript(["Hel", "lo"]))
    assert events[:-1] == [Started("fake-1", "acme"), TextDelta("Hel"), TextDelta("lo")]
    last = finished(events)
    assert last.reason is FinishReason.STOP
    assert last.usage == Usage(UsageSource.PROVIDER, 3, 2)
    assert (last.model, last.provider) == ("fake-1", "acme")


def test_what_one_read_completes_is_one_batch() -> None:
    decoder = Decoder(ASKED)
    assert len(decoder.feed(transcript(["a"] * 50))) == 52
    assert decoder.is_done
    assert decoder.end() == []


@pytest.mark.parametrize(
    "done", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data:   [DONE]  \n\n", b"data: [DONE]\r\n\r\n"]
)
def test_done_may_have_spaces(done: bytes) -> None:
    assert finished(decode(chunk("a"), done)).reason is FinishReason.UNKNOWN


def test_what_comes_after_done_is_ignored() -> None:
    assert text(decode(chunk("a") + DONE + chunk("b") + b"data: no json\n\n")) == "a"


def test_an_end_without_done_is_whole_if_the_model_said_why_it_stopped() -> None:
    assert finished(decode(chunk("a"), chunk(finish="length"))).reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    "chunks", [[], [chunk("a")], [usage()], [b": hi\n\n"], [DONE], [chunk("a", finish="stop")[:-1]]]
)
def test_an_end_that_nothing_announced_is_a_truncation(chunks: list[bytes]) -> None:
    assert failure(*chunks).reason is Reason.PROVIDER_STREAM_TRUNCATED


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("tool_calls", FinishReason.TOOL_USE),
        ("eos", FinishReason.UNKNOWN),
    ],
)
def test_reasons_to_finish(said: str, reason: FinishReason) -> None:
    assert finished(decode(chunk("a"), chunk(finish=said), DONE)).reason is reason


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (
            {"prompt_tokens": -5, "completion_tokens": 10**30},
            Usage(UsageSource.PROVIDER, 0, 2**31 - 1, is_corrected=True),
        ),
        ({"prompt_tokens": 7.0, "completion_tokens": "9"}, Usage(UsageSource.PROVIDER, 7, None)),
        ({"prompt_tokens": True}, Usage(UsageSource.PROVIDER)),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 3},
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            Usage(UsageSource.PROVIDER, 1, 2, 3, 4),
        ),
        ({"prompt_tokens_details": [], "completion_tokens_details": 7}, Usage(UsageSource.PROVIDER)),
        ("many", Usage()),
    ],
)
def test_token_counts_are_kept_in_bounds(counts: Any, expected: Usage) -> None:
    assert finished(decode(chunk("a"), event({"choices": [], "usage": counts}), DONE)).usage == expected


def test_of_counts_that_come_with_each_chunk_the_last_hold() -> None:
    chunks = [event({"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": n}}) for n in (1, 2, 3)]
    assert finished(decode(*chunks, DONE)).usage.output_tokens == 3
