"""The command line of the child processes: `python -m stepwired.local chat | embed`."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Serve the model that the command line names, until the parent ends."""
    # What is not given stays away, so that each default stands in `Settings` alone.
    absent = argparse.SUPPRESS
    parser = argparse.ArgumentParser(prog="python -m stepwired.local", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    chat = kinds.add_parser("chat", help="serve a GGUF model")
    chat.add_argument("--model", type=Path, required=True)
    chat.add_argument("--context-length", type=int, default=absent)
    chat.add_argument("--slots", type=int, default=absent)
    chat.add_argument("--threads", type=int, default=absent)
    embed = kinds.add_parser("embed", help="serve an embedding model")
    embed.add_argument("--model-dir", type=Path, required=True)
    for kind in (chat, embed):
        kind.add_argument("--name", required=True)
        kind.add_argument("--port", type=int, default=absent)
    given = vars(parser.parse_args())
    # Each imports an engine: only the one that is needed.
    if given.pop("kind") == "chat":
        from stepwired.local import chat as chat_server

        chat_server.serve(chat_server.Settings(**given))
    else:
        from stepwired.local import embed as embed_server

        embed_server.serve(embed_server.Settings(**given))


if __name__ == "__main__":
    main()
