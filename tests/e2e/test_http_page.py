"""What the page on HTTP shows works as it is written, on the real local models."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

from tests.program import HANG_S, Program

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text()


async def run(server: Program, script: str) -> str:
    assert "http://127.0.0.1:8080" in script
    process = await asyncio.create_subprocess_exec(
        "bash", "-eu", "-c", script.replace("http://127.0.0.1:8080", server.http), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), HANG_S)
    assert process.returncode == 0
    return out.decode()


async def test_the_commands_run(server: Program) -> None:
    whole, streamed, vectors, rest = [
        await run(server, script) for script in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    ]
    assert json.loads(whole)["choices"][0]["message"]["content"]
    assert streamed.endswith("data: [DONE]\n\n")
    assert len(json.loads(vectors)["data"]) == 2
    assert '"id":"gpt-4"' in rest
    assert rest.endswith('{"status":"ok"}')
