"""The tree of a conversation: what follows what, where the head goes, and what is refused."""

from __future__ import annotations

import pytest

from stepwired import conversation
from stepwired.errors import Conflict, InvalidRequest, NotFound, Reason
from stepwired.events import Message, Reasoning, Role, ToolUse
from tests.growing import NOW_NS, Forest, fields, result, text, use


def test_messages_without_parents_follow_each_other_and_the_last_becomes_the_head() -> None:
    forest = Forest()
    growth = forest.grow(text("a"), text("b"), text("c"))
    assert [(message.id, message.parent_id) for message in growth.new] == [("a", ""), ("b", "a"), ("c", "b")]
    assert growth.head_id == "c"
    assert forest.grow(text("d")).new[0].parent_id == "c"


def test_a_message_without_id_or_time_gets_a_uuid_and_now_and_one_with_them_keeps_them() -> None:
    made, kept = Forest().grow(Message(text="x"), Message(text="y", id="custom-id", create_time_ns=5)).new
    assert len(made.id) == 36
    assert (made.create_time_ns, made.update_time_ns) == (NOW_NS, NOW_NS)
    assert (kept.id, kept.create_time_ns, kept.update_time_ns) == ("custom-id", 5, NOW_NS)


def test_a_parent_is_honoured_and_the_head_moves_there_unless_it_is_kept() -> None:
    forest = Forest()
    forest.grow(text("a"), text("b"))
    assert forest.grow(text("c", parent_id="a")).head_id == "c"
    kept = forest.grow(text("d", parent_id="b"), keep_head=True)
    assert (kept.new[0].parent_id, kept.head_id) == ("b", "c")


def test_a_message_that_was_appended_before_changes_nothing_and_does_not_move_the_head_back() -> None:
    forest = Forest()
    forest.grow(text("a"))
    forest.grow(text("b"))
    forest.grow(text("c"))
    for repeated in ([text("b")], [text("b", parent_id="a")], [text("a"), text("b")]):
        growth = forest.grow(*repeated)
        assert (growth.new, growth.head_id) == ((), "c")
        assert growth.ids == tuple(message.id for message in repeated)
    assert forest.grow(text("c"), text("d")).new[0].parent_id == "c"


@pytest.mark.parametrize(
    "other",
    [
        text("b", "other words"),
        text("b", role=Role.SYSTEM),
        text("b", parent_id="root"),
        use("b", "t1"),
        Message(role=Role.ASSISTANT, text="hi", reasoning=Reasoning("hm"), id="b"),
    ],
)
def test_an_id_that_exists_with_other_content_or_parent_is_refused(other: Message) -> None:
    forest = Forest()
    forest.grow(text("root"), text("a"), text("b"))
    with pytest.raises(Conflict) as caught:
        forest.grow(other)
    assert caught.value.reason is Reason.MESSAGE_ID_EXISTS
    assert caught.value.subject is not None
    assert caught.value.subject.name == "b"


def test_true_and_one_are_different_tool_inputs() -> None:
    forest = Forest()
    forest.grow(Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {"x": True}), id="a"))
    with pytest.raises(Conflict):
        forest.grow(Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "find", {"x": 1}), id="a"))


def test_metadata_and_times_do_not_make_a_repeat_another_message() -> None:
    forest = Forest()
    forest.grow(text("a"))
    assert forest.grow(Message(text="hi", id="a", metadata={"x": 1}, create_time_ns=7)).new == ()


def test_an_unknown_parent_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        Forest().grow(text("a", parent_id="nobody"))
    assert caught.value.reason is Reason.MESSAGE_NOT_FOUND
    assert caught.value.subject is not None
    assert caught.value.subject.name == "nobody"


def test_a_second_root_is_refused_where_the_head_was_kept_empty() -> None:
    forest = Forest()
    forest.grow(text("a"), keep_head=True)
    with pytest.raises(InvalidRequest) as caught:
        forest.grow(text("b"))
    assert fields(caught.value) == [("messages[0].parent_id", Reason.INVALID_MESSAGE)]
    assert forest.grow(text("b", parent_id="a")).head_id == "b"


def test_all_faults_of_a_request_are_told_at_once_in_its_order() -> None:
    forest = Forest()
    forest.grow(text("root"))
    with pytest.raises(InvalidRequest) as caught:
        forest.grow(
            text("a"),
            Message(),
            text("loop", parent_id="loop"),
            text("a"),
            text("early", parent_id="late"),
            text("late"),
            Message(role=Role.ASSISTANT, text="both", tool_use=ToolUse("t", "find", {})),
            Message(role=Role.USER, text="x", reasoning=Reasoning("hm")),
            result("r", "never", parent_id="root"),
        )
    assert fields(caught.value) == [
        ("messages[1]", Reason.INVALID_MESSAGE),
        ("messages[2].parent_id", Reason.INVALID_MESSAGE),
        ("messages[3].id", Reason.INVALID_MESSAGE),
        ("messages[4].parent_id", Reason.INVALID_MESSAGE),
        ("messages[6]", Reason.INVALID_MESSAGE),
        ("messages[7].reasoning", Reason.INVALID_MESSAGE),
        ("messages[8].tool_result.tool_id", Reason.INVALID_MESSAGE),
    ]
    assert forest.message_count == 1


def test_parents_that_go_round_in_circles_are_refused_and_not_followed() -> None:
    with pytest.raises(InvalidRequest) as caught:
        Forest().grow(text("a", parent_id="b"), text("b", parent_id="a"), result("r", "t", parent_id="b"))
    assert ("messages[0].parent_id", Reason.INVALID_MESSAGE) in fields(caught.value)


def test_a_tool_result_needs_a_use_on_its_own_path_unless_orphans_are_allowed() -> None:
    forest = Forest()
    forest.grow(text("a"), use("u", "t1"))
    forest.grow(result("r1", "t1"), result("r2", "t1"))
    forest.grow(use("u2", "t2"), result("r3", "t2"))
    for orphan in (result("r4", "t1", parent_id="a"), result("r4", "never")):
        with pytest.raises(InvalidRequest) as caught:
            forest.grow(orphan)
        assert fields(caught.value) == [("messages[0].tool_result.tool_id", Reason.INVALID_MESSAGE)]
        assert forest.grow(orphan, allow_orphan=True, keep_head=True).ids == ("r4",)
        del forest.stored["r4"]
    with pytest.raises(InvalidRequest):
        Forest().grow(result("r", "t1"))


def test_a_conversation_takes_its_limit_of_messages_and_no_more() -> None:
    forest = Forest()
    forest.grow(text("a"), text("b"), text("c"), limit=3)
    assert forest.grow(text("c"), limit=3).new == ()
    with pytest.raises(InvalidRequest) as caught:
        forest.grow(text("d"), limit=3)
    assert fields(caught.value) == [("messages", Reason.FIELD_INVALID)]


def test_a_parent_of_the_request_that_contradicts_its_first_message_is_refused() -> None:
    forest = Forest()
    forest.grow(text("a"), text("b"))
    assert forest.grow(text("c", parent_id="a"), parent_id="a").head_id == "c"
    with pytest.raises(InvalidRequest) as caught:
        forest.grow(text("d", parent_id="b"), parent_id="a")
    assert fields(caught.value) == [("messages[0].parent_id", Reason.INVALID_MESSAGE)]


def test_roles_have_four_names_and_a_default_for_each_kind_of_message() -> None:
    assert [conversation.role_named(name) for name in ("system", "user", "assistant", "tool")] == list(Role)
    assert conversation.role_named("banana") is None
    assert conversation.role_named("User") is None
    assert conversation.role_named("") is Role.USER
    assert conversation.role_named("", tool_use=True) is Role.ASSISTANT
    assert conversation.role_named("", tool_result=True) is Role.TOOL


def test_a_model_is_sent_interrupted_replies_but_nothing_that_is_hidden() -> None:
    shown = [text("a"), Message(text="b", metadata={"hidden": False}), Message(text="c", metadata={"hidden": "no"})]
    assert conversation.for_model([shown[0], Message(text="x", metadata={"hidden": True}), *shown[1:]]) == tuple(shown)


def test_a_stored_parent_is_looked_up_once_however_many_messages_follow_it() -> None:
    looked_up: list[str] = []

    class Watched(Forest):
        def find(self, message_id: str) -> Message | None:
            looked_up.append(message_id)
            return super().find(message_id)

    forest = Watched({"u": use("u", "t"), "b": text("b", parent_id="u")}, "b")
    forest.grow(*(result(f"r{number}", "t", "u") for number in range(50)))
    assert looked_up.count("u") == 1


def test_results_find_uses_in_the_same_request_on_their_own_path_only() -> None:
    forest = Forest({"a": text("a")}, "a")
    with pytest.raises(InvalidRequest) as caught:
        forest.grow(
            use("u1", "t1"),
            use("u2", "t2"),
            result("both-1", "t1"),
            result("both-2", "t2"),
            use("side", "t3", "u1"),
            result("side-1", "t1"),
            result("side-3", "t3"),
            result("not-2", "t2", "side"),
            result("not-3", "t3", "u2"),
        )
    assert fields(caught.value) == [
        ("messages[7].tool_result.tool_id", Reason.INVALID_MESSAGE),
        ("messages[8].tool_result.tool_id", Reason.INVALID_MESSAGE),
    ]
