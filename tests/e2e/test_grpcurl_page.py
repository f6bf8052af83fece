"""What the cookbook of calls shows works as it is written, with both programs it names."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import sys
from pathlib import Path

import pytest

from tests.program import HANG_S, Program

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "grpcurl.md").read_text()
BLOCK = re.compile(r"^```sh ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEFAULT = "127.0.0.1:50051"


def script(program: str) -> str:
    """All that the page shows for one of the programs, in its order."""
    return "".join(text for only, text in BLOCK.findall(PAGE) if only in {"", program})


async def typed(commands: str, server: Program, grpcurl: str) -> tuple[int | None, str, str]:
    """Run commands as a person's shell would."""
    path = os.pathsep.join([str(Path(grpcurl).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c", commands.replace(DEFAULT, server.address)),
        env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), HANG_S)
    return process.returncode, out.decode(), err.decode()


def shown(err: str) -> str:
    """What was written, with what of it is base64 in words."""
    coded = re.findall(r'"value": "([A-Za-z0-9+/]+)"', err)
    return err + "".join(base64.b64decode(each + "==").decode(errors="replace") for each in coded)


@pytest.mark.parametrize("program", ["grpcurl", "buf"])
async def test_each_recipe_works_with(program: str, server: Program, grpcurl: str) -> None:
    status, out, err = await typed(script(program), server, grpcurl)
    assert status == 0, out + err
    for said in ("text_?delta", '"chunk"', "kitten", '"HI"', '"value": 4', '"revision": "[0-9]+"'):
        assert re.search(said, out, re.IGNORECASE), said
    for reason in ("MODEL_CONFIG_INVALID", "MODEL_NOT_FOUND", "CONVERSATION_NOT_FOUND"):
        assert reason in shown(err)
    assert "options.temperature: is 3, and must be 0 to 2 (and 1 more)" in err
    assert "a typing error is found before anything is sent" in out
