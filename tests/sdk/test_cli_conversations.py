"""`stepwire conversations`: what each command sends, prints and asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from stepwire import Client, ConversationInfo, Message, MessageHit
from stepwire.cli import failures
from stepwire.cli.app import cli
from stepwire.cli.conversation_feed import highlighted
from stepwire.cli.conversation_tree import drawn
from stepwire.v1 import conversation_pb2
from stepwire.v1.message_pb2 import MESSAGE_STATUS_INTERRUPTED
from tests.sdk.kept import PAGE
from tests.sdk.pictures import PNG
from tests.sdk.scripted import Server

Run = Callable[..., Result]


@pytest.fixture
def run(far_server: Server) -> Run:
    def invoke(*arguments: str, piped: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["--server", far_server.target, *arguments], input=piped)

    return invoke


@pytest.fixture
def talk(run: Run) -> Run:
    """A conversation `c1` with two messages, and a short way to the commands."""
    assert run("conversations", "new", "hi", "a kitten sleeps", "--id", "c1", "--title", "cats").exit_code == 0

    def invoke(*arguments: str, piped: str | None = None) -> Result:
        return run("conversations", *arguments, piped=piped)

    return invoke


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_conversations_are_listed_newest_first(talk: Run, far_server: Server) -> None:
    for number in range(2 * PAGE):
        talk("new", "--id", f"n{number}", "--metadata", '{"team": "blue"}')
    table = talk("list").stdout.splitlines()
    assert [row.split()[0] for row in table] == ["id", "n3", "n2", "n1", "n0", "c1"]
    assert "cats" in table[-1]
    assert [each["id"] for each in lines(talk("list", "--label", "team=blue", "-n", "3", "--json"))] == [
        "n3",
        "n2",
        "n1",
    ]
    talk("list", "--changed")
    assert far_server.script.last("ListConversations").order == conversation_pb2.CONVERSATION_ORDER_UPDATE_TIME
    assert talk("list", "--label", "team").exit_code == 2


def test_title_head_and_metadata_are_updated(talk: Run, far_server: Server) -> None:
    result = talk("update", "c1", "--title", "dogs", "--head", "m1", "--metadata", '{"a": null}', "--merge")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "revision 4\n")
    sent = far_server.script.last("UpdateConversation")
    assert (sent.conversation.title, sent.conversation.head_id) == ("dogs", "m1")
    assert sent.metadata_update == conversation_pb2.METADATA_UPDATE_MERGE
    assert lines(talk("update", "c1", "--title", "x", "--json"))[0]["title"] == "x"
    stale = talk("update", "c1", "--title", "x", "--if-revision", "1")
    assert stale.exit_code == failures.WRONG_REQUEST
    assert "REVISION_MISMATCH" in stale.stderr


def test_a_message_is_hidden_from_models(talk: Run) -> None:
    updated = talk("update", "c1", "--message", "m1", "--metadata", '{"hidden": true}', "--json")
    assert lines(updated)[0]["message"]["metadata"] == {"hidden": True}
    assert "user (hidden from models) m1" in talk("show", "c1").stdout
    assert talk("update", "c1", "--message", "m1", "--metadata", "{}").stderr == "revision 5\n"


@pytest.mark.parametrize(
    "options",
    [[], ["--message", "m1", "--title", "x", "--metadata", "{}"], ["--metadata", "7"], ["--metadata", "no json"]],
)
def test_an_update_that_says_nothing_or_nonsense_is_a_wrong_command_line(
    talk: Run, far_server: Server, options: list[str]
) -> None:
    assert talk("update", "c1", *options).exit_code == 2
    assert far_server.script.count("UpdateConversation") == far_server.script.count("UpdateMessage") == 0


def test_a_fork_prints_its_id(talk: Run) -> None:
    assert talk("fork", "c1", "--message", "m1", "--id", "c9", "--title", "again").stdout == "c9\n"
    assert lines(talk("fork", "c1", "--json"))[0]["messageCount"] == 2


def test_a_deletion_asks_and_deletes_only_what_it_asked_about(talk: Run, far_server: Server) -> None:
    no = talk("delete", "c1", piped="n\n")
    assert no.exit_code == 1
    assert "Delete c1 “cats”, 2 messages?" in no.stderr
    assert talk("delete", "c1", piped="").exit_code == 1  # nobody there to ask
    assert far_server.script.count("DeleteConversation") == 0
    assert talk("delete", "c1", piped="y\n").exit_code == 0
    assert far_server.script.last("DeleteConversation").if_revision == 3
    assert talk("show", "c1").exit_code == failures.WRONG_REQUEST


def test_a_deletion_may_be_told_not_to_ask(talk: Run, far_server: Server) -> None:
    assert lines(talk("delete", "c1", "--yes", "--json")) == [{"deleted": "c1"}]
    assert not far_server.script.last("DeleteConversation").HasField("if_revision")


def test_a_conversation_is_written_to_a_file_and_made_of_it(talk: Run, tmp_path: Path) -> None:
    file = tmp_path / "c1.json"
    written = talk("export", "c1", "-o", str(file))
    assert (written.exit_code, written.stdout) == (0, "")
    assert f"{len(file.read_bytes())} bytes written to" in written.stderr
    assert talk("export", "c1").stdout == file.read_text()
    assert lines(talk("export", "c1", "-o", str(file), "--json"))[0]["bytes"] == len(file.read_bytes())
    assert talk("import", str(file), "--id", "c2", "--title", "again").stdout == "c2\n"
    assert lines(talk("import", "-", "--id", "c3", "--json", piped=file.read_text()))[0]["messageCount"] == 2
    wrong = talk("import", "-", piped="no json")
    assert wrong.exit_code == failures.WRONG_REQUEST
    assert "line 1 is no JSON" in wrong.stderr
    assert talk("import", str(tmp_path / "none.json")).exit_code == 2


def test_what_to_export_is_sent(talk: Run, far_server: Server) -> None:
    talk("export", "c1", "--format", "guide_json", "--images")
    sent = far_server.script.last("ExportConversation")
    assert sent.format == conversation_pb2.CONVERSATION_FORMAT_GUIDE_JSON
    assert sent.image_bytes


def deleted_when_watched_to(far_server: Server, revision: int) -> None:
    """Let the conversation be deleted as soon as a watcher has been told of this revision."""
    watch: Any = far_server.on["WatchConversation"]

    async def watched(request: Any, context: Any) -> Any:
        async for response in watch(request, context):
            yield response
            if response.revision == revision:
                gone = conversation_pb2.DeleteConversationRequest(conversation_id=request.conversation_id)
                await far_server.on["DeleteConversation"](gone, context)  # type: ignore[misc]

    far_server.on["WatchConversation"] = watched


def test_changes_are_shown_one_a_line_until_the_deletion(talk: Run, far_server: Server) -> None:
    talk("update", "c1", "--title", "dogs")
    talk("update", "c1", "--message", "m1", "--metadata", '{"hidden": true}')
    deleted_when_watched_to(far_server, 5)
    watched = talk("watch", "c1", "--after", "0")
    assert watched.stdout.splitlines() == [
        "   1 conversation made: title “cats”, head none yet",
        "   2 user: hi",
        "   3 user: a kitten sleeps",
        "   4 conversation changed: title “dogs”, head m2",
        "   5 message m1 changed: hidden from models",
        "   6 conversation deleted",
    ]
    assert "Ctrl-C ends it" in watched.stderr
    assert "CONVERSATION_NOT_FOUND" in talk("watch", "c1").stderr


def test_changes_are_the_wires_own_as_json(talk: Run, far_server: Server) -> None:
    deleted_when_watched_to(far_server, 3)
    told = lines(talk("watch", "c1", "--after", "1", "--json"))
    assert [list(each) for each in told] == [["revision", "messageAppended"]] * 2 + [["revision", "deleted"]]


def test_hits_are_shown_with_their_place_or_as_json(talk: Run, far_server: Server) -> None:
    shown = talk("search", "kitten", "-c", "c1").stdout.splitlines()
    assert shown[0].startswith("cats · user · ")
    assert shown[0].endswith(" c1 m2")
    assert shown[1] == "a kitten sleeps"
    assert far_server.script.last("SearchMessages").conversation_id == "c1"
    assert lines(talk("search", "kitten", "--json"))[0]["highlights"] == [{"start": 2, "end": 8}]
    nothing = talk("search", "dog", "house")
    assert (nothing.stdout, nothing.stderr) == ("", "nothing found\n")
    assert far_server.script.last("SearchMessages").query == "dog house"


def test_what_was_found_is_highlighted_and_cannot_command_the_terminal() -> None:
    hit = conversation_pb2.MessageHit(
        snippet="\x1b[2Ja kitten, Kitten",
        highlights=[{"start": 6, "end": 12}, {"start": 14, "end": 20}],
    )
    text = highlighted(MessageHit.of(hit))
    assert text.plain == "[2Ja kitten, Kitten"
    assert [text.plain[span.start : span.end] for span in text.spans if span.style] == ["kitten", "Kitten"]


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


def test_a_picture_is_shown_to_the_model(run: Run, far_server: Server, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(PNG)
    result = run("chat", "-q", "What is this?", "--image", str(file), "--image", "https://example.org/x.png")
    assert (result.exit_code, result.stdout) == (0, "you said What is this?\n")
    [message] = far_server.script.last("StreamChat").messages
    assert (message.text, message.images[0].data, message.images[0].name) == ("What is this?", PNG, "cat.png")
    assert message.images[1].uri == "https://example.org/x.png"
    assert run("chat", "-q", "--image", str(file), piped="from a pipe").stdout == "you said from a pipe\n"


def test_a_picture_that_is_none_or_not_there_is_said_in_a_line(run: Run, far_server: Server, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    missing = run("chat", "x", "--image", str(file))
    assert missing.exit_code == failures.WRONG_REQUEST
    assert "No such file" in missing.stderr
    file.write_text("no picture")
    wrong = run("chat", "x", "--image", str(file))
    assert wrong.exit_code == failures.WRONG_REQUEST
    assert "UNSUPPORTED_IMAGE_FORMAT" in wrong.stderr
    assert far_server.script.calls == []


@pytest.mark.parametrize(
    "options",
    [
        ["update", "c1", "--metadata", '{"a":' * 60 + "1" + "}" * 60],
        ["update", "c1", "--metadata", '{"a":' * 200_000 + "1" + "}" * 200_000],
        ["update", "c1", "--title", "t", "--if-revision", str(10**23)],
        ["update", "c1", "--title", "t", "--if-revision", "0"],
        ["watch", "c1", "--after", str(10**23)],
        ["list", "-n", "0"],
    ],
    ids=["deep", "very deep", "revision", "revision 0", "after", "limit"],
)
def test_what_no_request_can_carry_is_wrong_and_no_defect(talk: Run, options: list[str]) -> None:
    result = talk(*options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rror:" in result.stderr


def test_the_use_of_a_tool_is_shown_with_its_input_and_a_reply_with_its_reasoning(
    run: Run, far_server: Server, blocking: Client
) -> None:
    use = {"tool_id": "t", "name": "look", "input": {"b": 1, "a": "ö"}}
    blocking.create_conversation(
        conversation_id="c1",
        messages=[
            {"role": "assistant", "tool_use": use},
            {"role": "assistant", "text": "a", "reasoning": {"text": "hm"}},
        ],
    )
    shown = run("conversations", "show", "c1").stdout
    assert 'uses look {"a":"ö","b":1}\n' in shown
    assert "hm\na\n" in shown


def test_what_is_not_there_is_not_watched(run: Run) -> None:
    result = run("conversations", "watch", "nope")
    assert result.exit_code == 2
    assert "Watching" not in result.stderr


def test_files_that_cannot_be_used_are_wrong(talk: Run, run: Run, tmp_path: Path) -> None:
    away = str(tmp_path / "no" / "c1.json")
    for result in (talk("export", "c1", "-o", away, "--json"), run("chat", "hi", "--image", away, "--json")):
        assert result.exit_code == 2
        assert away in lines(result)[0]["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["conversations", "show", "\udcff"],
        ["conversations", "append", "c1", "\udcff"],
        ["conversations", "list", "--label", "\udcff=a"],
        ["chat", "\udcff"],
        ["--server", "\udcff", "models"],
        ["--server", "", "models"],
        ["models", "--server", " "],
    ],
)
def test_a_command_line_that_says_nothing_is_wrong(talk: Run, run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rror:" in result.stderr
