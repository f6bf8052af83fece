"""`stepwire conversations tree`: all branches of a conversation, drawn."""

from __future__ import annotations

from collections.abc import Iterable

import click
from rich.text import Text
from rich.tree import Tree

from stepwire import ConversationInfo, Message
from stepwire.cli.frame import Frame, common, pass_frame, printable
from stepwire.cli.messages import content, counted, marks

LINE_CHARS = 72
"""Of a message's text; the rest is for `show`."""


@click.command()
@click.argument("conversation_id", metavar="ID")
@common
@pass_frame
def tree(frame: Frame, conversation_id: str) -> None:
    """Draw all branches of a conversation: a message follows the one above it, and branches begin where it forks."""
    with frame.client() as client:
        about = client.conversation(conversation_id)
        messages = list(client.messages(conversation_id, view="all"))
    if not frame.is_json:
        frame.out.print(drawn(about, messages), no_wrap=True)
        return
    frame.emit({"conversation": frame.as_dict(about)})
    for message in messages:
        frame.emit({"message": frame.as_dict(message)})


def drawn(about: ConversationInfo, messages: Iterable[Message]) -> Tree:
    """Draw messages, parents before children, with the head marked."""
    title = Text(printable(about.title) or about.id, style="bold")
    root = Tree(title.append(f"  {counted(about.message_count)}, revision {about.revision}", style="dim not bold"))
    children: dict[str, list[Message]] = {}
    for message in messages:
        children.setdefault(message.parent_id, []).append(message)
    todo = [(root, "")]
    while todo:  # no recursion: a fork may lie under each message of a long conversation
        node, last = todo.pop()
        while len(following := children.get(last, [])) == 1:
            node.add(_line(following[0], about.head_id))
            last = following[0].id
        for number, first in enumerate(following, 1):
            branch = node.add(Text(f"branch {number} of {len(following)}", style="cyan"))
            branch.add(_line(first, about.head_id))
            todo.append((branch, first.id))
    return root


def _line(message: Message, head_id: str) -> Text:
    said = " ".join(printable(content(message)).split())
    noted = marks(message)
    line = Text(message.role or "user", style="bold")
    shown = said if len(said) <= LINE_CHARS else f"{said[: LINE_CHARS - 1]}…"
    line.append(f" {shown}", style="dim not bold" if "hidden from models" in noted else "not bold")
    line.append(f" {message.id}", style="dim not bold")
    for mark in noted:
        line.append(f" ({mark})", style="yellow not bold")
    if message.id == head_id:
        line.append(" ◀ head", style="green")
    return line
