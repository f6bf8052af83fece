"""Every documented limit of `conversation.proto` and of pictures: just inside is taken, just outside is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import duration_pb2, field_mask_pb2

from stepwire.v1 import chat_pb2, conversation_pb2, message_pb2
from stepwired.limits import KIB, MIB
from tests.rpc.asking import Request, chat, create, picture, text_message, violations
from tests.rpc.test_convert_limits import Limit, R, ids, metadata, times

C = conversation_pb2
BLOB = "sha256:" + "0123456789abcdef" * 4
BAD_BLOBS = ["sha256:" + "a" * 63, "sha256:" + "a" * 65, "sha256:" + "A" * 64, "a" * 64, "sha1:" + "a" * 64]
BAD_URLS = [
    "ftp://a/b",
    "file:///etc/passwd",
    "data:image/png;base64,aa",
    "http://",
    "a.png",
    "http://a/ b",
    "http://[a/b",
]


def append(**fields: Any) -> Request:
    return C.AppendMessagesRequest(**{"conversation_id": "c", "messages": [message_pb2.Message(text="x")], **fields})


def listing(**fields: Any) -> Request:
    return C.ListConversationsRequest(**fields)


def update(**fields: Any) -> Request:
    return C.UpdateConversationRequest(conversation=C.Conversation(**{"id": "c", "title": "t", **fields}))


def masked(*paths: str, **fields: Any) -> Request:
    mask = field_mask_pb2.FieldMask(paths=paths)
    return C.UpdateConversationRequest(conversation=C.Conversation(**{"id": "c", **fields}), update_mask=mask)


def fork(**fields: Any) -> Request:
    return C.ForkConversationRequest(**{"conversation_id": "c", **fields})


def get_message(**fields: Any) -> Request:
    return C.GetMessageRequest(**{"conversation_id": "c", "message_id": "m", **fields})


def update_message(**fields: Any) -> Request:
    return C.UpdateMessageRequest(**{"conversation_id": "c", "message_id": "m", "status": 1, **fields})


def search(**fields: Any) -> Request:
    return C.SearchMessagesRequest(**{"query": "q", **fields})


def watch(**fields: Any) -> Request:
    return C.WatchConversationRequest(**{"conversation_id": "c", **fields})


def export(**fields: Any) -> Request:
    return C.ExportConversationRequest(**{"conversation_id": "c", **fields})


def import_(**fields: Any) -> Request:
    return C.ImportConversationRequest(**fields)


def needed(field: str, make: Callable[[str], Request]) -> list[Limit]:
    return [*ids(field, make), Limit(field, R.FIELD_REQUIRED, "x", "", make)]


def request_ids(make: Callable[[str], Request]) -> list[Limit]:
    pairs = [("x" * 36, "x" * 37), ("a b~!", "a\tb"), ("x", "é"), ("x", "\x7f"), ("x", "a\0")]
    return [Limit("request_id", R.FIELD_INVALID, inside, outside, make) for inside, outside in pairs]


def inline(*sizes: int) -> Request:
    return create(messages=[message_pb2.Message(images=[message_pb2.Image(data=b"x" * size)]) for size in sizes])


def seconds(value: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(value), nanos=round((value - int(value)) * 1e9))


LIMITS = [
    # pictures
    Limit("messages[0].images", R.FIELD_INVALID, 16, 17, lambda n: text_message(images=[{"blob_id": BLOB}] * n)),
    Limit("messages[0].images[0].data", R.IMAGE_TOO_LARGE, 4 * MIB, 4 * MIB + 1, lambda n: picture(data=b"x" * n)),
    Limit("messages[0].images[0].data", R.FIELD_REQUIRED, b"x", b"", lambda data: picture(data=data)),
    Limit("messages", R.IMAGE_TOO_LARGE, (4 * MIB, 4 * MIB), (4 * MIB, 4 * MIB, 1), lambda sizes: inline(*sizes)),
    Limit("messages[0].images[0]", R.FIELD_REQUIRED, {"blob_id": BLOB}, {}, lambda fields: picture(**fields)),
    Limit(
        "messages[0].images[0].uri",
        R.FIELD_INVALID,
        "https://a/" + "x" * 2038,
        "https://a/" + "x" * 2039,
        lambda uri: picture(uri=uri),
    ),
    Limit("messages[0].images[0].uri", R.FIELD_REQUIRED, "http://a", "", lambda uri: picture(uri=uri)),
    *(
        Limit(
            "messages[0].images[0].uri",
            R.FIELD_INVALID,
            "http://a.b:1/c?d=e&f=%20#g",
            url,
            lambda uri: picture(uri=uri),
        )
        for url in BAD_URLS
    ),
    *(
        Limit("messages[0].images[0].blob_id", R.FIELD_INVALID, BLOB, bad, lambda value: picture(blob_id=value))
        for bad in BAD_BLOBS
    ),
    Limit(
        "messages[0].images[0].server_path",
        R.FIELD_INVALID,
        "/" + "x" * 4095,
        "/" + "x" * 4096,
        lambda path: picture(server_path=path),
    ),
    Limit("messages[0].images[0].server_path", R.FIELD_INVALID, "/a", "/a\0", lambda path: picture(server_path=path)),
    Limit(
        "messages[0].images[0].fetch",
        R.FIELD_INVALID,
        {"uri": "http://a"},
        {"blob_id": BLOB},
        lambda fields: picture(fetch=True, **fields),
    ),
    Limit(
        "messages[0].images[0].name",
        R.FIELD_INVALID,
        "é" * 128,
        "é" * 128 + "x",
        lambda value: picture(blob_id=BLOB, name=value),
    ),
    Limit(
        "messages[0].images[0].detail",
        R.FIELD_INVALID,
        "high",
        "High",
        lambda value: picture(blob_id=BLOB, detail=value),
    ),
    # what makes calls safe
    *request_ids(lambda value: create(request_id=value)),
    *request_ids(lambda value: append(request_id=value)),
    *request_ids(lambda value: fork(request_id=value)),
    Limit("if_revision", R.FIELD_INVALID, "c", "", lambda value: chat(conversation_id=value, if_revision=1)),
    # conversations
    *needed("conversation_id", lambda value: C.GetConversationRequest(conversation_id=value)),
    *needed("conversation_id", lambda value: C.DeleteConversationRequest(conversation_id=value)),
    Limit("page_size", R.FIELD_INVALID, 1000, 1001, lambda n: listing(page_size=n)),
    Limit("page_size", R.FIELD_INVALID, 1, -1, lambda n: listing(page_size=n)),
    Limit("page_token", R.INVALID_PAGE_TOKEN, "", "abc", lambda value: listing(page_token=value)),
    Limit("labels", R.FIELD_INVALID, 16, 17, lambda n: listing(labels={str(index): "" for index in range(n)})),
    Limit("labels", R.FIELD_INVALID, "\x01", "\0", lambda value: listing(labels={"a": value})),
    Limit("order", R.FIELD_INVALID, 2, 3, lambda n: listing(order=n)),
    *times("create_time_from", lambda value: listing(create_time_from=value)),
    *times("create_time_before", lambda value: listing(create_time_before=value)),
    *times("update_time_from", lambda value: listing(update_time_from=value)),
    *needed("conversation.id", lambda value: update(id=value)),
    Limit("conversation.title", R.FIELD_INVALID, "x" * 1000, "x" * 1001, lambda value: update(title=value)),
    *metadata("conversation.metadata", lambda value: update(metadata=value)),
    *ids("conversation.head_id", lambda value: update(head_id=value)),
    Limit("conversation.head_id", R.FIELD_REQUIRED, "x", "", lambda value: masked("head_id", head_id=value)),
    Limit("update_mask.paths[0]", R.FIELD_INVALID, "title", "revision", masked),
    Limit("update_mask.paths[0]", R.FIELD_INVALID, "metadata", "metadata.a", masked),
    Limit("update_mask.paths[0]", R.FIELD_INVALID, "title", "*", masked),
    Limit("update_mask", R.FIELD_REQUIRED, "t", "", lambda value: masked(title=value)),
    Limit(
        "metadata_update",
        R.FIELD_INVALID,
        2,
        3,
        lambda n: C.UpdateConversationRequest(conversation=C.Conversation(id="c", title="t"), metadata_update=n),
    ),
    *needed("conversation_id", lambda value: fork(conversation_id=value)),
    *ids("message_id", lambda value: fork(message_id=value)),
    *ids("new_conversation_id", lambda value: fork(new_conversation_id=value)),
    Limit("title", R.FIELD_INVALID, "x" * 1000, "x" * 1001, lambda value: fork(title=value)),
    # messages
    *needed("conversation_id", lambda value: get_message(conversation_id=value)),
    *needed("message_id", lambda value: get_message(message_id=value)),
    *needed("conversation_id", lambda value: update_message(conversation_id=value)),
    *needed("message_id", lambda value: update_message(message_id=value)),
    *metadata("metadata", lambda value: update_message(metadata=value)),
    Limit("metadata", R.FIELD_REQUIRED, 1, 0, lambda n: update_message(status=n)),
    Limit("status", R.FIELD_INVALID, 2, 3, lambda n: update_message(status=n)),
    Limit("metadata_update", R.FIELD_INVALID, 1, -1, lambda n: update_message(metadata_update=n)),
    Limit("query", R.INVALID_FILTER, "x" * KIB, "x" * (KIB + 1), lambda value: search(query=value)),
    Limit("query", R.INVALID_FILTER, "x", " ", lambda value: search(query=value)),
    Limit("page_size", R.FIELD_INVALID, 100, 101, lambda n: search(page_size=n)),
    Limit("page_token", R.INVALID_PAGE_TOKEN, "", "x", lambda value: search(page_token=value)),
    *ids("conversation_id", lambda value: search(conversation_id=value)),
    # watching
    *needed("conversation_id", lambda value: watch(conversation_id=value)),
    Limit("after_revision", R.FIELD_INVALID, 0, -1, lambda n: watch(after_revision=n)),
    Limit("heartbeat_interval", R.FIELD_INVALID, 1.0, 0.999, lambda s: watch(heartbeat_interval=seconds(s))),
    Limit("heartbeat_interval", R.FIELD_INVALID, 600.0, 600.001, lambda s: watch(heartbeat_interval=seconds(s))),
    # files
    Limit("name", R.FIELD_INVALID, "x" * 256, "x" * 257, lambda value: C.UploadImageRequest(name=value)),
    Limit("blob_id", R.FIELD_REQUIRED, BLOB, "", lambda value: C.DownloadImageRequest(blob_id=value)),
    *(
        Limit("blob_id", R.FIELD_INVALID, BLOB, bad, lambda value: C.DownloadImageRequest(blob_id=value))
        for bad in BAD_BLOBS
    ),
    *needed("conversation_id", lambda value: export(conversation_id=value)),
    Limit("format", R.FIELD_INVALID, 3, 4, lambda n: export(format=n)),
    Limit("view", R.FIELD_INVALID, C.MESSAGE_VIEW_LEFTMOST, C.MESSAGE_VIEW_PATH_TO, lambda n: export(view=n)),
    Limit("view", R.FIELD_INVALID, C.MESSAGE_VIEW_ALL, 9, lambda n: export(view=n)),
    Limit("format", R.FIELD_INVALID, 3, -1, lambda n: import_(format=n)),
    *ids("conversation_id", lambda value: import_(conversation_id=value)),
    Limit("title", R.FIELD_INVALID, "x" * 1000, "x" * 1001, lambda value: import_(title=value)),
]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_a_value_just_inside_a_limit_is_taken(limit: Limit) -> None:
    assert violations(limit.make(limit.inside)) == ()


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_a_value_just_outside_a_limit_is_refused_by_its_name(limit: Limit) -> None:
    (found,) = violations(limit.make(limit.outside))
    assert (found.field, found.reason) == (limit.field, limit.reason)
    assert found.description


def test_every_request_has_its_limits_tested() -> None:
    requests = {type(limit.make(limit.inside)).DESCRIPTOR.name for limit in LIMITS}
    asked = {method.input_type.name for method in C.DESCRIPTOR.services_by_name["ConversationService"].methods}
    elsewhere = {"StreamMessagesRequest", "RenderConversationRequest"}
    assert asked - elsewhere <= requests
    assert isinstance(chat(), chat_pb2.StreamChatRequest)
