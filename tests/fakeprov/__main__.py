"""The scripted provider as a program: prints its base URL, then answers until it is stopped."""

from __future__ import annotations

import argparse
import asyncio

from tests.fakeprov import Behaviour, Exchange, Provider, behaviours


def _behaviour(options: argparse.Namespace) -> Behaviour:
    if options.flood:
        chat = behaviours.flood(options.tokens)
    else:
        chat = behaviours.reply([" token"] * options.tokens, options.gap_s)
    embed = behaviours.embeddings(options.dimensions)

    async def behave(exchange: Exchange) -> None:
        await (embed if exchange.request.path.endswith("/embeddings") else chat)(exchange)

    return behave


async def _serve(options: argparse.Namespace) -> None:
    async with Provider(_behaviour(options)) as provider:
        print(provider.base_url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakeprov", description=__doc__)
    parser.add_argument("--tokens", type=int, default=200, help="deltas of a reply")
    parser.add_argument("--gap-s", type=float, default=0.0, help="seconds between two deltas")
    parser.add_argument("--flood", action="store_true", help="64 deltas per write, as fast as they are read")
    parser.add_argument("--dimensions", type=int, default=384, help="numbers of a vector")
    try:
        import uvloop

        uvloop.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
