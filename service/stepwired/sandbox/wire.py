"""What we and the process that runs JavaScript say to each other: JSON both ways.

A question is one `Ask`. The answer to one with calls is an `Answer` on the first line, and after it a line for each
call that was done: the JSON of its value, `null` where there is none. The answer to one without is a `Verdict`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from stepwired.limits import KIB, MIB, Limits

SLICE_S = 0.02
"""After so long a process answers with what is done, so that others get their turn."""

FLUSH_LENGTH = 256 * KIB
"""So it does when its answer has so many characters."""

Kind = Literal["thrown", "invalid", "time", "memory", "stack", "output"]


class Budget(msgspec.Struct, frozen=True):
    """What the child may spend on each function; its first line."""

    call_s: float
    memory_bytes: int
    stack_bytes: int
    output_bytes: int

    @classmethod
    def of(cls, limits: Limits) -> Budget:
        """The part of the limits that a child keeps."""
        return cls(
            limits.function_s, limits.function_memory_bytes, limits.function_stack_bytes, limits.function_output_bytes
        )

    @property
    def cpu_s(self) -> float:
        """After so long at one question the system ends the process: native code does not always look at the clock."""
        return 2 * self.call_s + SLICE_S + 0.1

    @property
    def wall_s(self) -> float:
        """After so long its parent ends it: it is stopped, or the machine is."""
        return 30 + 20 * self.call_s

    @property
    def answer_bytes(self) -> int:
        """No answer is longer: two outputs at UTF-8's worst, and what was thrown."""
        return 3 * (self.output_bytes + FLUSH_LENGTH) + 8 * MIB


class Ask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question."""

    run: int
    """Functions of different runs share nothing."""

    source: str = ""
    """Of the function; empty if there is only something to drop."""

    calls: msgspec.Raw = msgspec.Raw()
    """A list with the list of arguments of each call; none to have the source looked at only."""

    dropped: list[int] = []
    """Runs that have ended."""


class Fault(msgspec.Struct, frozen=True):
    """Why a call has no value."""

    at: int
    """Its place among the calls of the question."""

    kind: Kind
    text: str = ""
    type: str = ""
    """The class of what was thrown; none if it was no error."""

    stack: str = ""


class Answer(msgspec.Struct, frozen=True):
    """How far it came."""

    done: int
    """Calls, from the first on. None if the function could not even be made ready: `trouble` says why."""

    faults: list[Fault] = []
    trouble: Kind | None = None
    text: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What is wrong with a source; nothing if it is a function."""

    fault: str | None = None


encode = msgspec.json.encode
read_budget = msgspec.json.Decoder(Budget).decode
read_ask = msgspec.json.Decoder(Ask).decode
read_answer = msgspec.json.Decoder(Answer).decode
read_verdict = msgspec.json.Decoder(Verdict).decode
