"""`stepwire conversations watch` and `search`: changes one a line, and hits with their place."""

from __future__ import annotations

from typing import Any

from stepwire import MessageHit
from stepwire.cli.conversation_feed import highlighted
from stepwire.v1 import conversation_pb2
from tests.sdk.commands import Run, lines
from tests.sdk.scripted import Server


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


def test_what_is_not_there_is_not_watched(run: Run) -> None:
    result = run("conversations", "watch", "nope")
    assert result.exit_code == 2
    assert "Watching" not in result.stderr
