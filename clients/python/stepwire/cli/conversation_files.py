"""`stepwire conversations export` and `import`: conversations as files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import click

from stepwire._transfer import Format
from stepwire.cli.frame import Frame, common, pass_frame

FORMATS = click.Choice(get_args(Format))


@click.command()
@click.argument("conversation_id", metavar="ID")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write there. Default: the standard output.")
@click.option(
    "--format", "format_", type=FORMATS, default="proto_json", help="Default: proto_json, which loses nothing."
)
@click.option("--images", is_flag=True, help="Put the pictures into the file.")
@common
@pass_frame
def export(frame: Frame, conversation_id: str, output: str | None, format_: Format, images: bool) -> None:
    r"""Write a conversation as a file.

    \b
    stepwire conversations export c1 -o c1.json
    """
    with frame.client() as client:
        # Below its buffer, whose lock the end of this process would wait for, if who reads has stopped reading.
        buffer: Any = sys.stdout.buffer
        target = output or getattr(buffer, "raw", buffer)
        count = client.export_conversation(conversation_id, target, format=format_, image_bytes=images)
    if output is None:
        sys.stdout.buffer.flush()
    elif frame.is_json:
        frame.emit({"file": output, "bytes": count})
    else:
        frame.note(f"{count} bytes written to {output}")


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--format", "format_", type=FORMATS, help="Default: found out by looking.")
@click.option("--id", "conversation_id", default="", help="Its id. Default: the file's, or a new UUID.")
@click.option("--title", default="", help="What people call it. Default: the file's.")
@common
@pass_frame
def import_(frame: Frame, file: str, format_: Format | None, conversation_id: str, title: str) -> None:
    """Make a conversation of a FILE, or of what is piped in for `-`, and print its id."""
    # A pipe is read here, where Ctrl-C ends the reading.
    source = sys.stdin.buffer.read() if file == "-" else Path(file)
    with frame.client() as client:
        made = client.import_conversation(source, format=format_, conversation_id=conversation_id, title=title)
    if frame.is_json:
        frame.emit(made)
    else:
        print(made.id)
