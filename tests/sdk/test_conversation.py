"""A conversation as an object: kept here or by the real server, it behaves alike."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwire import AsyncClient, AsyncConversation, Client, Conversation, Message, errors, image
from stepwire.v1.message_pb2 import MESSAGE_STATUS_COMPLETE
from tests.sdk.pictures import PNG


@pytest.fixture
def client(real_target: str) -> Generator[Client]:
    with Client(real_target) as made:
        yield made


def stored(client: Client) -> Conversation:
    return Conversation(client, client.create_conversation().id)


@pytest.fixture(params=["local", "local with a client", "stored"])
def made(request: pytest.FixtureRequest, client: Client) -> Conversation:
    match request.param:
        case "local":
            return Conversation()
        case "local with a client":
            return Conversation(client)
        case _:
            return stored(client)


def test_what_is_added_is_listed_with_its_place_and_time(made: Conversation) -> None:
    first = made.add_message("user", "Hello, how can I help you?")
    second = made.add_message("system", "Brief.", metadata={"source": "config"}, time="2024-01-01T00:00:00Z")
    messages = made.get_messages()
    assert [(each.id, each.parent_id, each.role, each.text) for each in messages] == [
        (first, "", "user", "Hello, how can I help you?"),
        (second, first, "system", "Brief."),
    ]
    assert messages[1].metadata["source"] == "config"
    assert messages[1].create_time.ToDatetime(tzinfo=UTC) == datetime(2024, 1, 1, tzinfo=UTC)
    assert messages[0].create_time.seconds > 1_700_000_000
    assert all(each.update_time.seconds > 1_700_000_000 for each in messages)
    assert all(each.status == MESSAGE_STATUS_COMPLETE for each in messages)


def test_ids_and_parents_are_honoured(made: Conversation) -> None:
    made.add_message("user", "one", message_id="custom-id")
    made.add_message("assistant", "two", message_id="b")
    assert made.add_message("assistant", "other", message_id="c", parent_id="custom-id") == "c"
    assert [each.id for each in made.get_messages()] == ["custom-id", "c"]
    assert [each.id for each in made.get_messages("path_to", message_id="b")] == ["custom-id", "b"]
    assert [each.id for each in made.get_messages("leftmost")] == ["custom-id", "b"]
    assert [each.id for each in made.get_messages("all")] == ["custom-id", "b", "c"]


@pytest.mark.parametrize("text", ["plain", "two\nlines\n\n", "```code```", "é 🙂", "[user]: x"])
@pytest.mark.parametrize("style", ["brackets", "geppetto"])
def test_views_and_prompts_are_the_same_strings(made: Conversation, client: Client, text: str, style: Any) -> None:
    other = stored(client)
    for each in (made, other):
        assert each.get_single_prompt() == ""
        each.add_message("user", text, message_id="m")
        assert each.get_single_prompt(style=style) == text
        each.add_tool_use("tool123", "searchCode", {"b": 1, "a": [None, 1.5, "é"]}, message_id="u")
        each.add_tool_result("tool123", "Found\n", message_id="r")
        each.add_message("assistant", "Done.", message_id="d")
    for message_id in "murd":
        assert made.get_message_view(message_id, style=style) == other.get_message_view(message_id, style=style)
    assert made.get_message_view("u") == (
        'ToolUseContent{ToolID: tool123, Name: searchCode, Input: {"a":[null,1.5,"é"],"b":1}}'
    )
    assert made.get_message_view("r") == "ToolResultContent{ToolID: tool123, Result: Found\n}"
    for include_tools in (False, True):
        prompts = [each.get_single_prompt(style=style, include_tools=include_tools) for each in (made, other)]
        assert prompts[0] == prompts[1]
    assert made.get_single_prompt() == f"[user]: {text}\n[assistant]: Done.\n"


def test_metadata_is_replaced_or_merged_and_a_missing_message_is_false(made: Conversation) -> None:
    message_id = made.add_message("user", "hi", metadata={"a": 1, "b": {"c": 1, "d": 2}})
    assert made.update_metadata(message_id, {"b": {"c": None, "e": 3}, "f": [1]}, merge=True) is True
    [message] = made.get_messages()
    assert dict(message.metadata.items()) == {"a": 1, "b": {"d": 2, "e": 3}, "f": [1]}
    assert made.update_metadata(message_id, {"processed": True}) is True
    [message] = made.get_messages()
    assert dict(message.metadata.items()) == {"processed": True}
    assert made.update_metadata("missing", {"processed": True}) is False


REFUSED: list[tuple[Callable[[Conversation], Any], type[errors.Error], str, str]] = [
    (lambda c: c.add_message("banana", "x"), errors.InvalidRequest, "INVALID_MESSAGE", "messages[0].role"),
    (lambda c: c.add_message("user", ""), errors.InvalidRequest, "INVALID_MESSAGE", "messages[0]"),
    (lambda c: c.add_message("user", "x", time="yesterday"), errors.InvalidRequest, "INVALID_TIME", ""),
    (lambda c: c.add_message("user", "x", message_id="a b"), errors.InvalidRequest, "FIELD_INVALID", "messages[0].id"),
    (
        lambda c: c.add_message("user", "x", message_id="s", parent_id="s"),
        errors.InvalidRequest,
        "INVALID_MESSAGE",
        "messages[0].parent_id",
    ),
    (lambda c: c.add_message("user", "x", parent_id="nope"), errors.NotFound, "MESSAGE_NOT_FOUND", ""),
    (lambda c: c.add_message("user", "other", message_id="m"), errors.Conflict, "MESSAGE_ID_EXISTS", ""),
    (
        lambda c: c.add_tool_result("t", "x"),
        errors.InvalidRequest,
        "INVALID_MESSAGE",
        "messages[0].tool_result.tool_id",
    ),
    (
        lambda c: c.add_tool_use("é", "look", {}),
        errors.InvalidRequest,
        "FIELD_INVALID",
        "messages[0].tool_use.tool_id",
    ),
    (lambda c: c.add_message("user", "x", metadata={"n": 2**53}), errors.InvalidRequest, "FIELD_INVALID", ""),
    (lambda c: c.get_message_view("nope"), errors.NotFound, "MESSAGE_NOT_FOUND", ""),
    (lambda c: c.get_messages("path_to", message_id="nope"), errors.NotFound, "MESSAGE_NOT_FOUND", ""),
    (lambda c: c.get_messages("path_to"), errors.InvalidRequest, "FIELD_REQUIRED", "message_id"),
    (lambda c: c.get_messages(message_id="m"), errors.InvalidRequest, "FIELD_INVALID", "message_id"),
    (
        lambda c: c.add_message_with_image("user", "x", b"BM"),
        errors.InvalidRequest,
        "UNSUPPORTED_IMAGE_FORMAT",
        "",
    ),
]


@pytest.mark.parametrize(("act", "kind", "reason", "field"), REFUSED)
def test_what_is_wrong_is_refused_in_the_same_words_of_programs(
    made: Conversation,
    act: Callable[[Conversation], Any],
    kind: type[errors.Error],
    reason: str,
    field: str,
) -> None:
    made.add_message("user", "first", message_id="m")
    with pytest.raises(kind) as caught:
        act(made)
    assert caught.value.reason == reason
    if field:
        assert [fault.field for fault in caught.value.violations] == [field]
    assert [each.id for each in made.get_messages("all")] == ["m"]


def test_adding_the_same_again_changes_nothing(made: Conversation) -> None:
    for _ in range(2):
        assert made.add_message("user", "one", message_id="a") == "a"
        assert made.add_message("user", "two", message_id="b", parent_id="a") == "b"
    assert [each.id for each in made.get_messages()] == ["a", "b"]


def test_an_orphan_is_accepted_where_that_is_said(made: Conversation) -> None:
    made.add_tool_result("t", "x", allow_orphan=True, is_error=True)
    [message] = made.get_messages()
    assert (message.role, message.tool_result.is_error) == ("tool", True)


def test_a_picture_is_added_from_a_path_or_a_url(made: Conversation, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    made.add_message_with_image("user", "Here's an image", str(tmp_path / "cat.png"), detail="low")
    made.add_message_with_image("user", "", "https://example.org/cat.png")
    made.add_message_with_image("user", "", image(PNG, name="x"), detail="high")
    pictures = [each.images[0] for each in made.get_messages()]
    assert [(each.name, each.media_type, each.detail or "auto") for each in pictures] == [
        ("cat.png", "image/png", "low"),
        ("", "", "auto"),
        ("x", "image/png", "high"),
    ]
    assert pictures[1].uri == "https://example.org/cat.png"
    with pytest.raises(FileNotFoundError):
        made.add_message_with_image("user", "", str(tmp_path / "none.png"))


def test_what_is_handed_out_is_a_copy(made: Conversation) -> None:
    made.add_message("user", "hi", metadata={"a": 1})
    made.get_messages()[0].text = "changed"
    assert made.get_single_prompt() == "hi"


def test_an_option_that_does_not_exist_is_a_mistake_of_the_caller(made: Conversation) -> None:
    with pytest.raises(TypeError, match="parentID"):
        made.add_message("user", "x", parentID="m")  # type: ignore[call-arg]


def test_a_chat_is_kept_with_its_reply(client: Client) -> None:
    for each in (Conversation(client), stored(client)):
        each.add_message("system", "Be brief.")
        reply = each.chat("Say hello.", options={"max_tokens": 4, "temperature": 0})
        events = list(each.stream_chat("Again.", options={"max_tokens": 4, "temperature": 0}))
        texts = [message.text for message in each.get_messages()]
        assert texts == ["Be brief.", "Say hello.", reply.text, "Again.", "".join(event.text for event in events)]
        assert [message.role for message in each.get_messages()] == ["system", "user", "assistant", "user", "assistant"]
        assert reply.finished.branched is False
        assert reply.finished.messages[0] == each.get_messages()[2]


def test_a_conversation_kept_here_can_be_given_to_the_server(client: Client) -> None:
    local = Conversation()
    local.add_message("user", "hi", message_id="a", time="2024-01-01T00:00:00Z")
    local.add_tool_use("t", "f", {"x": 1})
    local.add_tool_result("t", "y")
    other = Conversation(client, client.create_conversation(messages=local.get_messages("all")).id)
    assert other.get_single_prompt(include_tools=True) == local.get_single_prompt(include_tools=True)
    for mine, theirs in zip(local.get_messages(), other.get_messages(), strict=True):
        assert mine.create_time.seconds == theirs.create_time.seconds
        assert timeless(mine) == timeless(theirs)


def timeless(message: Message) -> Message:
    message.ClearField("create_time")
    message.ClearField("update_time")
    return message


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
JSON = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers(-9, 9) | TEXTS, max_size=3)
STEP = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(["user", "assistant", "system", "tool"]), TEXTS, st.integers(0, 9)),
    st.tuples(st.just("use"), st.sampled_from(["t1", "t2"]), JSON, st.integers(0, 9)),
    st.tuples(st.just("answer"), st.sampled_from(["t1", "t2"]), TEXTS, st.integers(0, 9)),
    st.tuples(st.just("note"), st.booleans(), JSON, st.integers(0, 9)),
)


def play(conversation: Conversation, steps: list[Any]) -> list[Any]:
    """Do what the steps say, each at a parent among those there are, and tell what came of it."""
    told: list[Any] = []
    for number, (kind, first, second, place) in enumerate(steps):
        there = conversation.get_messages("all")
        parent = there[place % len(there)].id if there and place < 5 else ""
        options: Any = {"message_id": f"m{number}", "parent_id": parent}
        try:
            match kind:
                case "say":
                    told.append(conversation.add_message(first, second, **options))
                case "use":
                    told.append(conversation.add_tool_use(first, "f", second, **options))
                case "answer":
                    told.append(conversation.add_tool_result(first, second, **options))
                case _:
                    told.append(conversation.update_metadata(parent or "none", second, merge=first))
        except errors.Error as error:
            told.append((type(error), error.reason, [fault.field for fault in error.violations]))
    for view in ("head_path", "leftmost", "all"):
        for message in conversation.get_messages(view):
            told += [timeless(message), conversation.get_message_view(message.id)]
    told += [conversation.get_single_prompt(include_tools=tools) for tools in (False, True)]
    return told


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=8))
def test_whatever_is_done_both_say_the_same(client: Client, steps: list[Any]) -> None:
    assert play(Conversation(), steps) == play(stored(client), steps)


async def test_the_awaitable_face_does_the_same(real_target: str, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    async with AsyncClient(real_target) as client:
        made = await client.create_conversation()
        for each in (AsyncConversation(), AsyncConversation(client), AsyncConversation(client, made.id)):
            await each.add_message("user", "hi", message_id="m")
            await each.add_tool_use("t", "f", {})
            await each.add_tool_result("t", "x")
            await each.add_message_with_image("user", "see", tmp_path / "cat.png")
            assert await each.get_single_prompt() == "[user]: hi\n[user]: see\n"
            assert await each.get_message_view("m") == "[user]: hi"
            assert len(await each.get_messages()) == 4
            assert await each.update_metadata("m", {}) is True


def test_a_stored_one_needs_a_client_and_so_does_a_reply() -> None:
    with pytest.raises(ValueError, match="client"):
        Conversation(None, "c1")
    with pytest.raises(RuntimeError, match="client"):
        Conversation().chat("hi")
    with pytest.raises(RuntimeError, match="client"):
        next(Conversation().stream_chat("hi"))
