"""Calls with simonw/llm, as it is typed: `python llm_cli.py <url> <model> <what>`; prints what came, as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TOOL = """
def get_weather(city: str) -> str:
    "The weather of a place"
    return "sunny"
"""


class Caller:
    def __init__(self, url: str, model: str, folder: Path) -> None:
        names = (model, "no-such-model")
        models = [
            {
                "model_id": name,
                "model_name": name,
                "api_base": f"{url}/v1",
                "supports_schema": True,
                "supports_tools": True,
            }
            for name in names
        ]
        (folder / "extra-openai-models.yaml").write_text(json.dumps(models))
        self.model = model
        self.environ = {**os.environ, "LLM_USER_PATH": str(folder), "OPENAI_API_KEY": "none"}

    def command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("llm")), *words]

    def typed(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def answer(self, *words: str) -> Any:
        made = self.typed("prompt", "-m", self.model, *words)
        if made.returncode:
            return {"error": "exit", "message": made.stderr.strip(), "code": None}
        return made

    def plain(self) -> Any:
        return self._text("--no-stream")

    def stream(self) -> Any:
        return self._text()

    def _text(self, *how: str) -> Any:
        made = self.answer("hi", "--usage", *how)
        _, _, used = made.stderr.partition("Token usage: ")
        usage = [int(word.replace(",", "")) for word in used.split() if word.replace(",", "").isdigit()]
        return {"text": made.stdout.strip(), "usage": usage}

    def tools(self) -> Any:
        return self._tools("--no-stream")

    def tools_streamed(self) -> Any:
        return self._tools()

    def _tools(self, *how: str) -> Any:
        made = self.answer("weather", "--functions", TOOL, "--td", *how)
        called = "Tool call: get_weather({'city': 'Oslo'})" in made.stderr
        return {"called": called, "text": made.stdout.strip()}

    def structured(self) -> Any:
        return json.loads(self.answer("as json", "--schema", "city, degrees int").stdout)

    def abort(self) -> Any:
        command = self.command("prompt", "-m", self.model, "hang")
        nowhere = subprocess.DEVNULL
        with subprocess.Popen(
            command, env=self.environ, stdin=nowhere, stdout=subprocess.PIPE, stderr=nowhere
        ) as process:
            assert process.stdout is not None
            assert process.stdout.read(1)
            process.send_signal(signal.SIGINT)
            process.stdout.read()
        return "aborted"

    def bad_model(self) -> Any:
        self.model = "no-such-model"
        return self.answer("hi")

    def limited(self) -> Any:
        return self.answer("limit")

    def cut(self) -> Any:
        made = self.answer("cut")
        return made if isinstance(made, dict) else made.stdout


def main() -> None:
    _, url, model, what = sys.argv
    with tempfile.TemporaryDirectory() as folder:
        said = getattr(Caller(url, model, Path(folder)), what)()
    print(json.dumps(said), flush=True)
    if what == "abort":
        sys.stdin.read()


main()
