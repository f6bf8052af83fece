from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from stepwire.v1 import chat_pb2
from stepwire.v1.error_reason_pb2 import ErrorReason
from stepwired.errors import Failure, InvalidRequest, Reason, Subject, Violation
from stepwired.events import Batch, Chat, ChatRequest
from stepwired.rpc import status
from tests.rpc.serving import echo, serve, told

#: The table of the error contract, written once more: a change of a code has to be made on purpose.
CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: """
        MALFORMED_REQUEST FIELD_REQUIRED FIELD_INVALID INVALID_MESSAGE INVALID_CONVERSATION INVALID_TIME
        INVALID_METADATA INVALID_INPUT_TEXT INVALID_PAGE_TOKEN MODEL_CONFIG_INVALID MODEL_FEATURE_UNSUPPORTED
        CONTEXT_LENGTH_EXCEEDED
        PROVIDER_REJECTED_REQUEST PROVIDER_REQUEST_TOO_LARGE STEP_GRAPH_INVALID STEP_INPUT_INVALID STEP_OUTPUT_INVALID
        REQUEST_ID_MISMATCH INVALID_FILTER UNSUPPORTED_IMAGE_FORMAT IMAGE_TOO_LARGE IMAGE_DECODE_FAILED
        IMAGE_URL_UNAVAILABLE TOOL_NOT_ALLOWED MAX_TOKENS_TOO_LARGE
    """,
    grpc.StatusCode.NOT_FOUND: """
        CONVERSATION_NOT_FOUND MESSAGE_NOT_FOUND MODEL_NOT_FOUND FILE_NOT_FOUND BLOB_NOT_FOUND
        PIPELINE_NOT_FOUND
    """,
    grpc.StatusCode.ALREADY_EXISTS: "CONVERSATION_EXISTS MESSAGE_ID_EXISTS STEP_EXISTS PIPELINE_EXISTS",
    grpc.StatusCode.RESOURCE_EXHAUSTED: """
        RESPONSE_TOO_LARGE CONCURRENCY_LIMITED SLOW_CONSUMER SLOW_PRODUCER PROVIDER_RATE_LIMITED
        PROVIDER_QUOTA_EXHAUSTED PROVIDER_RESPONSE_TOO_LARGE STEP_LIMIT_EXCEEDED STORE_FULL
    """,
    grpc.StatusCode.UNAVAILABLE: """
        SERVER_DRAINING PROVIDER_OVERLOADED PROVIDER_ERROR PROVIDER_UNREACHABLE PROVIDER_TIMEOUT PROVIDER_STREAM_STALLED
        PROVIDER_STREAM_TRUNCATED PROVIDER_PROTOCOL_ERROR MODEL_LOADING STORE_UNAVAILABLE STORE_IO_ERROR
        WORKER_LOST NO_WORKER
    """,
    grpc.StatusCode.FAILED_PRECONDITION: """
        PROVIDER_API_KEY_INVALID PROVIDER_NOT_CONFIGURED PROVIDER_ACCOUNT_PROBLEM CONTENT_BLOCKED PROVIDER_TLS_INVALID
        PROVIDER_REDIRECT_REFUSED MODEL_LOAD_FAILED STORE_VERSION_UNSUPPORTED
        STRUCTURED_OUTPUT_INVALID
    """,
    grpc.StatusCode.PERMISSION_DENIED: "PROVIDER_PERMISSION_DENIED FILE_ACCESS_DENIED",
    grpc.StatusCode.OUT_OF_RANGE: "FEED_COMPACTED",
    grpc.StatusCode.ABORTED: "STORE_CONFLICT INTERNAL_CANCELLED REVISION_MISMATCH REQUEST_IN_PROGRESS",
    grpc.StatusCode.DEADLINE_EXCEEDED: "STEP_TIMEOUT",
    grpc.StatusCode.UNAUTHENTICATED: "PROVIDER_CALLER_KEY_INVALID",
    grpc.StatusCode.DATA_LOSS: "STORE_CORRUPT",
    grpc.StatusCode.UNKNOWN: "STEP_EXECUTION_FAILED",
    grpc.StatusCode.INTERNAL: "INTERNAL",
}
RETRYABLE = {
    "CONCURRENCY_LIMITED",
    "SERVER_DRAINING",
    "PROVIDER_RATE_LIMITED",
    "PROVIDER_OVERLOADED",
    "PROVIDER_ERROR",
    "PROVIDER_UNREACHABLE",
    "PROVIDER_TIMEOUT",
    "PROVIDER_STREAM_STALLED",
    "PROVIDER_STREAM_TRUNCATED",
    "MODEL_LOADING",
    "STORE_CONFLICT",
    "STORE_UNAVAILABLE",
    "INTERNAL_CANCELLED",
    "WORKER_LOST",
    "NO_WORKER",
    "REQUEST_IN_PROGRESS",
}


def test_every_declared_reason_has_a_code() -> None:
    declared = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118  no mapping
    assert {str(reason) for reason in status.TABLE} == declared == {str(reason) for reason in Reason}


def test_the_codes_are_those_of_the_contract() -> None:
    contract = {name: code for code, names in CODES.items() for name in names.split()}
    assert {str(reason): code for reason, (code, _) in status.TABLE.items()} == contract


@pytest.mark.parametrize("reason", list(Reason))
async def test_every_reason_reaches_a_client_whole(reason: Reason) -> None:
    async with serve(failing_with(reason)) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi")).read()
    error = told(caught.value)
    assert error.code is status.code_of(reason)
    assert (error.reason, error.message) == (reason, "what went wrong")
    assert error.facts == {"someFact": "1"}
    assert error.request_id == error.trailers["x-request-id"] != ""
    assert (error.retry_after_s is not None) == (reason in RETRYABLE)
    if error.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        wait = -1 if error.retry_after_s is None else round(error.retry_after_s * 1000)
        assert error.trailers["grpc-retry-pushback-ms"] == str(wait)
    else:
        assert "grpc-retry-pushback-ms" not in error.trailers
    assert len(error.kinds) == len(set(error.kinds))


def failing_with(reason: Reason) -> Chat:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        raise Failure(reason, "what went wrong", metadata={"someFact": "1"}, subject=Subject("model", "m"))
        yield []

    return chat


def details(said: status.Status) -> status_pb2.Status:
    return status_pb2.Status.FromString(said.details)


def test_many_violations_are_cut_with_a_count() -> None:
    violations = [Violation(f"messages[{index}].role", "`banana` is no role") for index in range(5000)]
    said = status.of(InvalidRequest.of(violations), "id")
    assert len(said.details) <= status.MAX_STATUS_BYTES
    told_of = error_details_pb2.BadRequest()
    assert details(said).details[-1].Unpack(told_of)
    *named, last = told_of.field_violations
    assert [violation.field for violation in named] == [f"messages[{index}].role" for index in range(len(named))]
    assert len(named) > 20
    assert last.description == f"and {5000 - len(named)} more"


texts = st.text(st.characters(), max_size=3000)


@given(
    reason=st.sampled_from(list(Reason)),
    message=texts,
    facts=st.dictionaries(texts, texts, max_size=30),
    violations=st.lists(st.builds(Violation, texts, texts, st.sampled_from(list(Reason))), max_size=30),
    subject=st.none() | st.builds(Subject, texts, texts),
    retry_after_s=st.none() | st.floats(-1, 1e30),
)
def test_no_failure_is_too_much_for_a_status(
    reason: Reason,
    message: str,
    facts: dict[str, str],
    violations: list[Violation],
    subject: Subject | None,
    retry_after_s: float | None,
) -> None:
    failure = Failure(
        reason, message, metadata=facts, violations=violations, subject=subject, retry_after_s=retry_after_s
    )
    said = status.of(failure, "x" * 36, partial=True)
    assert len(said.message.encode()) <= status.MAX_MESSAGE_BYTES
    assert len(said.details) <= status.MAX_STATUS_BYTES
    assert details(said).message == said.message
    assert said.pushback_ms is None or -1 <= said.pushback_ms < 2**31


@pytest.mark.parametrize("text", ["a" * 5000, "é" * 5000, "😀" * 5000, "%" * 5000, "\ud83d" * 5000])
async def test_an_oversized_error_arrives_with_its_reason(text: str) -> None:
    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        raise InvalidRequest(
            Reason.FIELD_INVALID,
            text,
            metadata={str(index): text for index in range(50)},
            violations=[Violation(text, text)] * 1000,
            subject=Subject(text, text),
        )
        yield []

    async with serve(chat) as client:
        for _ in range(20):  # what passes the soft limit of metadata is refused at random
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi")).read()
            assert told(caught.value).reason == "FIELD_INVALID"


@pytest.mark.parametrize("reason", [Reason.PROVIDER_RATE_LIMITED, Reason.PROVIDER_OVERLOADED])
async def test_a_stock_client_with_a_retry_policy_waits_as_told_and_then_succeeds(reason: Reason) -> None:
    asked_s: list[float] = []

    async def chat(request: ChatRequest) -> AsyncGenerator[Batch, None]:
        asked_s.append(time.monotonic())
        if len(asked_s) == 1:
            raise Failure(reason, "not yet", retry_after_s=0.7)
        async with aclosing(echo(request)) as batches:
            async for batch in batches:
                yield batch

    async with serve(chat, options=[("grpc.service_config", json.dumps(RETRIES))]) as client:
        call = client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi"))
        assert "".join([event.text_delta.text async for event in call]) == "hi"
    first_s, second_s = asked_s
    assert second_s - first_s >= 0.69  # by its own policy it would have come after 0.01 s


async def test_a_stock_client_with_a_retry_policy_does_not_repeat_what_cannot_help() -> None:
    asked = 0

    async def chat(_: ChatRequest) -> AsyncGenerator[Batch, None]:
        nonlocal asked
        asked += 1
        raise Failure(Reason.PROVIDER_QUOTA_EXHAUSTED, "no credit")
        yield []

    async with serve(chat, options=[("grpc.service_config", json.dumps(RETRIES))]) as client:
        with pytest.raises(grpc.aio.AioRpcError):
            await client.chat.StreamChat(chat_pb2.StreamChatRequest(prompt="hi")).read()
    assert asked == 1


RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.01s",
                "backoffMultiplier": 1,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}
