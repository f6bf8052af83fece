"""`stepwire conversations tree`: branches as they are drawn, however deep."""

from __future__ import annotations

from rich.console import Console

from stepwire import ConversationInfo, Message
from stepwire.cli.conversation_tree import drawn
from stepwire.v1.message_pb2 import MESSAGE_STATUS_INTERRUPTED
from tests.sdk.commands import Run, lines


def picture(about: ConversationInfo, messages: list[Message]) -> list[str]:
    console = Console(width=100, highlight=False, emoji=False)
    with console.capture() as capture:
        console.print(drawn(about, messages))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_branches_are_drawn_with_the_head_and_what_to_know_of_each_message() -> None:
    hidden = Message(id="e", parent_id="d", role="user", text="not for models")
    hidden.metadata["hidden"] = True
    messages = [
        Message(id="a", role="user", text="My cat is called Mia."),
        Message(id="b", parent_id="a", role="assistant", text="Nice.\nVery nice."),
        Message(id="c", parent_id="b", role="user", text="x" * 100),
        Message(id="d", parent_id="b", role="user", text="And\x1b[2J now?"),
        Message(id="f", parent_id="c", role="assistant", text="It sl", status=MESSAGE_STATUS_INTERRUPTED),
        hidden,
        Message(id="g", parent_id="e", role="assistant", tool_use={"name": "look"}),
    ]
    about = ConversationInfo(id="c1", title="cats", head_id="g", message_count=7, revision=9)
    assert picture(about, messages) == [
        "cats  7 messages, revision 9",
        "├── user My cat is called Mia. a",
        "├── assistant Nice. Very nice. b",
        "├── branch 1 of 2",
        f"│   ├── user {'x' * 71}… c",
        "│   └── assistant It sl f (cut off)",
        "└── branch 2 of 2",
        "    ├── user And[2J now? d",
        "    ├── user not for models e (hidden from models)",
        "    └── assistant uses look {} g ◀ head",
    ]


def test_forks_within_forks_need_no_recursion() -> None:
    messages = [Message(id="m0", text="x")]
    for number in range(1, 300):
        messages += [
            Message(id=f"m{number}", parent_id=f"m{number - 1}", text="x"),
            Message(id=f"n{number}", parent_id=f"m{number - 1}", text="x"),
        ]
    root = drawn(ConversationInfo(id="c1"), messages)
    depth, node = 0, root
    while node.children:
        depth, node = depth + 1, node.children[-2] if len(node.children) > 1 else node.children[0]
    assert depth >= 299
    assert len(picture(ConversationInfo(id="c1"), messages[:9])) == 2 + 4 * 4
    assert picture(ConversationInfo(id="c1"), messages)


def test_the_tree_of_a_stored_conversation_is_drawn_or_listed(talk: Run) -> None:
    talk("append", "c1", "another way", "--parent", "m1")
    assert talk("tree", "c1").stdout.splitlines() == [
        "cats  3 messages, revision 4",
        "├── user hi m1",
        "├── branch 1 of 2",
        "│   └── user a kitten sleeps m2",
        "└── branch 2 of 2",
        "    └── user another way m3 ◀ head",
    ]
    assert [next(iter(line)) for line in lines(talk("tree", "c1", "--json"))] == ["conversation", *["message"] * 3]
