"""What the page on conversations shows works as it is written."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from tests.program import HANG_S, Program
from tests.rpc.keeping import Asking

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conversations.md"
DEFAULT = "127.0.0.1:50051"


async def test_the_commands_of_the_page_run(server_alone: Program, grpcurl: str, tmp_path: Path) -> None:
    (script,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert DEFAULT in script
    path = f"{Path(grpcurl).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c", script.replace(DEFAULT, server_alone.address)),
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), HANG_S)
    assert process.returncode == 0, err.decode()
    for said in ('"snippet"', '"image/gif"', '"message_appended"', '"chunk"'):
        assert said in out.decode()
    async with server_alone.channel() as channel:
        shown = await Asking.of(channel).messages(conversation_id="c1")
    assert [message.text for message in shown] == ["Be brief.", "What is a kitten?", "And a puppy?", "And this?"]
