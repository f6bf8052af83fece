"""`stepwire chat --image`: what the model is shown, and pictures that are none."""

from __future__ import annotations

from pathlib import Path

from stepwire.cli import failures
from tests.sdk.commands import Run
from tests.sdk.pictures import PNG
from tests.sdk.scripted import Server


def test_a_picture_is_shown_to_the_model(run: Run, far_server: Server, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(PNG)
    result = run("chat", "-q", "What is this?", "--image", str(file), "--image", "https://example.org/x.png")
    assert (result.exit_code, result.stdout) == (0, "you said What is this?\n")
    [message] = far_server.script.last("StreamChat").messages
    assert (message.text, message.images[0].data, message.images[0].name) == ("What is this?", PNG, "cat.png")
    assert message.images[1].uri == "https://example.org/x.png"
    assert run("chat", "-q", "--image", str(file), piped="from a pipe").stdout == "you said from a pipe\n"


def test_a_picture_that_is_none_or_not_there_is_said_in_a_line(run: Run, far_server: Server, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    missing = run("chat", "x", "--image", str(file))
    assert missing.exit_code == failures.WRONG_REQUEST
    assert "No such file" in missing.stderr
    file.write_text("no picture")
    wrong = run("chat", "x", "--image", str(file))
    assert wrong.exit_code == failures.WRONG_REQUEST
    assert "UNSUPPORTED_IMAGE_FORMAT" in wrong.stderr
    assert far_server.script.calls == []
