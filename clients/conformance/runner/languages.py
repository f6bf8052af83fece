"""The languages, what starts the driver of each, and what is said where there is none."""

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
    """

    title: str
    command: tuple[str, ...]
    needs: str = ""

    def missing(self) -> str:
        """Say why there is no driver; empty if there is one."""
        if Path(self.command[0]).exists():
            return ""
        return (
            f"{self.title} client: {Path(self.command[0]).name} is not built: install {self.needs}, then `make clients`"
        )


def _built(title: str, name: str, needs: str) -> Language:
    return Language(title, (str(ROOT / ".tools" / "bin" / f"conformance-{name}"),), needs)


LANGUAGES: Mapping[str, Language] = {
    "python": Language("Python", (sys.executable, "-W", "error", "-m", "clients.conformance.python_driver")),
    "typescript": _built("TypeScript", "typescript", "nothing (Node comes with `make node`)"),
    "go": _built("Go", "go", "Go"),
    "java": _built("Java", "java", "a JDK 17 and Maven"),
    "rust": _built("Rust", "rust", "Rust"),
    "cpp": _built("C++", "cpp", "g++, cmake, libgrpc++-dev and protobuf-compiler-grpc"),
}
