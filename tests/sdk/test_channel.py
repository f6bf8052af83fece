"""The connection's options: what gRPC repeats by itself, and what it must not."""

from __future__ import annotations

import inspect
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, _channel, errors
from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, pipeline_pb2, step_run_pb2
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server


def failing_first(server: Server, method: str, failures: int, **how: Any) -> None:
    behaviour = server.on[method]

    async def unary(request: Any, context: Any) -> Any:
        if server.script.count(method) <= failures:
            await refuse(context, **how)
        return await behaviour(request, context)  # type: ignore[misc]

    async def stream(request: Any, context: Any) -> Any:
        if server.script.count(method) <= failures:
            await refuse(context, **how)
        async for response in behaviour(request, context):  # type: ignore[union-attr]
            yield response

    server.on[method] = stream if inspect.isasyncgenfunction(behaviour) else unary


OVERLOADED = {"code": grpc.StatusCode.UNAVAILABLE, "reason": "SERVER_DRAINING"}


async def test_a_read_that_found_the_server_unavailable_is_repeated(client: AsyncClient, server: Server) -> None:
    failing_first(server, "ListSteps", failures=2, **OVERLOADED)
    assert len(await client.list_steps()) == 1
    attempts = [metadata.get("grpc-previous-rpc-attempts") for metadata in server.script.metadata]
    assert attempts == [None, "1", "2"]


async def test_four_attempts_are_all(client: AsyncClient, server: Server) -> None:
    failing_first(server, "ListSteps", failures=9, **OVERLOADED)
    with pytest.raises(errors.Unavailable):
        await client.list_steps()
    assert server.script.count("ListSteps") == 4


async def test_a_push_back_is_waited_for(client: AsyncClient, server: Server) -> None:
    failing_first(server, "ListSteps", failures=1, pushback_ms=400, **OVERLOADED)
    began = time.monotonic()
    await client.list_steps()
    assert time.monotonic() - began >= 0.4  # its own first delay is 0.1 s at most


async def test_a_negative_push_back_ends_the_attempts(client: AsyncClient, server: Server) -> None:
    failing_first(server, "ListSteps", failures=9, pushback_ms=-1, **OVERLOADED)
    with pytest.raises(errors.Unavailable):
        await client.list_steps()
    assert server.script.count("ListSteps") == 1


@pytest.mark.parametrize("method", ["Chat", "UpdateConversation", "DeleteConversation", "UpdateMessage", "RunStep"])
async def test_what_may_have_happened_is_not_repeated(client: AsyncClient, server: Server, method: str) -> None:
    failing_first(server, method, failures=9, **OVERLOADED)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "Chat": lambda: client.chat("hi"),
        "UpdateConversation": lambda: client.update_conversation("c1", title="t"),
        "DeleteConversation": lambda: client.delete_conversation("c1"),
        "UpdateMessage": lambda: client.update_message("c1", "m1", metadata={}),
        "RunStep": lambda: client.collect("upper", "a"),
    }
    with pytest.raises(errors.Unavailable):
        await calls[method]()
    assert server.script.count(method) == 1


@pytest.mark.parametrize("method", ["CreateConversation", "AppendMessages", "ForkConversation"])
async def test_what_has_a_request_id_is_repeated_with_the_same_one(
    client: AsyncClient, server: Server, method: str
) -> None:
    await client.create_conversation(conversation_id="c1", messages=["hi"])
    server.script.calls.clear()
    failing_first(server, method, failures=2, **OVERLOADED)
    calls: dict[str, Callable[..., Awaitable[object]]] = {
        "CreateConversation": client.create_conversation,
        "AppendMessages": partial(client.append, "c1", ["hi"]),
        "ForkConversation": partial(client.fork_conversation, "c1"),
    }
    await calls[method]()
    sent = [request.request_id for _, request in server.script.calls]
    assert len(sent) == 3
    assert len(set(sent)) == 1
    assert uuid.UUID(sent[0]).version == 4
    await calls[method]()
    assert server.script.last(method).request_id != sent[0]
    await calls[method](request_id="mine")
    assert server.script.last(method).request_id == "mine"


async def test_other_codes_are_not_repeated(client: AsyncClient, server: Server) -> None:
    failing_first(server, "ListSteps", failures=9, code=grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_s=0.1)
    with pytest.raises(errors.Throttled):
        await client.list_steps()
    assert server.script.count("ListSteps") == 1


def test_methods_that_are_repeated_exist_and_the_others_change_something() -> None:
    declared = {
        service.full_name: {method.name for method in service.methods}
        for module in (chat_pb2, embed_pb2, conversation_pb2, step_run_pb2, pipeline_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    once = {
        method
        for service, methods in declared.items()
        for method in methods - set(_channel.IDEMPOTENT.get(service, ()))
    }
    assert all(set(methods) <= declared[service] for service, methods in _channel.IDEMPOTENT.items())
    assert once == {
        "Chat",
        "CollectStep",
        "Converse",
        "DeleteConversation",
        "DeletePipeline",
        "ImportConversation",
        "RunInteractive",
        "RunStep",
        "ServeSteps",  # goes on by itself, see test_worker
        "StreamChat",
        "UpdateConversation",
        "UpdateMessage",
        "UploadImage",
        "WatchConversation",  # goes on by itself, see test_watch
    }


def test_a_connection_is_watched_while_it_is_silent() -> None:
    options = dict(_channel.options())
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.keepalive_timeout_ms"] == options["grpc.http2.ping_timeout_ms"] == 10_000
    assert options["grpc.http2.max_pings_without_data"] == 0
    assert options["grpc.max_reconnect_backoff_ms"] == 5_000
    assert options["grpc.max_receive_message_length"] == 8 * 1024 * 1024


def test_retries_are_throttled_and_only_for_unavailable() -> None:
    config = json.loads(str(dict(_channel.options())["grpc.service_config"]))
    [method] = config["methodConfig"]
    assert method["retryPolicy"] == {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    assert config["retryThrottling"] == {"maxTokens": 10, "tokenRatio": 0.1}


async def test_the_server_is_told_who_calls(client: AsyncClient, server: Server) -> None:
    await client.list_steps()
    assert str(server.script.metadata[0]["user-agent"]).startswith("stepwire-python/")
