"""The calls on whole conversations and on single messages, over the wire and on a real store."""

from __future__ import annotations

from pathlib import Path

import grpc

from stepwire.v1 import chat_pb2, conversation_pb2
from stepwired.limits import Limits
from stepwired.store.replies import recorded
from stepwired.store.sqlite import SqliteStore
from tests.rpc.keeping import Asking, refused, stored
from tests.rpc.serving import echo, serve

TREE = [
    {"id": "a", "text": "first words"},
    {"id": "b", "text": "left", "parent_id": "a"},
    {"id": "x", "text": "right", "parent_id": "a"},
]


async def test_a_request_id_makes_a_repeat_return_the_first_answer(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        made = await ask.CreateConversation(title="t", request_id="r1", messages=[{"text": "hi"}])
        conversation_id = made.conversation.id
        assert await ask.CreateConversation(title="t", request_id="r1", messages=[{"text": "hi"}]) == made
        metadata = {"b": 1, "a": {"z": 1, "y": 2}}
        first = await ask.AppendMessages(
            conversation_id=conversation_id, messages=[{"text": "x", "metadata": metadata}], request_id="r1"
        )
        await ask.AppendMessages(conversation_id=conversation_id, messages=[{"text": "between"}])
        # Equal whatever the order of a Struct's keys, which no language keeps.
        turned = {"a": {"y": 2, "z": 1}, "b": 1}
        repeat = await ask.AppendMessages(
            conversation_id=conversation_id, messages=[{"text": "x", "metadata": turned}], request_id="r1"
        )
        assert repeat == first
        fork = await ask.ForkConversation(conversation_id=conversation_id, request_id="r1")
        assert await ask.ForkConversation(conversation_id=conversation_id, request_id="r1") == fork
        for call in (
            ask.CreateConversation(title="other", request_id="r1"),
            ask.AppendMessages(conversation_id=conversation_id, messages=[{"text": "y"}], request_id="r1"),
            ask.ForkConversation(conversation_id=conversation_id, title="t2", request_id="r1"),
        ):
            error = await refused(call)
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_MISMATCH")
            assert error.fields == [("request_id", "REQUEST_ID_MISMATCH")]
        listed = await ask.ListConversations()
        assert len(listed.conversations) == 2
        assert len(await ask.messages(conversation_id=conversation_id)) == 3


async def test_a_large_request_is_repeatable_too(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c")
        many = [{"text": str(index) * 100_000} for index in range(8)]
        first = await ask.AppendMessages(conversation_id="c", messages=many, request_id="r")
        assert await ask.AppendMessages(conversation_id="c", messages=many, request_id="r") == first
        many[-1]["text"] += "!"
        error = await refused(ask.AppendMessages(conversation_id="c", messages=many, request_id="r"))
        assert error.reason == "REQUEST_ID_MISMATCH"


async def test_a_stale_writer_is_refused_and_told_the_revision(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", messages=TREE)
        for call in (
            ask.AppendMessages(conversation_id="c", messages=[{"text": "y"}], if_revision=3),
            ask.UpdateConversation(conversation={"id": "c", "title": "t"}, if_revision=3),
            ask.UpdateMessage(conversation_id="c", message_id="a", status=2, if_revision=0),
            ask.DeleteConversation(conversation_id="c", if_revision=5),
        ):
            error = await refused(call)
            assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "REVISION_MISMATCH")
            assert error.facts == {"revision": "4"}
        await ask.AppendMessages(conversation_id="c", messages=[{"text": "y"}], if_revision=4)
        await ask.DeleteConversation(conversation_id="c", if_revision=5)
        assert (await refused(ask.GetConversation(conversation_id="c"))).reason == "CONVERSATION_NOT_FOUND"


async def test_title_metadata_and_head_are_updated_by_a_mask_or_without(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", title="t", metadata={"a": 1, "b": 2}, messages=TREE)
        changed = await ask.UpdateConversation(conversation={"id": "c", "head_id": "b"})
        assert (changed.conversation.head_id, changed.conversation.title) == ("b", "t")
        assert changed.conversation.revision == 5
        assert await ask.ids() == "a b"
        merge = conversation_pb2.METADATA_UPDATE_MERGE
        changed = await ask.UpdateConversation(
            conversation={"id": "c", "metadata": {"a": None, "c": 3}}, metadata_update=merge
        )
        assert dict(changed.conversation.metadata) == {"b": 2, "c": 3}
        changed = await ask.UpdateConversation(conversation={"id": "c", "metadata": {"d": 4}})
        assert dict(changed.conversation.metadata) == {"d": 4}
        changed = await ask.UpdateConversation(conversation={"id": "c"}, update_mask="title,metadata")
        assert (changed.conversation.title, len(changed.conversation.metadata)) == ("", 0)
        got = await ask.GetConversation(conversation_id="c")
        assert got.conversation == changed.conversation
        error = await refused(ask.UpdateConversation(conversation={"id": "c", "head_id": "nobody"}))
        assert error.reason == "MESSAGE_NOT_FOUND"


async def test_a_fork_is_the_path_to_a_message_with_all_it_has(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", title="t", messages=TREE)
        made = await ask.ForkConversation(conversation_id="c", message_id="b", new_conversation_id="d")
        assert (made.conversation.id, made.conversation.title, made.conversation.head_id) == ("d", "t", "b")
        assert await ask.messages(conversation_id="d") == await ask.messages(view=2, message_id="b")
        assert (await ask.ForkConversation(conversation_id="c", title="new")).conversation.title == "new"
        for fields, reason in (
            ({"conversation_id": "nobody"}, "CONVERSATION_NOT_FOUND"),
            ({"conversation_id": "c", "message_id": "nobody"}, "MESSAGE_NOT_FOUND"),
            ({"conversation_id": "c", "new_conversation_id": "d"}, "CONVERSATION_EXISTS"),
        ):
            assert (await refused(ask.ForkConversation(**fields))).reason == reason


async def test_pages_show_every_conversation_once_newest_first(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        for index in range(7):
            await ask.CreateConversation(conversation_id=f"c{index}", metadata={"odd": str(index % 2)})
        pages, token = [], ""
        while True:
            page = await ask.ListConversations(page_size=3, page_token=token)
            pages.append([conversation.id for conversation in page.conversations])
            token = page.next_page_token
            if not token:
                break
        assert pages == [["c6", "c5", "c4"], ["c3", "c2", "c1"], ["c0"]]
        odd = await ask.ListConversations(labels={"odd": "1"})
        assert [conversation.id for conversation in odd.conversations] == ["c5", "c3", "c1"]
        third = odd.conversations[1].create_time.ToJsonString()
        later = await ask.ListConversations(labels={"odd": "1"}, create_time_from=third)
        assert [conversation.id for conversation in later.conversations] == ["c5", "c3"]
        earlier = await ask.ListConversations(create_time_before=third)
        assert [conversation.id for conversation in earlier.conversations] == ["c2", "c1", "c0"]
        await ask.UpdateConversation(conversation={"id": "c0", "title": "t"})
        newest = await ask.ListConversations(order=2, page_size=2)
        assert [conversation.id for conversation in newest.conversations] == ["c0", "c6"]
        # A token of other filters is one of another list.
        token = (await ask.ListConversations(page_size=3)).next_page_token
        error = await refused(ask.ListConversations(page_token=token, labels={"odd": "1"}))
        assert error.reason == "INVALID_PAGE_TOKEN"
        assert (await ask.ListConversations(page_token=token, page_size=1)).conversations[0].id == "c3"


async def test_a_page_of_much_metadata_is_shorter_and_still_complete(tmp_path: Path) -> None:
    async with stored(tmp_path, Limits(reply_bytes=100_000)) as client:
        ask = Asking(client)
        for index in range(7):
            await ask.CreateConversation(conversation_id=f"c{index}", metadata={"a": "x" * 30_000})
        shown, token, pages = [], "", 0
        while token or not pages:
            page = await ask.ListConversations(page_token=token)
            assert page.ByteSize() <= 100_000
            shown += [conversation.id for conversation in page.conversations]
            token = page.next_page_token
            pages += 1
        assert shown == [f"c{index}" for index in range(6, -1, -1)]
        assert pages == 3


async def test_a_messages_metadata_and_status_change_and_its_content_does_not(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", messages=TREE)
        before = (await ask.GetMessage(conversation_id="c", message_id="b")).message
        merge = conversation_pb2.METADATA_UPDATE_MERGE
        first = await ask.UpdateMessage(conversation_id="c", message_id="b", metadata={"a": 1, "b": {"c": 2}})
        assert first.revision == 5
        changed = await ask.UpdateMessage(
            conversation_id="c", message_id="b", metadata={"a": None, "b": {"d": 3}}, metadata_update=merge, status=2
        )
        assert dict(changed.message.metadata["b"]) == {"c": 2, "d": 3}
        assert "a" not in changed.message.metadata
        assert changed.message.status == 2
        assert changed.message.update_time.ToNanoseconds() > before.update_time.ToNanoseconds()
        assert (changed.message.text, changed.message.parent_id) == (before.text, before.parent_id)
        assert (await ask.GetMessage(conversation_id="c", message_id="b")).message == changed.message
        large = {"big": "x" * 60_000}
        await ask.UpdateMessage(conversation_id="c", message_id="b", metadata=large)
        error = await refused(
            ask.UpdateMessage(
                conversation_id="c", message_id="b", metadata={"more": "x" * 60_000}, metadata_update=merge
            )
        )
        assert error.reason == "INVALID_METADATA"
        for call in (
            ask.GetMessage(conversation_id="c", message_id="nobody"),
            ask.UpdateMessage(conversation_id="c", message_id="nobody", status=1),
        ):
            assert (await refused(call)).reason == "MESSAGE_NOT_FOUND"


async def test_messages_are_found_by_their_words(tmp_path: Path) -> None:
    async with stored(tmp_path) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", title="t", messages=TREE)
        for index in range(5):
            await ask.CreateConversation(conversation_id=f"c{index}", messages=[{"text": f"Ünder the sea {index}"}])
        (hit,) = (await ask.SearchMessages(query='"FIRST words"')).hits
        assert (hit.conversation_id, hit.conversation_title, hit.message_id, hit.role) == ("c", "t", "a", "user")
        assert [hit.snippet[mark.start : mark.end] for mark in hit.highlights] in (["first words"], ["first", "words"])
        assert hit.highlights[0].HasField("start")
        found, token = [], ""
        while True:
            page = await ask.SearchMessages(query="under sea -2", page_size=3, page_token=token)
            found += [hit.conversation_id for hit in page.hits]
            token = page.next_page_token
            if not token:
                break
        assert sorted(found) == ["c0", "c1", "c3", "c4"]
        assert len((await ask.SearchMessages(query="sea", conversation_id="c2")).hits) == 1
        assert (await refused(ask.SearchMessages(query="-sea"))).reason == "INVALID_FILTER"
        assert (await refused(ask.SearchMessages(query="sea", conversation_id="n"))).reason == "CONVERSATION_NOT_FOUND"


async def test_a_chat_on_a_conversation_that_has_changed_is_refused_before_anything(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    async with serve(recorded(echo, store), store=store) as client:
        ask = Asking(client)
        await ask.CreateConversation(conversation_id="c", messages=TREE)
        error = await refused(client.chat.Chat(chat_pb2.ChatRequest(prompt="hi", conversation_id="c", if_revision=3)))
        assert (error.reason, error.facts) == ("REVISION_MISMATCH", {"revision": "4"})
        assert await ask.ids(view=4) == "a b x"
        reply = await client.chat.Chat(chat_pb2.ChatRequest(prompt="hi", conversation_id="c", if_revision=4))
        assert reply.finished.branched is False
    await store.close()
