"""What the page on steps shows works as it is written, on the real local models."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from stepwire import AsyncClient
from tests.program import HANG_S, STEPWIRE, Program

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "steps.md").read_text()
DEFAULTS = re.compile(r"(127\.0\.0\.1|localhost):50051")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def run(server: Program, folder: Path, *command: str, path: Path | None = None) -> str:
    """Run a command to its end; what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command[:-1],
        DEFAULTS.sub(server.address, command[-1]),
        cwd=folder,
        env={
            **os.environ,
            "PATH": os.pathsep.join(map(str, filter(None, (path, STEPWIRE.parent, os.environ["PATH"])))),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), HANG_S)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_the_pipeline_runs_as_json_and_as_yaml(server: Program, grpcurl: str, tmp_path: Path) -> None:
    colours, as_json, as_yaml = [
        await run(server, tmp_path, "bash", "-eu", "-o", "pipefail", "-c", script, path=Path(grpcurl).parent)
        for script in blocks("sh")
    ]
    assert colours.count('"value"') == 2
    assert as_json.count('"value"') == 1
    assert '"aborted"' not in as_json
    [summary] = as_yaml.splitlines()
    assert re.search("cat|kitten|mice", json.loads(summary), re.IGNORECASE)


async def test_the_programs_run(server: Program, tmp_path: Path) -> None:
    about, faces, worker, _ = blocks("python")
    [summary] = (await run(server, tmp_path, sys.executable, "-W", "error", "-c", about)).splitlines()
    assert re.search("cat|kitten|mice", summary, re.IGNORECASE)
    printed = await run(server, tmp_path, sys.executable, "-W", "error", "-c", faces)
    for said in ("[2, 4, 6]", "['up']", "[1, 3, 6]", "['A!']", "complete", "['1', '2']", "(1, 0) 2"):
        assert said in printed

    assert len([line for line in worker.splitlines() if line]) <= 10
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", DEFAULTS.sub(server.address, worker)
    )
    try:
        async with AsyncClient(server.address) as client, asyncio.timeout(HANG_S):
            while True:
                if any(step.name == "shout" for step in await client.list_steps()):
                    break
                await asyncio.sleep(0.01)
            assert await client.collect("shout", "hi") == ["HI!"]
            child.terminate()
            assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
