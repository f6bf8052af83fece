"""`stepwire chat`: one reply, or a talk."""

from __future__ import annotations

import sys
import time
from contextlib import closing, suppress
from typing import Any

import click

from stepwire import Client, Finished, Image, Message, ReasoningDelta, Started, TextDelta, errors, image
from stepwire._requests import checked
from stepwire.cli.frame import Frame, common, pass_frame

OPTIONS = {
    "temperature": (float, "How freely words are chosen, 0 to 2."),
    "top_p": (float, "Choose among the likeliest words that have this probability together."),
    "max_tokens": (int, "Stop after this many tokens."),
    "seed": (int, "Make the choices repeatable."),
}


def _answering(command: Any) -> Any:
    for name, (kind, text) in reversed(OPTIONS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, type=kind, help=text)(command)
    return click.option("--stop", multiple=True, help="Stop before this text. May be repeated.")(command)


@click.command()
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", default="", help="Name or alias of a model. Default: the server's.")
@click.option("--system", default="", help="What the model is told before everything else.")
@click.option("-c", "--conversation", default="", metavar="ID", help="Chat within this stored conversation.")
@click.option("-i", "--image", "images", multiple=True, metavar="PATH|URL", help="Show this picture. May be repeated.")
@_answering
@click.option("-q", "--quiet", is_flag=True, help="Only the reply: no figures after it.")
@common
@pass_frame
def chat(
    frame: Frame,
    /,
    prompt: tuple[str, ...],
    model: str,
    system: str,
    conversation: str,
    images: tuple[str, ...],
    quiet: bool,
    stop: tuple[str, ...],
    **options: float | None,
) -> None:
    r"""Stream one reply. Without a PROMPT it is read from a pipe, or asked for, again and again, on a terminal.

    \b
    stepwire chat "Say hello."
    git diff | stepwire chat --system "Write a commit message."
    stepwire chat -c c1
    stepwire chat "What is this?" --image cat.png
    """
    pictures = [image(source) for source in images]
    chosen = {name: value for name, value in options.items() if value is not None} | ({"stop": stop} if stop else {})
    request = {"model": model, "system": system, "conversation_id": conversation, "options": chosen or None}
    with frame.client() as client:
        if prompt:
            _reply(client, request, [_asked(" ".join(prompt), pictures)], Printer(frame, quiet))
        elif sys.stdin.isatty():
            _talk(frame, client, request, pictures, quiet)
        else:
            _reply(client, request, [_asked(sys.stdin.read(), pictures)], Printer(frame, quiet))


def _asked(text: str, pictures: list[Image]) -> Message:
    with checked():
        return Message(role="user", text=text, images=pictures)


def _reply(client: Client, request: dict[str, Any], messages: list[Any], printer: Printer) -> None:
    with closing(client.stream_chat(messages=messages, **request)) as events:
        for event in events:
            printer.show(event)


class Printer:
    """Writes a reply as it comes, then how fast it came."""

    def __init__(self, frame: Frame, quiet: bool) -> None:
        self._frame = frame
        self._quiet = quiet
        self._began = time.monotonic()
        self._first: float | None = None
        self._pieces = 0
        self.text = ""
        self.finished: Finished | None = None

    def show(self, event: Started | TextDelta | ReasoningDelta | Finished) -> None:
        """Write one event."""
        if self._frame.is_json:
            is_last = isinstance(event, Finished)
            self._frame.emit({"finished": self._frame.as_dict(event.proto)} if is_last else event.proto)
        match event:
            case TextDelta():
                self._first = self._first or time.monotonic()
                self._pieces += event.delta_count
                self.text += event.text
                if not self._frame.is_json:
                    self._frame.write(event.text)
            case ReasoningDelta() if not self._frame.is_json and not self._quiet:
                self._frame.err.print(event.reasoning, style="dim italic", end="")
            case Finished():
                self.finished = event
                if not self._frame.is_json:
                    self._end(event)

    def _end(self, event: Finished) -> None:
        if not self.text.endswith("\n"):
            self._frame.write("\n")
        if not self._quiet:
            self._frame.note(self._figures(event))

    def _figures(self, event: Finished) -> str:
        tokens = event.usage.output_tokens or self._pieces
        facts = [f"{tokens} token{'' if tokens == 1 else 's'}"]
        if self._first is not None:
            writing_s = time.monotonic() - self._first
            if tokens > 1 and writing_s > 0:
                facts.append(f"{(tokens - 1) / writing_s:.1f} tokens/s")
            facts.append(f"first after {self._first - self._began:.2f} s")
        facts.append(f"{event.model} ({event.provider})")
        if event.reason == "length":
            facts.append("cut off at the token limit")
        elif event.reason == "content_filter":
            facts.append("the rest was withheld by the provider")
        if event.branched:
            facts.append("on a branch of its own: the conversation went on meanwhile")
        return " · ".join(facts)


def _talk(frame: Frame, client: Client, request: dict[str, Any], pictures: list[Image], quiet: bool) -> None:
    """Ask and answer until Ctrl-D. Ctrl-C ends the reply that is being written, and nothing else."""
    _line_editing()
    frame.note("Ctrl-C ends a reply, Ctrl-D the talk.")
    stored = bool(request["conversation_id"])
    history: list[Message] = []
    while True:
        try:
            line = input("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            continue
        if not line.strip():
            continue
        asked = _asked(line, pictures)
        printer = Printer(frame, quiet)
        try:
            _reply(client, request, [*history, asked], printer)
        except KeyboardInterrupt:
            frame.note("\ncancelled", style="yellow")
        except errors.Error as error:
            frame.fail(error)
            continue  # as if it had not been asked
        pictures = []  # shown once
        if not stored:  # else the server remembers
            replies = printer.finished.messages if printer.finished else []
            history += [asked, *(replies or _partial(printer.text))]


def _partial(text: str) -> list[Message]:
    return [Message(role="assistant", text=text)] if text else []


def _line_editing() -> None:
    """Arrow keys and the lines of before, where the platform has them."""
    with suppress(ImportError):
        import readline  # noqa: F401  importing it is what does it
