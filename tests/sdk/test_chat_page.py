"""What the page on chat shows works as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2
from stepwired.limits import Limits
from stepwired.rpc.convert.chat import chat_request
from tests.sdk.pages import blocks, run_commands, run_program
from tests.sdk.scripted import Server

PAGE = "chat.md"
PROGRAMS = blocks(PAGE, "python")
REQUESTS = [line for block in blocks(PAGE, "json") for line in block.splitlines()]


@pytest.mark.parametrize("request_json", REQUESTS)
def test_each_request_is_one_that_the_server_takes(request_json: str) -> None:
    assert chat_request(json_format.Parse(request_json, chat_pb2.StreamChatRequest()), Limits()).messages


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_each_program_runs(far_server: Server, number: int, tmp_path: Path) -> None:
    run_program(PROGRAMS[number], far_server.target, tmp_path)


def test_the_commands_run(far_server: Server, tmp_path: Path) -> None:
    [script] = blocks(PAGE, "sh")
    run_commands(script, far_server.target, tmp_path)
    sent = [request for name, request in far_server.script.calls if name == "StreamChat"]
    assert sent[0].options.response_format.schema_json
    assert sent[1].options.tools[0].step == "weather"
