from __future__ import annotations

import json

import pytest

from stepwire.v1 import message_pb2
from stepwired.events import (
    Message,
    MessageStatus,
    Reasoning,
    Role,
    ToolResult,
    ToolUse,
)
from stepwired.limits import Limits
from stepwired.rpc.convert.messages import message, message_json
from stepwired.store.codec.messages import message_proto
from stepwired.violations import Faults

LIMITS = Limits()


WHOLE = Message(
    Role.ASSISTANT,
    "text",
    Reasoning("thought", b"\x00sig", "p"),
    metadata={"a": [1, 2.5, None, True, "x", {"b": {}}], "n": -(2**53) + 1},
    status=MessageStatus.INTERRUPTED,
    id="m1",
    parent_id="m0",
    create_time_ns=1_700_000_000_123_456_789,
    update_time_ns=-1,
)


@pytest.mark.parametrize(
    "given",
    [
        WHOLE,
        Message(Role.ASSISTANT, tool_use=ToolUse("t", "n", {"q": "x"}, "mcp")),
        Message(Role.TOOL, tool_result=ToolResult("t", "r", is_error=True)),
    ],
)
def test_a_message_survives_the_wire(given: Message) -> None:
    faults = Faults()
    read = message("m", message_pb2.Message.FromString(message_proto(given).SerializeToString()), LIMITS, faults)
    assert faults.found == []
    # What only the server sets is not read back.
    assert message_proto(read).text == given.text
    assert (read.reasoning, read.tool_use, read.tool_result) == (given.reasoning, given.tool_use, given.tool_result)
    assert (read.id, read.parent_id, read.create_time_ns) == (given.id, given.parent_id, given.create_time_ns)
    assert read.metadata == given.metadata
    assert {key: repr(value) for key, value in read.metadata.items()} == {
        key: repr(value) for key, value in given.metadata.items()
    }  # 1 is 1 and not 1.0
    assert (read.status, read.update_time_ns) == (MessageStatus.COMPLETE, 0)


def test_functions_see_a_message_as_its_proto_json() -> None:
    seen = message_json(WHOLE)
    assert isinstance(seen, dict)
    assert seen == {
        "id": "m1",
        "parentId": "m0",
        "createTime": "2023-11-14T22:13:20.123456789Z",
        "updateTime": "1969-12-31T23:59:59.999999999Z",
        "metadata": {"a": [1.0, 2.5, None, True, "x", {"b": {}}], "n": -(2.0**53) + 1},
        "status": "MESSAGE_STATUS_INTERRUPTED",
        "role": "assistant",
        "text": "text",
        "reasoning": {"text": "thought", "signature": "AHNpZw==", "provider": "p"},
    }
    assert json.loads(json.dumps(seen)) == seen
    assert json.dumps(seen["metadata"]) == json.dumps(WHOLE.metadata)  # 1 is 1 and not 1.0
