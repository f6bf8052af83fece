"""Every call about conversations: what it sends and what it makes of the answer."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, Client, errors
from stepwire.v1 import conversation_pb2, message_pb2
from tests.sdk.kept import PAGE
from tests.sdk.pictures import PNG
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server


@pytest.fixture
async def filled(client: AsyncClient) -> AsyncClient:
    await client.create_conversation(conversation_id="c1", title="cats", messages=["hi", "a kitten sleeps"])
    return client


async def test_conversations_are_listed_over_all_pages(client: AsyncClient, server: Server) -> None:
    made = [(await client.create_conversation(metadata={"team": "blue"})).id for _ in range(2 * PAGE + 1)]
    await client.create_conversation(metadata={"team": "red"})
    found = [each.id async for each in client.list_conversations(labels={"team": "blue"})]
    assert found == made[::-1]
    assert server.script.count("ListConversations") == 3


async def test_all_filters_of_a_list_arrive(client: AsyncClient, server: Server) -> None:
    when = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    listed = client.list_conversations(
        create_time_from=when,
        create_time_before=when + timedelta(days=1),
        update_time_from=when,
        order="update_time",
        page_size=7,
    )
    assert [each async for each in listed] == []
    sent = server.script.last("ListConversations")
    assert sent.create_time_from.ToDatetime(tzinfo=UTC) == when
    assert sent.create_time_before.seconds - sent.update_time_from.seconds == 86400
    assert (sent.order, sent.page_size) == (conversation_pb2.CONVERSATION_ORDER_UPDATE_TIME, 7)


async def test_a_time_without_a_zone_is_refused(client: AsyncClient, server: Server) -> None:
    with pytest.raises(errors.InvalidRequest, match="zone") as caught:
        await anext(client.list_conversations(create_time_from=datetime(2024, 1, 1)))  # noqa: DTZ001
    assert caught.value.reason == "INVALID_TIME"
    assert server.script.calls == []


async def test_only_what_is_given_is_updated(filled: AsyncClient, server: Server) -> None:
    about = await filled.update_conversation("c1", title="")
    sent = server.script.last("UpdateConversation")
    assert list(sent.update_mask.paths) == ["title"]
    assert (about.title, about.head_id) == ("", "m2")
    assert not sent.HasField("if_revision")
    await filled.update_conversation("c1", metadata={"a": None}, head_id="m1", merge=True, if_revision=4)
    sent = server.script.last("UpdateConversation")
    assert list(sent.update_mask.paths) == ["metadata", "head_id"]
    assert sent.conversation.metadata.fields["a"].HasField("null_value")
    assert sent.metadata_update == conversation_pb2.METADATA_UPDATE_MERGE


async def test_a_stale_writer_is_refused(filled: AsyncClient) -> None:
    with pytest.raises(errors.Conflict) as caught:
        await filled.update_conversation("c1", title="x", if_revision=1)
    assert caught.value.reason == "REVISION_MISMATCH"


async def test_the_revision_a_writer_knows_is_sent(filled: AsyncClient, server: Server) -> None:
    await filled.append("c1", ["x"], if_revision=3)
    await filled.update_message("c1", "m1", status="interrupted", if_revision=4)
    await filled.chat("hi", conversation_id="c1", if_revision=5)
    [_ async for _ in filled.stream_chat("hi", conversation_id="c1", if_revision=6)]
    await filled.delete_conversation("c1", if_revision=0)
    methods = ("AppendMessages", "UpdateMessage", "Chat", "StreamChat", "DeleteConversation")
    assert [server.script.last(method).if_revision for method in methods] == [3, 4, 5, 6, 0]
    assert server.script.last("DeleteConversation").HasField("if_revision")


async def test_a_conversation_is_deleted(filled: AsyncClient) -> None:
    await filled.delete_conversation("c1")
    with pytest.raises(errors.NotFound):
        await filled.conversation("c1")


async def test_a_path_is_forked(filled: AsyncClient, server: Server) -> None:
    made = await filled.fork_conversation("c1", message_id="m1", new_conversation_id="c9", title="again")
    assert (made.id, made.title, made.message_count) == ("c9", "again", 1)
    assert server.script.last("ForkConversation").message_id == "m1"


async def test_one_message_is_read_and_updated(filled: AsyncClient, server: Server) -> None:
    updated = await filled.update_message("c1", "m2", metadata={"hidden": True})
    assert updated.revision == 4
    assert updated.message.metadata["hidden"] is True
    assert (await filled.get_message("c1", "m2", image_bytes=True)).text == "a kitten sleeps"
    assert server.script.last("GetMessage").image_bytes
    sent = server.script.last("UpdateMessage")
    assert sent.metadata_update == conversation_pb2.METADATA_UPDATE_REPLACE
    assert sent.status == message_pb2.MESSAGE_STATUS_UNSPECIFIED
    await filled.update_message("c1", "m2", status="interrupted")
    assert not server.script.last("UpdateMessage").HasField("metadata")


async def test_hits_are_followed_over_all_pages(filled: AsyncClient, server: Server) -> None:
    await filled.append("c1", [f"kitten {number}" for number in range(2 * PAGE)])
    hits = [hit async for hit in filled.search_messages("kitten", conversation_id="c1")]
    assert len(hits) == 2 * PAGE + 1
    assert server.script.count("SearchMessages") == 3
    first = hits[0]
    assert (first.conversation_title, first.message_id, first.role) == ("cats", "m2", "user")
    assert [first.snippet[start:end] for start, end in first.highlights] == ["kitten"]
    assert first.create_time.tzinfo is UTC


async def test_a_conversation_goes_to_a_file_and_comes_from_it(filled: AsyncClient, tmp_path: Path) -> None:
    path, opened = tmp_path / "c1.json", io.BytesIO()
    count = await filled.export_conversation("c1", path)
    assert count == len(path.read_bytes()) > 0
    assert await filled.export_conversation("c1", opened) == count
    assert opened.getvalue() == path.read_bytes()
    sources: list[Any] = [path, str(path), opened.getvalue(), io.BytesIO(opened.getvalue())]
    for number, source in enumerate(sources):
        made = await filled.import_conversation(source, conversation_id=f"i{number}", title="t", format="proto_json")
        assert (made.id, made.title, made.message_count) == (f"i{number}", "t", 2)


async def test_what_to_export_is_sent(filled: AsyncClient, server: Server) -> None:
    file = io.BytesIO()
    await filled.export_conversation("c1", file, format="openai_messages", view="leftmost", image_bytes=True)
    sent = server.script.last("ExportConversation")
    assert sent.format == conversation_pb2.CONVERSATION_FORMAT_OPENAI_MESSAGES
    assert (sent.view, sent.image_bytes) == (conversation_pb2.MESSAGE_VIEW_LEFTMOST, True)


async def test_an_export_that_fails_leaves_the_file_that_was_there(
    filled: AsyncClient, server: Server, tmp_path: Path
) -> None:
    async def breaks(request: Any, context: Any) -> Any:
        yield conversation_pb2.ExportConversationResponse(chunk=b"half")
        await refuse(context, grpc.StatusCode.UNAVAILABLE, "gone", reason="SERVER_DRAINING")

    path = tmp_path / "c1.json"
    path.write_text("old")
    server.on["ExportConversation"] = breaks
    with pytest.raises(errors.Unavailable):
        await filled.export_conversation("c1", path)
    assert path.read_text() == "old"


async def test_an_empty_file_is_still_sent(client: AsyncClient, server: Server) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        await client.import_conversation(b"")
    assert caught.value.reason == "INVALID_CONVERSATION"


def test_all_of_it_without_asyncio(blocking: Client, tmp_path: Path) -> None:
    made = blocking.create_conversation(conversation_id="c1", messages=["a kitten"])
    assert [each.id for each in blocking.list_conversations()] == [made.id]
    assert blocking.update_conversation("c1", title="t").title == "t"
    assert blocking.get_message("c1", "m1").text == "a kitten"
    assert blocking.update_message("c1", "m1", metadata={"a": 1}).revision == 4
    assert [hit.message_id for hit in blocking.search_messages("kitten")] == ["m1"]
    stored = blocking.upload_image(io.BytesIO(PNG))
    assert blocking.download_image(stored.blob_id).data == PNG
    assert blocking.export_conversation("c1", tmp_path / "x") > 0
    assert blocking.import_conversation(tmp_path / "x", conversation_id="c2").message_count == 1
    assert blocking.fork_conversation("c1").message_count == 1
    changes = blocking.watch_conversation("c1", after_revision=0)
    assert [next(changes).kind for _ in range(2)] == ["created", "message_appended"]
    changes.close()
    blocking.delete_conversation("c1")
    with pytest.raises(errors.NotFound):
        blocking.conversation("c1")


async def test_numbers_that_no_request_carries_are_refused(client: AsyncClient) -> None:
    with pytest.raises(errors.InvalidRequest, match="out of range"):
        await client.update_conversation("c1", title="t", if_revision=10**23)
    with pytest.raises(errors.InvalidRequest, match="out of range"):
        await anext(client.watch_conversation("c1", after_revision=-(10**23)))


@pytest.mark.parametrize("wrong", ["loud", 5, ["all"]])
async def test_a_word_that_is_none_of_those_known_is_refused_by_its_name(client: AsyncClient, wrong: Any) -> None:
    calls: dict[str, Any] = {
        "view": lambda: anext(client.messages("c1", view=wrong)),
        "style": lambda: client.render("c1", style=wrong),
        "order": lambda: anext(client.list_conversations(order=wrong)),
        "status": lambda: client.update_message("c1", "m1", status=wrong),
        "format": lambda: client.export_conversation("c1", io.BytesIO(), format=wrong),
    }
    for name, call in calls.items():
        with pytest.raises(errors.InvalidRequest, match=f"^{name}: "):
            await call()
