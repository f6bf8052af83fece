"""The command as a process: what it leaves behind when its output or its parts are missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.scripted import Server, started, text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_an_output_that_is_full_is_said_in_a_line(far_server: Server) -> None:
    program = Path(sys.executable).with_name("stepwire")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [program, "-s", far_server.target, "chat", "hi"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "cli/frame.py" not in done.stderr


def test_a_reader_that_has_heard_enough_ends_the_command(far_server: Server) -> None:
    async def endless(request: Any, context: Any) -> Any:
        yield started()
        while True:
            yield text("more " * 1000)

    far_server.on["StreamChat"] = endless
    script = f"{Path(sys.executable).with_name('stepwire')} -s {far_server.target} chat hi | head -c 10"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("more more ", "")
    assert far_server.script.ended.wait(10)


def test_ctrl_c_while_it_is_loaded_leaves_no_traceback() -> None:
    program = """if True:
        import sys
        class Interrupted:
            def find_spec(self, name, *_):
                if name == "stepwire.cli.app":
                    raise KeyboardInterrupt
        from stepwire.cli import main
        sys.meta_path.insert(0, Interrupted())
        main()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\ncancelled\n")


def test_a_missing_extra_is_named() -> None:
    program = "import sys; sys.modules['click'] = None\nfrom stepwire.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "stepwire: the command needs click: pip install 'stepwire[cli]'\n"
