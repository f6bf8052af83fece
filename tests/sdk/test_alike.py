"""What the page says of a conversation that is kept here and of one that the server keeps: the same refusals."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from stepwire import Client, Conversation, errors

WRONG: dict[str, Callable[[Conversation], Any]] = {
    "a role that is none": lambda talk: talk.add_message("robot", "x"),
    "nothing said": lambda talk: talk.add_message("user", ""),
    "a text with NUL": lambda talk: talk.add_message("user", "a\0b"),
    "an id with a space": lambda talk: talk.add_message("user", "x", message_id="z z"),
    "a parent with a space": lambda talk: talk.add_message("user", "x", parent_id="z z"),
    "a parent that is not there": lambda talk: talk.add_message("user", "x", parent_id="nope"),
    "metadata with NUL": lambda talk: talk.add_message("user", "x", metadata={"a": "\0"}),
    "a use without an id": lambda talk: talk.add_tool_use("", "look", {}),
    "a use without a name": lambda talk: talk.add_tool_use("t", "", {}),
    "a use with NUL in its name": lambda talk: talk.add_tool_use("t", "a\0", {}),
    "a result without an id": lambda talk: talk.add_tool_result("", "x", allow_orphan=True),
    "a result with a wrong id": lambda talk: talk.add_tool_result("z\u00fc", "x", allow_orphan=True),
    "a use with a line break in its id": lambda talk: talk.add_tool_use("t\n", "look", {}),
    "a result with an id that is too long": lambda talk: talk.add_tool_result("t" * 4097, "x", allow_orphan=True),
    "a result with NUL": lambda talk: talk.add_tool_result("t", "\0", allow_orphan=True),
    "a result without a use": lambda talk: talk.add_tool_result("t", "x"),
    "the view of no message": lambda talk: talk.get_message_view(""),
    "the view of a message that is not there": lambda talk: talk.get_message_view("nope"),
    "the view of a wrong id": lambda talk: talk.get_message_view("z z"),
    "the metadata of a wrong id": lambda talk: talk.update_metadata("z z", {}),
    "the metadata of no message": lambda talk: talk.update_metadata("", {}),
    "metadata that has NUL": lambda talk: talk.update_metadata("m", {"a\0": 1}),
    "a view that is none": lambda talk: talk.get_messages("sideways"),  # type: ignore[arg-type]
    "a style that is none": lambda talk: talk.get_single_prompt(style="loud"),  # type: ignore[arg-type]
    "a style of a view that is none": lambda talk: talk.get_message_view("m", style="loud"),  # type: ignore[arg-type]
    "a path to a wrong id": lambda talk: talk.get_messages("path_to", message_id="z z"),
    "a path to nowhere": lambda talk: talk.get_messages("path_to"),
    "a head that is named": lambda talk: talk.get_messages(message_id="m"),
    "a model that is none": lambda talk: talk.chat("x", model="nope"),
    "an option that is none": lambda talk: talk.chat("x", options={"warmth": 1}),
    "an option out of its bounds": lambda talk: talk.chat("x", options={"temperature": 9}),
    "a stream of a model that is none": lambda talk: list(talk.stream_chat("x", model="nope")),
}


@pytest.fixture
def client(real_target: str) -> Generator[Client]:
    with Client(real_target) as made:
        yield made


def refusal(talk: Conversation, act: Callable[[Conversation], Any]) -> tuple[Any, ...]:
    """How it was refused, and what is there afterwards."""
    talk.add_message("user", "hi", message_id="m")
    with pytest.raises(errors.Error) as caught:
        act(talk)
    error = caught.value
    kept = [message.text for message in talk.get_messages("all")]
    return type(error), error.code, error.reason, error.message, kept


@pytest.mark.parametrize("act", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused_alike_and_leaves_the_same(client: Client, act: Callable[[Conversation], Any]) -> None:
    stored = Conversation(client, client.create_conversation().id)
    assert refusal(Conversation(client), act) == refusal(stored, act)
