"""`stepwire conversations`: make, fill and read stored conversations."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Literal

import click

from stepwire import Message
from stepwire.cli.frame import Frame, common, pass_frame
from stepwire.v1.message_pb2 import MESSAGE_STATUS_INTERRUPTED

ROLES = ("user", "assistant", "system", "tool")


def _tool(message: Message) -> str:
    if message.HasField("tool_use"):
        return f"uses {message.tool_use.name}"
    return message.tool_result.result


@click.group()
def conversations() -> None:
    """Make, fill and read stored conversations. `stepwire chat -c ID` talks within one."""


@conversations.command()
@click.argument("messages", nargs=-1)
@click.option("--title", default="", help="What people call it.")
@click.option("--id", "conversation_id", default="", help="Its id. Default: a new UUID.")
@common
@pass_frame
def new(frame: Frame, messages: tuple[str, ...], title: str, conversation_id: str) -> None:
    """Make a conversation, with the user's first MESSAGES if there are any, and print its id."""
    with frame.client() as client:
        stored = client.create_conversation(title=title, messages=messages, conversation_id=conversation_id)
    if frame.is_json:
        frame.emit(stored.conversation)
    else:
        print(stored.id)


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.option(
    "--view",
    type=click.Choice(["head_path", "leftmost", "all"]),
    default="head_path",
    help="Which messages. Default: the path to the head, which is what a model is sent.",
)
@common
@pass_frame
def show(frame: Frame, conversation_id: str, view: Literal["head_path", "leftmost", "all"]) -> None:
    """Print a conversation's facts and its messages."""
    with frame.client() as client:
        conversation = client.conversation(conversation_id)
        if frame.is_json:
            frame.emit({"conversation": frame.as_dict(conversation)})
        else:
            facts = f"{conversation.message_count} messages, revision {conversation.revision}"
            frame.note(f"{conversation.title or conversation.id}: {facts}")
        with closing(client.messages(conversation_id, view=view)) as messages:
            for message in messages:
                if frame.is_json:
                    frame.emit({"message": frame.as_dict(message)})
                    continue
                cut = " (cut off)" if message.status == MESSAGE_STATUS_INTERRUPTED else ""
                frame.out.print(f"{message.role or 'user'}{cut}", style="bold", end=" ")
                frame.out.print(message.id, style="dim")
                frame.write(f"{message.text or _tool(message)}\n")


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.argument("text", required=False)
@click.option("--role", type=click.Choice(ROLES), default="user", help="Who speaks. Default: user.")
@click.option("--parent", default="", metavar="ID", help="The message it follows. Default: the head.")
@common
@pass_frame
def append(frame: Frame, conversation_id: str, text: str | None, role: str, parent: str) -> None:
    """Append a message and print its id. Without a TEXT it is read from a pipe."""
    if text is None:
        if sys.stdin.isatty():
            raise click.UsageError("Give a text, or pipe one in.")
        text = sys.stdin.read()
    with frame.client() as client:
        stored = client.append(conversation_id, [{"role": role, "text": text, "parent_id": parent}])
    if frame.is_json:
        frame.emit({"conversation": frame.as_dict(stored.conversation), "messageIds": stored.message_ids})
    else:
        print(*stored.message_ids, sep="\n")


@conversations.command()
@click.argument("conversation_id", metavar="ID")
@click.option("--message", default="", metavar="ID", help="Only this message.")
@click.option("--style", type=click.Choice(["brackets", "geppetto"]), default="brackets", help="[role]: or (role):")
@click.option("--tools", is_flag=True, help="Also tool uses and their results.")
@common
@pass_frame
def render(
    frame: Frame, conversation_id: str, message: str, style: Literal["brackets", "geppetto"], tools: bool
) -> None:
    """Print a conversation as a single prompt."""
    with frame.client() as client:
        text = client.render(conversation_id, message_id=message, style=style, include_tools=tools)
    if frame.is_json:
        frame.emit({"text": text})
    else:
        frame.write(text if text.endswith("\n") or not text else f"{text}\n")
