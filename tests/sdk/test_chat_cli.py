"""What `stepwire chat` and `stepwire tokens` say of tools, formats and counts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from stepwire.v1 import chat_pb2, message_pb2
from tests.sdk.commands import Run, lines
from tests.sdk.scripted import Server, finished, started, text

E = chat_pb2.StreamChatResponse


async def eventful(_request: Any, _context: Any) -> AsyncGenerator[E, None]:
    """A reply with a tool of the server, begun again."""
    use = message_pb2.ToolUse(tool_id="t", name="find")
    use.input.update({"q": "fox"})
    yield started()
    yield text("lost")
    yield E(restarted=chat_pb2.ChatRestarted(attempt=2, reason="PROVIDER_STREAM_TRUNCATED", model="m"))
    yield E(tool_call=chat_pb2.ToolCall(index=0, tool_id="t", arguments_delta="{"))
    yield E(tool_call=chat_pb2.ToolCall(index=0, tool_use=use))
    yield E(tool_result=message_pb2.ToolResult(tool_id="t", result="none", is_error=True))
    yield text("done")
    yield finished("done")


def test_a_schema_tools_and_an_id_are_sent(run: Run, far_server: Server, tmp_path: Path) -> None:
    schema = tmp_path / "cat.json"
    schema.write_text('{"type": "object"}')
    arguments = ["chat", "hi", "--json-schema", str(schema), "--tool", "upper", "--tool", "trim", "--request-id", "r"]
    assert run(*arguments).exit_code == 0
    sent = far_server.script.last("StreamChat")
    assert json.loads(sent.options.response_format.schema_json) == {"type": "object"}
    assert [tool.step for tool in sent.options.tools] == ["upper", "trim"]
    assert sent.request_id == "r"
    assert run("chat", "hi", "--json-schema", "json").exit_code == 0
    assert far_server.script.last("StreamChat").options.response_format.json_object


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_file_that_is_no_schema_is_the_callers_fault(run: Run, tmp_path: Path, content: str) -> None:
    file = tmp_path / "cat.json"
    file.write_text(content)
    result = run("chat", "hi", "--json-schema", str(file))
    assert result.exit_code == 2
    assert "cat.json" in result.stderr


def test_what_happens_beside_the_text_is_told_beside_it(run: Run, far_server: Server) -> None:
    far_server.on["StreamChat"] = eventful
    result = run("chat", "hi")
    assert result.stdout == "lostdone\n"
    for said in ("PROVIDER_STREAM_TRUNCATED", 'find({"q": "fox"})', "failed: none"):
        assert said in result.stderr


def test_for_machines_every_event_is_a_line(run: Run, far_server: Server) -> None:
    far_server.on["StreamChat"] = eventful
    said = lines(run("--json", "chat", "hi"))
    kinds = [next(iter(line)) for line in said]
    assert kinds == ["started", "textDelta", "restarted", "toolCall", "toolCall", "toolResult", "textDelta", "finished"]
    assert said[5] == {"toolResult": {"toolId": "t", "result": "none", "isError": True}}


def test_tokens_are_counted_from_arguments_and_from_a_pipe(run: Run) -> None:
    result = run("tokens", "one", "two", "three")
    assert result.stdout == "3\n"
    assert "counted here, about · scripted-1 · context of 100" in result.stderr
    assert run("tokens", piped="one two").stdout == "2\n"
    assert lines(run("--json", "tokens", "one"))[0]["inputTokenCount"] == 1
