"""The columns of the table: what starts the driver of each language, and what is said where there is none."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Language:
    """A client, and its driver.

    Attributes:
        title: What people call the language.
        command: Starts the driver; the address is appended.
        needs: What the machine has to have for it to be built.
        is_http: Whether it talks to the HTTP port, over Connect or gRPC-Web, and not over gRPC.
    """

    title: str
    command: tuple[str, ...]
    needs: str = ""
    is_http: bool = False

    def missing(self) -> str:
        """Say why there is no driver; empty if there is one."""
        if Path(self.command[0]).exists():
            return ""
        return (
            f"{self.title} client: {Path(self.command[0]).name} is not built: install {self.needs}, then `make clients`"
        )


def _built(title: str, name: str, needs: str, protocol: str = "") -> Language:
    options = (f"--{protocol}",) if protocol else ()
    command = (str(ROOT / ".tools" / "bin" / f"conformance-{name}"), *options)
    return Language(title, command, needs, is_http=bool(protocol))


_NODE = "nothing (Node comes with `make node`)"


LANGUAGES: Mapping[str, Language] = {
    "python": Language("Python", (sys.executable, "-W", "error", "-m", "clients.conformance.python_driver")),
    "typescript": _built("TypeScript", "typescript", _NODE),
    "typescript-connect": _built("TypeScript, Connect", "typescript", _NODE, "connect"),
    "typescript-grpc-web": _built("TypeScript, gRPC-Web", "typescript", _NODE, "grpc-web"),
    "go": _built("Go", "go", "Go"),
    "java": _built("Java", "java", "a JDK 17 and Maven"),
    "rust": _built("Rust", "rust", "Rust"),
    "cpp": _built("C++", "cpp", "g++, cmake, libgrpc++-dev and protobuf-compiler-grpc"),
}
