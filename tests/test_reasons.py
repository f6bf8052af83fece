"""The registry of reasons, the code and the tests hold the same ones."""

from __future__ import annotations

import re
from pathlib import Path

import stepwired
from stepwired.errors import Reason

TESTS = Path(__file__).parent
SERVICE = Path(stepwired.__file__).parent

#: They hold every reason, whether anything can fail for it or not.
REGISTERS = {SERVICE / "errors.py", SERVICE / "rpc/status.py", TESTS / "rpc/test_status.py"}


def named_in(folder: Path, pattern: str) -> set[str]:
    """What the first group of the pattern finds in the Python files of a folder."""
    files = [path for path in folder.rglob("*.py") if path not in REGISTERS]
    return {name for path in files for name in re.findall(pattern, path.read_text(encoding="utf-8"))}


def test_what_the_service_fails_for_is_what_the_registry_has() -> None:
    assert named_in(SERVICE, r"(?<!\w)Reason\.([A-Z_]+)\b") == {reason.value for reason in Reason}


def test_each_reason_is_named_by_a_test_that_brings_it_about() -> None:
    assert {reason.value for reason in Reason} - named_in(TESTS, r"\b([A-Z]+(?:_[A-Z]+)*)\b") == set()
