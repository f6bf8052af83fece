from __future__ import annotations

import hashlib
import struct
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from stepwired.local.process import Address
from stepwired.local.supervisor import Supervisor
from tests.program import shared_models

TinyGguf = Callable[..., Path]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """A data folder with the two known models, fetched once and kept."""
    return shared_models()


@pytest.fixture
async def supervisor(data_dir: Path) -> AsyncGenerator[Supervisor]:
    supervisor = Supervisor(data_dir)
    yield supervisor
    await supervisor.close()


@pytest.fixture
async def http() -> AsyncGenerator[aiohttp.ClientSession]:
    # llama.cpp's server closes a connection after a streamed reply, without having said that it would.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


def bearer(address: Address) -> dict[str, str]:
    return {"Authorization": f"Bearer {address.api_key}"}


async def post(
    http: aiohttp.ClientSession,
    address: Address,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    headers = bearer(address) if headers is None else headers
    async with http.post(address.base_url + path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


def gguf_bytes(padding: int = 0, **facts: str | int) -> bytes:
    """A GGUF file with these facts and no tensors: right as a file, no use as a model."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    body = b"".join(
        text(key.replace("__", "."))
        + (struct.pack("<I", 8) + text(value) if isinstance(value, str) else struct.pack("<II", 4, value))
        for key, value in facts.items()
    )
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(facts)) + body + bytes(padding)


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> TinyGguf:
    def make(name: str = "tiny.gguf", padding: int = 0) -> Path:
        path = tmp_path / name
        path.write_bytes(
            gguf_bytes(
                padding,
                general__architecture="llama",
                general__name="Tiny",
                general__license="mit",
                llama__context_length=77,
            )
        )
        return path

    return make


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def left_in(data_dir: Path) -> list[str]:
    """What stands in the models folder beside the lock."""
    return sorted(path.name for path in (data_dir / "models").iterdir() if path.name != ".lock")


def of_process(pid: int | None, what: str) -> bytes:
    """What the system tells about a running process, such as its `environ`."""
    return Path(f"/proc/{pid}/{what}").read_bytes()
