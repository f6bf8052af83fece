"""Reasoning between tags at a reply's start, as servers on one's own machine send it."""

from __future__ import annotations

import pytest

from stepwired.events import ChatOptions, Event, Finished, ReasoningDelta, TextDelta
from stepwired.models import _local_quirks
from stepwired.providers.refusing.refusals import Asked
from stepwired.providers.wires.openai.stream import OpenAIDecoder
from stepwired.providers.wires.quirks import VENDORS, Quirks
from tests.fakeprov.behaviours import DONE, chunk

QUIRKS = {
    "vllm": VENDORS["vllm"],
    "llamacpp": VENDORS["llamacpp"],
    "lmstudio": VENDORS["lmstudio"],
    "the local engine": _local_quirks(has_tools=True),
    "the local engine without tools": _local_quirks(has_tools=False),
}


def read(quirks: Quirks, *texts: str, options: ChatOptions | None = None) -> list[Event]:
    decoder = OpenAIDecoder(Asked("acme", "m"), None, options, quirks=quirks)
    chunks = [*map(chunk, texts), chunk(finish="stop"), DONE]
    return [event for each in chunks for event in decoder.feed(each)] + decoder.end()


@pytest.mark.parametrize("vendor", QUIRKS)
def test_what_a_model_thinks_between_tags_is_no_text_on_servers_that_leave_them_in(vendor: str) -> None:
    events = read(QUIRKS[vendor], "<thi", "nk>hm", "m</think>", "\n\nHel", "lo <think>")
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "hmm"
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Hello <think>"
    last = events[-1]
    assert isinstance(last, Finished)
    (message,) = last.messages
    assert message.text == "Hello <think>"
    assert message.reasoning is not None
    assert message.reasoning.text == "hmm"


@pytest.mark.parametrize(("begins", "slow"), [(["Hel"], 1), (["<think>", "hm", "</think>Hel"], 3), (["\n", "H"], 2)])
def test_once_there_is_text_each_token_takes_the_short_way(
    begins: list[str], slow: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0
    long_way = OpenAIDecoder._read_rest

    def spy(self: OpenAIDecoder, *given: object) -> None:
        nonlocal taken
        taken += 1
        long_way(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenAIDecoder, "_read_rest", spy)
    read(VENDORS["vllm"], *begins, *["a"] * 100)
    assert taken == slow + 1  # and the one that says why it ended


def test_with_probabilities_each_token_goes_on_taking_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = OpenAIDecoder(Asked("acme", "m"), None, ChatOptions(top_logprobs=0), quirks=VENDORS["vllm"])
    decoder.feed(chunk("a") + chunk("b"))
    assert decoder._is_slow


@pytest.mark.parametrize(("spaces", "is_thought"), [(0, True), (64, True), (65, False), (5000, False)])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_white_space_before_a_tag_is_held_back_as_far_as_it_is_short(spaces: int, is_thought: bool, size: int) -> None:
    said = " " * spaces + "<think>hm</think>Hello"
    pieces = [said[at : at + size] for at in range(0, len(said), size)]
    events = read(VENDORS["vllm"], *pieces)
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == ("hm" if is_thought else "")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == ("Hello" if is_thought else said)
    decoder = OpenAIDecoder(Asked("acme", "m"), quirks=VENDORS["vllm"])
    told = [len(decoder.feed(chunk(" "))) for _ in range(70)]
    assert told == [1, *[0] * 63, 1, *[1] * 5]  # it begins, holds 64 back, then tells them, and all others at once
