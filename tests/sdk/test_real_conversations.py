"""The calls about conversations against the real server: what the scripted one only claims."""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
from collections.abc import Generator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stepwire import AsyncClient, Client, Conversation, ConversationChange, errors, image
from stepwire._pictures import MAX_BYTES, MAX_INLINE_BYTES
from stepwire.cli.app import cli
from tests.sdk.conftest import real_server
from tests.sdk.cutting import way_to
from tests.sdk.pictures import PNG, picture

CHANGES = 300


@pytest.fixture
def client(real_target: str) -> Generator[Client]:
    with Client(real_target) as made:
        yield made


def test_lists_are_filtered_ordered_and_followed(client: Client) -> None:
    mark = {"list": "of this test"}
    before = datetime.now(UTC) - timedelta(seconds=1)
    made = [client.create_conversation(title=str(number), metadata=mark).id for number in range(5)]
    assert [each.id for each in client.list_conversations(labels=mark, page_size=2)] == made[::-1]
    client.append(made[1], ["again"])
    changed = client.list_conversations(labels=mark, order="update_time", update_time_from=before)
    assert next(changed).id == made[1]
    changed.close()
    assert list(client.list_conversations(labels=mark, create_time_before=before)) == []
    assert len(list(client.list_conversations(labels=mark, create_time_from=before))) == 5
    assert list(client.list_conversations(labels=mark | {"other": "x"})) == []


def test_title_head_and_metadata_change_and_a_stale_writer_is_refused(client: Client) -> None:
    made = client.create_conversation(title="a", messages=["one", "two"], metadata={"a": 1, "b": 2})
    about = client.update_conversation(made.id, metadata={"a": None, "c": 3}, merge=True, if_revision=3)
    assert dict(about.metadata.items()) == {"b": 2, "c": 3}
    assert (about.title, about.revision) == ("a", 4)
    about = client.update_conversation(made.id, title="", head_id=made.message_ids[0])
    assert (about.title, about.head_id) == ("", made.message_ids[0])
    assert dict(about.metadata.items()) == {"b": 2, "c": 3}
    for stale in (
        lambda: client.update_conversation(made.id, title="x", if_revision=3),
        lambda: client.append(made.id, ["x"], if_revision=3),
        lambda: client.update_message(made.id, made.message_ids[0], metadata={}, if_revision=3),
        lambda: client.chat("x", conversation_id=made.id, if_revision=3),
        lambda: client.delete_conversation(made.id, if_revision=3),
    ):
        with pytest.raises(errors.Conflict) as caught:
            stale()
        assert caught.value.reason == "REVISION_MISMATCH"
    assert len(list(client.messages(made.id, view="all"))) == 2


def test_a_repeat_with_its_request_id_is_answered_as_before(client: Client) -> None:
    made = client.create_conversation(title="x", request_id="create-1")
    assert client.create_conversation(title="x", request_id="create-1") == made
    first = client.append(made.id, ["hi"], request_id="append-1")
    assert client.append(made.id, ["hi"], request_id="append-1").message_ids == first.message_ids
    forked = client.fork_conversation(made.id, request_id="fork-1")
    assert client.fork_conversation(made.id, request_id="fork-1").id == forked.id
    assert client.conversation(made.id).message_count == 1
    with pytest.raises(errors.InvalidRequest) as caught:
        client.append(made.id, ["other"], request_id="append-1")
    assert caught.value.reason == "REQUEST_ID_MISMATCH"


def test_a_path_is_forked_and_the_whole_deleted(client: Client) -> None:
    made = client.create_conversation(title="old", messages=["one", "two", "three"])
    fork = client.fork_conversation(made.id, message_id=made.message_ids[1])
    assert [message.id for message in client.messages(fork.id)] == made.message_ids[:2]
    assert fork.title == "old"
    client.delete_conversation(made.id)
    with pytest.raises(errors.NotFound):
        client.delete_conversation(made.id)
    assert client.get_message(fork.id, made.message_ids[0]).text == "one"


def test_messages_are_found_with_their_words_highlighted(client: Client) -> None:
    made = client.create_conversation(title="zoo", messages=["Where does the quokka sleep?", "A quokka, in the sun."])
    hits = list(client.search_messages("quokka", conversation_id=made.id, page_size=1))
    assert {hit.message_id for hit in hits} == set(made.message_ids)
    for hit in hits:
        assert [hit.snippet[start:end] for start, end in hit.highlights] == ["quokka"]
        assert hit.conversation_title == "zoo"
    [only] = client.search_messages('"quokka sleep" -sun', conversation_id=made.id)
    assert only.message_id == made.message_ids[0]
    with pytest.raises(errors.InvalidRequest) as caught:
        list(client.search_messages('"'))
    assert caught.value.reason == "INVALID_FILTER"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_goes_up_and_comes_down_and_into_messages(client: Client, kind: str) -> None:
    data = picture(kind, 40, 30)
    stored = client.upload_image(io.BytesIO(data), name="tile")
    assert (stored.width, stored.height, stored.size_bytes, stored.name) == (40, 30, len(data), "tile")
    assert client.download_image(stored.blob_id).data == data
    made = client.create_conversation(messages=[{"text": "see", "images": [stored, image(data)]}])
    [message] = client.messages(made.id)
    assert [each.blob_id for each in message.images] == [stored.blob_id] * 2
    [message] = client.messages(made.id, image_bytes=True)
    assert [each.data for each in message.images] == [data] * 2


def test_a_large_picture_travels_with_a_message_all_the_same(client: Client) -> None:
    data = PNG + bytes(MAX_INLINE_BYTES)
    conversation = Conversation(client, client.create_conversation().id)
    message_id = conversation.add_message_with_image("user", "large", data)
    kept = client.get_message(conversation.id, message_id)
    assert kept.images[0].size_bytes == len(data)
    assert client.download_image(kept.images[0].blob_id).data == data


def test_what_is_no_picture_is_refused_with_its_reason(client: Client) -> None:
    for data, reason in [
        (b"no picture", "UNSUPPORTED_IMAGE_FORMAT"),
        (PNG[:50], "IMAGE_DECODE_FAILED"),
        (PNG + bytes(MAX_BYTES - len(PNG) + 1), "IMAGE_TOO_LARGE"),
    ]:
        with pytest.raises(errors.InvalidRequest) as caught:
            client.upload_image(data)
        assert caught.value.reason == reason
    with pytest.raises(errors.NotFound) as missing:
        client.download_image(f"sha256:{'0' * 64}")
    assert missing.value.reason == "BLOB_NOT_FOUND"


@pytest.mark.parametrize("style", ["proto_json", "guide_json", "openai_messages"])
def test_a_conversation_goes_to_a_file_and_comes_from_it(client: Client, style: Any, tmp_path: Path) -> None:
    conversation = Conversation(client, client.create_conversation(title="t").id)
    conversation.add_message("user", "hi é 🙂")
    conversation.add_tool_use("t1", "look", {"at": "it"})
    conversation.add_tool_result("t1", "seen")
    file = tmp_path / "file.json"
    assert client.export_conversation(conversation.id, file, format=style) == len(file.read_bytes())
    made = client.import_conversation(file, title="again")
    assert (made.title, made.message_count) == ("again", 3)
    assert client.render(made.id, include_tools=True) == conversation.get_single_prompt(include_tools=True)
    with pytest.raises(errors.InvalidRequest) as caught:
        client.import_conversation(b"no json", format=style)
    assert caught.value.reason == "INVALID_CONVERSATION"


def test_a_watch_outlives_the_server(real_data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to((real_data_dir / "models").resolve())
    seen: list[ConversationChange] = []
    with real_server(tmp_path) as target:
        port = int(target.rpartition(":")[2])
        client = Client(target)
        made = client.create_conversation(messages=["one"])
        changes = client.watch_conversation(made.id, after_revision=0)
        seen += [next(changes), next(changes)]
    with real_server(tmp_path, port), client:
        client.append(made.id, ["two"])
        client.update_message(made.id, made.message_ids[0], metadata={"hidden": True})
        seen += [next(changes), next(changes)]
        client.delete_conversation(made.id)
        seen += changes
    assert [(change.revision, change.kind) for change in seen] == [
        (1, "created"),
        (2, "message_appended"),
        (3, "message_appended"),
        (4, "message_updated"),
        (5, "deleted"),
    ]


def test_the_command_draws_and_finds_what_the_server_has(client: Client, real_target: str) -> None:
    made = client.create_conversation(title="pets", messages=["My wombat is called Mia."])
    client.append(made.id, [{"role": "assistant", "text": "Nice."}])
    client.append(made.id, [{"text": "Another way.", "parent_id": made.message_ids[0]}])

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["-s", real_target, "conversations", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert [re.sub(" [0-9a-f-]{36}", "", line) for line in run("tree", made.id).splitlines()[1:]] == [
        "├── user My wombat is called Mia.",
        "├── branch 1 of 2",
        "│   └── assistant Nice.",
        "└── branch 2 of 2",
        "    └── user Another way. ◀ head",
    ]
    [hit] = [json.loads(line) for line in run("search", "wombat", "--json").splitlines()]
    assert hit["conversationId"] == made.id
    assert made.id in run("list")


async def test_no_change_is_missed_or_told_twice_over_connections_cut_in_the_midst(real_target: str) -> None:
    chance = random.Random(7)
    cuts = 0
    told = []
    async with AsyncClient(real_target) as writer, way_to(real_target) as way, AsyncClient(way.target) as watcher:
        made = await writer.create_conversation()

        async def writes() -> None:
            for _ in range(CHANGES - 1):
                await writer.append(made.id, ["more"])

        writing = asyncio.create_task(writes())
        async with aclosing(watcher.watch_conversation(made.id, after_revision=0)) as changes:
            async for change in changes:
                told.append(change.revision)
                if change.revision == CHANGES:
                    break
                if chance.random() < 1 / 3:  # while others are on their way
                    cuts += way.cut()
        await writing
    assert told == list(range(1, CHANGES + 1))
    assert cuts > CHANGES / 10
