"""The command: `python -m benchmarks [--quick] [--only paced,flood,…] [--seconds S] [--json FILE]`; see `--help`."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.children import Child, child, memory_mb
from benchmarks.figures import FIGURES, Bench, Line

_SETTINGS = """
[local]
enabled = false

[web]
allowed_hosts = ["bench"]

[endpoints.bench]
wire = "openai"
base_url = "http://127.0.0.1:{port}/v1"

[models.bench]
endpoint = "bench"
model = "bench-1"
default = true
"""


async def _measure(options: argparse.Namespace, folder: Path) -> list[Line]:
    async with AsyncExitStack() as children:
        python = [sys.executable, "-m"]
        provider = await children.enter_async_context(
            child([*python, "benchmarks.provider"], r"^ready (\d+)", folder / "provider.log")
        )
        bare = await children.enter_async_context(
            child([*python, "benchmarks.bare", str(provider.port)], r"^ready (\d+)", folder / "bare.log")
        )
        bare_http = await children.enter_async_context(
            child([*python, "benchmarks.bare_http", str(provider.port)], r"^ready (\d+)", folder / "bare_http.log")
        )
        service = await children.enter_async_context(_service(provider, folder))
        front_port = re.search(r"HTTP on http://127\.0\.0\.1:(\d+)", service.line)
        assert front_port
        await asyncio.sleep(1.0)
        bench = Bench(
            provider,
            bare,
            service,
            bare_http,
            replace(service, port=int(front_port[1])),
            idle_mb=memory_mb(service.pid, "VmRSS"),
            rounds=options.rounds,
            seconds=options.seconds,
            times=options.times,
        )
        lines: list[Line] = []
        for name in options.only:
            begun_s = time.monotonic()
            lines += await FIGURES[name](bench)
            report.progress(f"{name} took {time.monotonic() - begun_s:.0f} s")
        return lines


def _service(provider: Child, folder: Path) -> AbstractAsyncContextManager[Child]:
    settings = folder / "stepwire.toml"
    settings.write_text(_SETTINGS.format(port=provider.port))
    command = [sys.executable, "-m", "stepwired", "serve", "--port", "0", "--http-port", "0"]
    command += ["--data-dir", str(folder / "data"), "--config", str(settings)]
    return child(command, r"serves gRPC on 127\.0\.0\.1:(\d+)", folder / "stepwired.log")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer and shorter rounds")
    parser.add_argument("--only", default=",".join(FIGURES), help=f"some of {','.join(FIGURES)}")
    parser.add_argument("--seconds", type=float, help="length of a round; 3, quick 1.5")
    parser.add_argument("--rounds", type=int, help="rounds of each side; 3, quick 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(FIGURES):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    options.seconds = options.seconds or (1.5 if options.quick else 3.0)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.times = 5 if options.quick else 20
    return options


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children are ended then, too
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="stepwire-bench-") as folder:
        try:
            lines = asyncio.run(_measure(options, Path(folder)))
        except KeyboardInterrupt:
            sys.exit(130)
    report.write_table(sys.stdout, lines, cores)
    if options.json:
        report.write_json(options.json, lines, cores)


if __name__ == "__main__":
    main()
