"""Failed calls become errors of our own, with all that the server said and as little as a proxy says."""

from __future__ import annotations

import pickle
import socket
from typing import Any

import grpc
import pytest

from stepwire import AsyncClient, errors
from stepwire.v1 import message_pb2
from stepwire.v1.error_reason_pb2 import ErrorReason
from tests.sdk.refusing import refuse
from tests.sdk.scripted import Server, started

FAMILIES = {
    "INVALID_ARGUMENT": errors.InvalidRequest,
    "OUT_OF_RANGE": errors.InvalidRequest,
    "NOT_FOUND": errors.NotFound,
    "ALREADY_EXISTS": errors.Conflict,
    "ABORTED": errors.Conflict,
    "UNAUTHENTICATED": errors.Denied,
    "PERMISSION_DENIED": errors.Denied,
    "FAILED_PRECONDITION": errors.Misconfigured,
    "RESOURCE_EXHAUSTED": errors.Throttled,
    "UNAVAILABLE": errors.Unavailable,
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
    "CANCELLED": errors.Cancelled,
    "UNKNOWN": errors.ServerError,
    "INTERNAL": errors.ServerError,
    "DATA_LOSS": errors.ServerError,
    "UNIMPLEMENTED": errors.ServerError,
}

FAILING = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


async def fail_with(client: AsyncClient, server: Server, *args: Any, **kwargs: Any) -> errors.Error:
    async def fails(request: Any, context: Any) -> Any:
        await refuse(context, *args, **kwargs)

    server.on["Chat"] = fails
    with pytest.raises(errors.Error) as caught:
        await client.chat("hi")
    return caught.value


@pytest.mark.parametrize("code", FAILING, ids=lambda code: code.name)
async def test_each_status_is_an_error_of_our_own(client: AsyncClient, server: Server, code: grpc.StatusCode) -> None:
    error = await fail_with(client, server, code)
    assert type(error) is FAMILIES[code.name]
    assert (error.code, error.reason, error.retry_after_s, error.request_id) == (code.name, "", None, "")
    assert error.__cause__ is None
    assert error.__suppress_context__  # nothing of gRPC in the traceback either


@pytest.mark.parametrize("code", FAILING, ids=lambda code: code.name)
async def test_each_status_is_one_in_the_middle_of_a_stream_too(
    client: AsyncClient, server: Server, code: grpc.StatusCode
) -> None:
    async def fails(request: Any, context: Any) -> Any:
        yield started()
        await refuse(context, code, reason="INTERNAL")

    server.on["StreamChat"] = fails
    with pytest.raises(FAMILIES[code.name]) as caught:
        async for _ in client.stream_chat("hi"):
            pass
    assert caught.value.code == code.name


async def test_an_error_holds_all_that_the_server_said(client: AsyncClient, server: Server) -> None:
    error = await fail_with(
        client,
        server,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the rate limit was reached",
        reason="PROVIDER_RATE_LIMITED",
        retry_after_s=2.5,
        request_id="req-1",
        metadata={"provider": "openai"},
    )
    assert isinstance(error, errors.Throttled)
    assert error.message == "the rate limit was reached"
    assert error.reason == "PROVIDER_RATE_LIMITED"
    assert error.retry_after_s == 2.5
    assert error.is_transient
    assert error.request_id == "req-1"
    assert error.metadata == {"provider": "openai"}
    assert str(error) == "the rate limit was reached (PROVIDER_RATE_LIMITED, request req-1)"


async def test_violations_keep_their_order(client: AsyncClient, server: Server) -> None:
    faults = (("messages[0].role", "is no role", "INVALID_MESSAGE"), ("options.top_p", "above 1", "FIELD_INVALID"))
    error = await fail_with(
        client, server, grpc.StatusCode.INVALID_ARGUMENT, reason="INVALID_MESSAGE", violations=faults
    )
    assert [(fault.field, fault.description, fault.reason) for fault in error.violations] == list(faults)


async def test_the_request_id_may_come_as_a_bare_trailer(client: AsyncClient, server: Server) -> None:
    async def fails(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no", (("x-request-id", "req-2"),))

    server.on["Chat"] = fails
    with pytest.raises(errors.NotFound) as caught:
        await client.chat("hi")
    assert caught.value.request_id == "req-2"


@pytest.mark.parametrize("details", [b"", b"\xff\xff\xff", b"\x1a\x05\x0a\x03abc"])
async def test_details_that_make_no_sense_leave_code_and_message(
    client: AsyncClient, server: Server, details: bytes
) -> None:
    async def fails(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing", (("grpc-status-details-bin", details),))

    server.on["Chat"] = fails
    with pytest.raises(errors.NotFound, match="no such thing") as caught:
        await client.chat("hi")
    assert caught.value.reason == ""


@pytest.mark.parametrize(
    ("code", "reason", "family"),
    [
        ("FAILED_PRECONDITION", "CONTENT_BLOCKED", errors.InvalidRequest),
        ("ABORTED", "INTERNAL_CANCELLED", errors.Unavailable),
        ("PERMISSION_DENIED", "PROVIDER_PERMISSION_DENIED", errors.Misconfigured),
        ("UNKNOWN", "STEP_EXECUTION_FAILED", errors.StepFailed),
        ("INVALID_ARGUMENT", "STEP_OUTPUT_INVALID", errors.StepFailed),
        ("NOT_FOUND", "A_REASON_OF_LATER", errors.NotFound),
    ],
)
def test_a_reason_says_more_than_its_code(code: str, reason: str, family: type[errors.Error]) -> None:
    assert errors.family(code, reason) is family


def test_reasons_that_choose_a_family_are_declared() -> None:
    declared = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118  an enum, no dict
    assert set(errors._BY_REASON) <= declared


async def test_an_item_that_failed_is_an_error_like_any_other(client: AsyncClient, server: Server) -> None:
    from stepwire._status import of_item

    failure = message_pb2.Failure(reason="PROVIDER_OVERLOADED", message="busy", code=14, metadata={"provider": "p"})
    failure.retry_delay.FromMilliseconds(1500)
    error = of_item(failure)
    assert isinstance(error, errors.Unavailable)
    assert (error.retry_after_s, error.metadata) == (1.5, {"provider": "p"})


async def test_no_server_is_unavailable_and_names_the_address() -> None:
    with socket.socket() as taken:  # bound and not listening: nothing can answer there meanwhile
        taken.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{taken.getsockname()[1]}"
        async with AsyncClient(target) as client:
            with pytest.raises(errors.Unavailable, match=f"no answer from {target}") as caught:
                await client.chat("hi")
    assert caught.value.is_transient


async def test_a_server_of_another_kind_is_told_from_a_broken_one(client: AsyncClient, server: Server) -> None:
    error = await fail_with(client, server, grpc.StatusCode.UNIMPLEMENTED)
    assert "no Stepwire server, or an older one" in error.message


async def test_a_reply_above_the_limit_is_an_error_of_our_own(client: AsyncClient, server: Server) -> None:
    async def huge(request: Any, context: Any) -> Any:
        from stepwire.v1 import chat_pb2

        return chat_pb2.ChatResponse(text="x" * (9 * 1024 * 1024))

    server.on["Chat"] = huge
    with pytest.raises(errors.Throttled):
        await client.chat("hi")


def test_an_error_survives_pickling() -> None:
    error = errors.NotFound("no", code="NOT_FOUND", reason="MODEL_NOT_FOUND", request_id="r", metadata={"model": "x"})
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.NotFound
    assert copy.__dict__ == error.__dict__
    assert str(copy) == str(error)
