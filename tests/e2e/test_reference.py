"""The reference gateway's own programs, byte for byte but for the port, where `STEPWIRE_REFERENCE` names their folder.

Each so often as `STEPWIRE_REFERENCE_RUNS` says, 20 times if it says nothing.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.recording import Recording
from tests.program import HANG_S, Program

FOLDER = os.environ.get("STEPWIRE_REFERENCE")
RUNS = int(os.environ.get("STEPWIRE_REFERENCE_RUNS", "20"))
NAMES = ("basic", "advanced", "retry", "progress")
PORT = b"http://localhost:8080"


def scripts() -> dict[str, bytes]:
    """Those of the document that are programs; none without it."""
    if not FOLDER:
        return {}
    page = (Path(FOLDER) / "synaxis-streaming-javascript.md").read_bytes()
    blocks = re.findall(rb"^```javascript\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return dict(zip(NAMES, [block for block in blocks if b"fetch(" in block], strict=True))


def shown(name: str, replies: list[str]) -> str:
    """What a program shows of these replies, with all that it says around them."""
    if name == "advanced":
        asked = ("Hello! How are you?", "Tell me a joke.", "What can you do?")
        return "".join(f"\nUser: {ask}\nAssistant: {reply}\n\n" for ask, reply in zip(asked, replies, strict=True))
    [reply] = replies
    return {"basic": f"{reply}\n[Stream completed]\n", "retry": reply, "progress": f"Streaming response...\n\n{reply}"}[
        name
    ]


if FOLDER:

    @pytest.mark.timeout(300 * RUNS)
    @pytest.mark.parametrize("name", NAMES)
    async def test_the_programs_show_what_the_server_sent(server: Program, name: str, tmp_path: Path) -> None:
        node = shutil.which("node")
        assert node is not None
        async with Recording(server.http) as recording:
            script = scripts()[name]
            assert script.count(PORT) == 1
            file = tmp_path / "script.js"
            file.write_bytes(script.replace(PORT, recording.url.encode()))
            for _ in range(RUNS):
                recording.clear()
                process = await asyncio.create_subprocess_exec(
                    node, file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
                )
                out, err = await asyncio.wait_for(process.communicate(), 4 * HANG_S)
                assert process.returncode == 0, err.decode()
                printed = out.decode()
                if name == "progress":  # it says after each read how far it is
                    printed = re.sub(r"\n\nCompleted: \d+ tokens in [\d.]+s \([\w.]+ tokens/s\)\n", "", printed)
                assert printed == shown(name, recording.replies)
