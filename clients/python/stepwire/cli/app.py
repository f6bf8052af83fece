"""The command's parts, put together."""

from __future__ import annotations

from functools import partial

import click

from stepwire.cli import (
    chat,
    conversation_feed,
    conversation_files,
    conversation_tree,
    conversations,
    demo,
    embed,
    lists,
    pipelines,
    run,
)
from stepwire.cli.frame import Cli, common


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@partial(common, envvar="STEPWIRE_SERVER")
@click.version_option(package_name="stepwire", prog_name="stepwire")
def cli() -> None:
    r"""Talk to a Stepwire server: chat, embeddings, conversations and pipelines.

    \b
    Exit status: 0 done, 1 failed, 2 the request or the command line is wrong,
    3 try again later, 4 the server's operator has to act, 130 cancelled with Ctrl-C.
    """


for command in (
    chat.chat,
    chat.tokens,
    embed.embed,
    embed.search,
    run.run,
    lists.models,
    lists.steps,
    pipelines.pipelines,
    conversations.conversations,
    demo.demo,
):
    cli.add_command(command)

for command in (
    conversation_tree.tree,
    conversation_files.export,
    conversation_files.import_,
    conversation_feed.watch,
    conversation_feed.search,
):
    conversations.conversations.add_command(command)
