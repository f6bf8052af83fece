"""What keeps the server from starting is said in a line, and `check` says it too."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.e2e.test_program import refused
from tests.program import HANG_S, STEPWIRED


async def test_check_refuses_what_serve_would_refuse(tmp_path: Path) -> None:
    file = tmp_path / "stepwire.toml"
    file.write_text('[server]\nhost = "0.0.0.0"\n')
    process = await asyncio.create_subprocess_exec(
        STEPWIRED, "check", "--config", file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), HANG_S)
    assert (process.returncode, out) == (1, b"")
    assert "server.host: refusing to listen on 0.0.0.0" in err.decode()


async def test_a_slow_protobuf_is_refused_in_one_line(tmp_path: Path) -> None:
    environ = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    said = await refused("--port", "0", "--data-dir", tmp_path, environ=environ)
    assert said.startswith("stepwired: protobuf runs as 'python'; unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION")
    assert said.count("\n") == 1
