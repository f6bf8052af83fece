"""What the page on chat shows works as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format

from stepwire.v1 import chat_pb2
from stepwired.limits import Limits
from stepwired.rpc.convert.chat import chat_request
from tests.sdk.scripted import Server
from tests.sdk.test_examples import DEFAULT, blocks

PAGE = "chat.md"
PROGRAMS = blocks(PAGE, "python")
REQUESTS = [line for block in blocks(PAGE, "json") for line in block.splitlines()]


@pytest.mark.parametrize("request_json", REQUESTS)
def test_each_request_is_one_that_the_server_takes(request_json: str) -> None:
    assert chat_request(json_format.Parse(request_json, chat_pb2.StreamChatRequest()), Limits()).messages


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_each_program_runs(far_server: Server, number: int) -> None:
    assert DEFAULT in PROGRAMS[number]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAMS[number].replace(DEFAULT, far_server.target)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_run(far_server: Server, tmp_path: Path) -> None:
    [script] = blocks(PAGE, "sh")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "STEPWIRE_SERVER": far_server.target},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    sent = [request for name, request in far_server.script.calls if name == "StreamChat"]
    assert sent[0].options.response_format.schema_json
    assert sent[1].options.tools[0].step == "weather"
