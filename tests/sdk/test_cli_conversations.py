"""`stepwire conversations`: what each command sends, prints and asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwire import Client
from stepwire.cli import failures
from stepwire.v1 import conversation_pb2
from tests.sdk.commands import Run, lines
from tests.sdk.kept import PAGE
from tests.sdk.scripted import Server


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
