"""Every documented limit of the protos: a value just inside is taken, a value just outside is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf import struct_pb2, timestamp_pb2

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, message_pb2, step_run_pb2
from stepwired.errors import Reason
from stepwired.limits import KIB, MIB
from tests.rpc.asking import (
    Request,
    chat,
    create,
    keys,
    labels,
    message,
    nested,
    options,
    sized,
    step,
    struct,
    text_message,
    tool_result,
    tool_use,
    violations,
)


@dataclass(frozen=True)
class Limit:
    field: str
    reason: Reason
    inside: Any
    outside: Any
    make: Callable[[Any], Request]

    def __str__(self) -> str:
        return f"{self.field}-{str(self.outside)[:20]}"


R = Reason


ID_LIMITS = ("x" * 128, "x" * 129), ("A-Z.a_z:0", "has space"), ("x", "é"), ("x", "a/b")
TOOL_ID_LIMITS = ("x" * 4096, "x" * 4097), ("functions.w/0|fc 1+=", "é"), ("x", "a\nb")


def ids(field: str, make: Callable[[str], Request], limits: Sequence[tuple[str, str]] = ID_LIMITS) -> list[Limit]:
    return [Limit(field, R.FIELD_INVALID, inside, outside, make) for inside, outside in limits]


def times(field: str, make: Callable[[timestamp_pb2.Timestamp], Request]) -> list[Limit]:
    time = timestamp_pb2.Timestamp
    pairs = [
        (time(seconds=-62_135_596_800), time(seconds=-62_135_596_801)),
        (time(seconds=253_402_300_799, nanos=999_999_999), time(seconds=253_402_300_800)),
        (time(nanos=999_999_999), time(nanos=1_000_000_000)),
        (time(seconds=1, nanos=0), time(seconds=1, nanos=-1)),
    ]
    return [Limit(field, R.INVALID_TIME, inside, outside, make) for inside, outside in pairs]


def metadata(field: str, make: Callable[[struct_pb2.Struct], Request]) -> list[Limit]:
    def number(value: float) -> struct_pb2.Struct:
        return struct(a=value)

    pairs = [
        ("", sized(64 * KIB), sized(64 * KIB + 1)),
        (".a" * 32, nested(32), nested(33)),
        ("", keys(1000), keys(1001)),
        (".a", number(2**53 - 1), number(2**53)),
        (".a", number(-(2**53) + 1), number(-(2**53))),
        (".a", number(0.5), number(float("nan"))),
        (".a", number(0.5), number(float("inf"))),
        (".a", struct(a="\x01"), struct(a="\0")),
    ]
    return [Limit(field + more, R.INVALID_METADATA, inside, outside, make) for more, inside, outside in pairs]


def concurrency(field: str, make: Callable[[int], Request], most: int) -> list[Limit]:
    return [
        Limit(field, R.FIELD_INVALID, most, most + 1, make),
        Limit(field, R.FIELD_INVALID, 1, 0, make),
        Limit(field, R.FIELD_INVALID, 1, -1, make),
    ]


BAD = R.MODEL_CONFIG_INVALID


TEXT = R.INVALID_INPUT_TEXT


BIG = "x" * MIB


LIMIT_LIST = [
    # chat
    Limit("system", R.FIELD_INVALID, BIG, BIG + "x", lambda text: chat(system=text)),
    Limit("prompt", R.FIELD_INVALID, BIG, BIG + "x", lambda text: chat(prompt=text)),
    Limit("prompt", R.FIELD_INVALID, "é" * (MIB // 2), "é" * (MIB // 2) + "x", lambda text: chat(prompt=text)),
    Limit("prompt", R.FIELD_INVALID, "\x01", "a\0", lambda text: chat(prompt=text)),
    Limit("prompt", R.INVALID_CONVERSATION, "hi", "", lambda text: chat(prompt=text)),
    Limit("messages", R.FIELD_INVALID, 1000, 1001, lambda n: chat(messages=[message_pb2.Message(text="x")] * n)),
    Limit("messages", R.FIELD_INVALID, 8, 9, lambda n: chat(messages=[message_pb2.Message(text=BIG)] * n)),
    *ids("conversation_id", lambda value: chat(conversation_id=value)),
    *ids("parent_id", lambda value: chat(conversation_id="c", parent_id=value)),
    Limit("parent_id", R.FIELD_INVALID, "", "p", lambda value: chat(parent_id=value)),
    Limit("options.temperature", BAD, 0.0, -0.001, options("temperature")),
    Limit("options.temperature", BAD, 2.0, 2.001, options("temperature")),
    Limit("options.temperature", BAD, 1.0, float("nan"), options("temperature")),
    Limit("options.top_p", BAD, 0.0001, 0.0, options("top_p")),
    Limit("options.top_p", BAD, 1.0, 1.0001, options("top_p")),
    Limit("options.top_p", BAD, 1.0, float("nan"), options("top_p")),
    Limit("options.max_tokens", BAD, 1, 0, options("max_tokens")),
    Limit("options.max_tokens", BAD, 2**31 - 1, -1, options("max_tokens")),
    Limit("options.stop", BAD, ["x"] * 16, ["x"] * 17, options("stop")),
    Limit("options.stop[1]", BAD, ["x", "x" * 256], ["x", "x" * 257], options("stop")),
    Limit("options.stop[0]", BAD, ["x"], [""], options("stop")),
    Limit("options.seed", BAD, 0, -1, options("seed")),
    Limit("options.presence_penalty", BAD, 2.0, 2.1, options("presence_penalty")),
    Limit("options.presence_penalty", BAD, -2.0, -2.1, options("presence_penalty")),
    Limit("options.frequency_penalty", BAD, 2.0, 2.1, options("frequency_penalty")),
    Limit("options.frequency_penalty", BAD, -2.0, -2.1, options("frequency_penalty")),
    # messages
    *ids("messages[0].id", lambda value: text_message(id=value)),
    *ids("messages[0].parent_id", lambda value: text_message(parent_id=value)),
    *times("messages[0].create_time", lambda value: text_message(create_time=value)),
    *metadata("messages[0].metadata", lambda value: text_message(metadata=value)),
    Limit("messages[0].role", R.INVALID_MESSAGE, "assistant", "banana", lambda role: text_message(role=role)),
    Limit("messages[0].role", R.INVALID_MESSAGE, "user", "User", lambda role: text_message(role=role)),
    Limit("messages[0].text", R.FIELD_INVALID, BIG, BIG + "x", lambda text: message(text=text)),
    Limit("messages[0].text", R.FIELD_INVALID, "\x01", "\0", lambda text: message(text=text)),
    Limit("messages[0]", R.INVALID_MESSAGE, "x", "", lambda text: message(text=text)),
    Limit("messages[0].tool_use.tool_id", R.FIELD_REQUIRED, "t", "", lambda value: tool_use(tool_id=value)),
    *ids("messages[0].tool_use.tool_id", lambda value: tool_use(tool_id=value), TOOL_ID_LIMITS),
    Limit("messages[0].tool_use.name", R.FIELD_INVALID, "x" * 128, "x" * 129, lambda value: tool_use(name=value)),
    Limit("messages[0].tool_use.name", R.FIELD_REQUIRED, "x", "", lambda value: tool_use(name=value)),
    Limit(
        "messages[0].tool_use.input",
        R.INVALID_MESSAGE,
        sized(MIB),
        sized(MIB + 1),
        lambda value: tool_use(input=value),
    ),
    Limit("messages[0].tool_result.tool_id", R.FIELD_REQUIRED, "t", "", lambda value: tool_result(tool_id=value)),
    *ids("messages[0].tool_result.tool_id", lambda value: tool_result(tool_id=value), TOOL_ID_LIMITS),
    Limit("messages[0].tool_result.result", R.FIELD_INVALID, BIG, BIG + "x", lambda value: tool_result(result=value)),
    # conversations
    *ids("conversation_id", lambda value: create(conversation_id=value)),
    Limit("title", R.FIELD_INVALID, "x" * 1000, "x" * 1001, lambda value: create(title=value)),
    *metadata("metadata", lambda value: create(metadata=value)),
    Limit("messages", R.FIELD_INVALID, 1000, 1001, lambda n: create(messages=[message_pb2.Message(text="x")] * n)),
    Limit(
        "messages",
        R.FIELD_REQUIRED,
        1,
        0,
        lambda n: conversation_pb2.AppendMessagesRequest(
            conversation_id="c", messages=[message_pb2.Message(text="x")] * n
        ),
    ),
    Limit(
        "conversation_id",
        R.FIELD_REQUIRED,
        "c",
        "",
        lambda value: conversation_pb2.StreamMessagesRequest(conversation_id=value),
    ),
    Limit(
        "view",
        R.FIELD_INVALID,
        4,
        99,
        lambda value: conversation_pb2.StreamMessagesRequest(conversation_id="c", view=value),
    ),
    Limit(
        "format",
        R.FIELD_INVALID,
        2,
        99,
        lambda value: conversation_pb2.RenderConversationRequest(conversation_id="c", format=value),
    ),
    # embeddings
    Limit("texts", R.FIELD_REQUIRED, 1, 0, lambda n: embed_pb2.EmbedRequest(texts=["x"] * n)),
    Limit("texts", R.FIELD_INVALID, 256, 257, lambda n: embed_pb2.EmbedRequest(texts=["x"] * n)),
    Limit("texts[0]", TEXT, "x", "", lambda text: embed_pb2.EmbedRequest(texts=[text])),
    Limit("texts[0]", TEXT, " x ", " \n", lambda text: embed_pb2.EmbedRequest(texts=[text])),
    Limit("texts[1]", TEXT, 32 * KIB, 32 * KIB + 1, lambda n: embed_pb2.EmbedRequest(texts=["x", "x" * n])),
    Limit("texts", R.FIELD_INVALID, 256, 257, lambda n: embed_pb2.StreamEmbeddingsRequest(texts=["x" * 32 * KIB] * n)),
    Limit("texts", R.FIELD_INVALID, 2048, 2049, lambda n: embed_pb2.StreamEmbeddingsRequest(texts=["x"] * n)),
    Limit("texts", R.FIELD_REQUIRED, 1, 0, lambda n: embed_pb2.StreamEmbeddingsRequest(texts=["x"] * n)),
    Limit("texts[0]", TEXT, 32 * KIB, 32 * KIB + 1, lambda n: embed_pb2.StreamEmbeddingsRequest(texts=["x" * n])),
    Limit("query", R.FIELD_REQUIRED, "x", "", lambda text: embed_pb2.SearchRequest(query=text, documents=["d"])),
    Limit("query", TEXT, "x", " ", lambda text: embed_pb2.SearchRequest(query=text, documents=["d"])),
    Limit(
        "query",
        TEXT,
        "x" * 32 * KIB,
        "x" * (32 * KIB + 1),
        lambda text: embed_pb2.SearchRequest(query=text, documents=["d"]),
    ),
    Limit("documents", R.FIELD_INVALID, 2047, 2048, lambda n: embed_pb2.SearchRequest(query="q", documents=["d"] * n)),
    Limit("documents", R.FIELD_REQUIRED, 1, 0, lambda n: embed_pb2.SearchRequest(query="q", documents=["d"] * n)),
    Limit("documents[0]", TEXT, "d", "", lambda text: embed_pb2.SearchRequest(query="q", documents=[text])),
    Limit("top_k", R.FIELD_INVALID, 1, 0, lambda n: embed_pb2.SearchRequest(query="q", documents=["d"], top_k=n)),
    # steps
    Limit("steps[0].name", R.FIELD_INVALID, "x" * 128, "x" * 129, lambda value: step(name=value)),
    Limit("steps[0].labels", R.FIELD_INVALID, labels(64), labels(65), lambda value: step(labels=value)),
    Limit("steps[0].labels", R.FIELD_INVALID, {"x" * 256: ""}, {"x" * 257: ""}, lambda value: step(labels=value)),
    Limit("steps[0].labels", R.FIELD_INVALID, {"a": "x" * 256}, {"a": "x" * 257}, lambda value: step(labels=value)),
    *concurrency("steps[0].max_concurrency", lambda n: step(max_concurrency=n), 256),
    *concurrency("steps[0].buffer", lambda n: step(buffer=n), 1024),
    *concurrency(
        "steps[0].map.step.max_concurrency", lambda n: step(map={"step": {"gather": {}, "max_concurrency": n}}), 256
    ),
    Limit("steps[0].search.top_k", R.FIELD_INVALID, 1, 0, lambda n: step(search={"top_k": n})),
    Limit("steps[0].chat.system", R.FIELD_INVALID, BIG, BIG + "x", lambda text: step(chat={"system": text})),
    Limit("steps[0].chat.options.temperature", BAD, 2, 3, lambda n: step(chat={"options": {"temperature": n}})),
    Limit(
        "steps[0].render.template",
        R.FIELD_INVALID,
        "x" * 64 * KIB,
        "x" * (64 * KIB + 1),
        lambda text: step(render={"template": text}),
    ),
    Limit(
        "input",
        R.STEP_INPUT_INVALID,
        0.5,
        float("nan"),
        lambda n: step_run_pb2.RunStepRequest(input=struct_pb2.Value(number_value=n)),
    ),
]


@pytest.mark.parametrize("limit", LIMIT_LIST, ids=str)
def test_a_value_just_inside_a_limit_is_taken(limit: Limit) -> None:
    assert violations(limit.make(limit.inside)) == ()


@pytest.mark.parametrize("limit", LIMIT_LIST, ids=str)
def test_a_value_just_outside_a_limit_is_refused_by_its_name(limit: Limit) -> None:
    (found,) = violations(limit.make(limit.outside))
    assert (found.field, found.reason) == (limit.field, limit.reason)
    assert found.description


def test_all_faults_are_reported_at_once_in_the_order_of_the_request() -> None:
    request = chat_pb2.StreamChatRequest(
        system="\0",
        messages=[
            message_pb2.Message(role="banana", text="x", id="no id"),
            message_pb2.Message(text="fine"),
            message_pb2.Message(),
            message_pb2.Message(text="x", id="same", parent_id="same"),
            message_pb2.Message(tool_use=message_pb2.ToolUse(), metadata=nested(33)),
        ],
        conversation_id="no id",
        options=chat_pb2.ChatOptions(temperature=3, top_p=0, stop=["", "x"], seed=-1),
    )
    assert [found.field for found in violations(request)] == [
        "system",
        "messages[0].id",
        "messages[0].role",
        "messages[2]",
        "messages[3].parent_id",
        "messages[4].metadata" + ".a" * 32,
        "messages[4].tool_use.tool_id",
        "messages[4].tool_use.name",
        "conversation_id",
        "options.temperature",
        "options.top_p",
        "options.stop[0]",
        "options.seed",
    ]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"role": "user", "tool_use": {"tool_id": "t", "name": "n"}}, "messages[0].role"),
        ({"role": "assistant", "tool_result": {"tool_id": "t"}}, "messages[0].role"),
        ({"text": "x", "tool_use": {"tool_id": "t", "name": "n"}}, "messages[0]"),
        ({"text": "x", "tool_result": {"tool_id": "t"}}, "messages[0]"),
        ({"text": "x", "reasoning": {"text": "thought"}}, "messages[0].reasoning"),
        ({"role": "assistant", "reasoning": {"text": "thought"}}, None),
        ({"tool_use": {"tool_id": "t", "name": "n"}}, None),
        ({"tool_result": {"tool_id": "t"}}, None),
    ],
)
def test_a_message_is_one_thing_and_its_role_fits(fields: dict[str, Any], wrong: str | None) -> None:
    found = violations(message(**fields))
    assert [violation.field for violation in found] == ([wrong] if wrong else [])
    assert {violation.reason for violation in found} <= {Reason.INVALID_MESSAGE}
