"""What a process answered, as values and failures: nothing that it says is taken on trust."""

from __future__ import annotations

import json
import re
import signal

import msgspec

from stepwired.errors import Failure, Reason, StepFailed, Throttled
from stepwired.events import Json
from stepwired.jsonvalue import fault
from stepwired.limits import MIB, Limits
from stepwired.sandbox import wire

SIGNAL_OF_TIME = signal.SIGPROF
"""What ends a process that computes for too long."""

_PLACE = re.compile(r"\(<input>:(\d+)")
_OURS = "stepwire$run"
_TEXT_LENGTH = 1000
_TYPE_LENGTH = 100
_decode = msgspec.json.Decoder().decode


def read(answer: bytes, count: int, limits: Limits) -> list[Json | Failure]:
    """The outcomes of the first calls of a question.

    Args:
        answer: As it came.
        count: Calls that were asked for.
        limits: `function_output_bytes` and `metadata_depth` hold for each value; the others are named in failures.

    Returns:
        At least one outcome; none if the answer is not one, or the calls have to be asked for one by one.
    """
    head, _, body = answer.partition(b"\n")
    try:
        said = wire.read_answer(head)
    except (msgspec.DecodeError, RecursionError):
        return []
    if said.trouble is not None:
        return _trouble(said, count, limits)
    lines = body.split(b"\n") if said.done else []
    if not 0 < len(lines) == said.done <= count:
        return []
    found = _values(lines, limits)
    for each in said.faults:
        if not 0 <= each.at < said.done:
            return []
        found[each.at] = _failure(each, limits)
    return found


def no_function(why: str) -> Failure:
    """The failure of each call of what is no function."""
    return StepFailed(
        Reason.STEP_EXECUTION_FAILED,
        f"the function cannot be made: {why}",
        metadata={"errorType": "SyntaxError", "isTransient": "false"},
    )


def limit_exceeded(kind: str, limits: Limits) -> Failure:
    """The failure of a call that used more of something than it may."""
    limit_name, what = {
        "time": ("function_s", f"computes for more than {limits.function_s * 1000:g} ms"),
        "memory": ("function_memory_bytes", f"needs more than {limits.function_memory_bytes / MIB:g} MiB of memory"),
        "stack": ("function_stack_bytes", "calls itself too deep"),
        "input": ("function_input_bytes", f"is called with more than {limits.function_input_bytes} bytes"),
        "output": ("function_output_bytes", f"returns more than {limits.function_output_bytes} bytes"),
        "process": ("function_memory_bytes", "ended the process that ran it, twice"),
    }[kind]
    return Throttled(
        Reason.STEP_LIMIT_EXCEEDED,
        f"the function {what}",
        metadata={"limitName": limit_name, "limit": str(getattr(limits, limit_name))},
    )


def _trouble(said: wire.Answer, count: int, limits: Limits) -> list[Json | Failure]:
    if said.text:
        return [no_function(said.text[:_TEXT_LENGTH]) for _ in range(count)]
    if said.trouble == "time" or count == 1:
        return [_failure(wire.Fault(0, said.trouble or "thrown"), limits)]
    return []  # perhaps what all of them are called with is too much for one


def _values(lines: list[bytes], limits: Limits) -> list[Json | Failure]:
    try:
        values = _decode(b"[" + b",".join(lines) + b"]")
    except (msgspec.DecodeError, RecursionError):
        values = [_value(line) for line in lines]
    found: list[Json | Failure] = []
    for line, value in zip(lines, values, strict=True):
        if len(line) > limits.function_output_bytes:
            found.append(limit_exceeded("output", limits))
        elif isinstance(value, Failure):
            found.append(value)
        elif why := fault(value, max_depth=limits.metadata_depth):
            where = f" at {why[0]}" if why[0] else ""
            found.append(_invalid(f"what JSON cannot say here{where}: {why[1]}"))
        else:
            found.append(value)
    return found


def _value(line: bytes) -> Json | Failure:
    """One value of which the fast reader could not make anything, so that its fault can be named."""
    try:
        value: Json = json.loads(line)
    except RecursionError:
        return _invalid("a value that is nested too deep")
    except ValueError:
        return _invalid("what is no JSON")
    return value


def _invalid(what: str) -> Failure:
    return StepFailed(Reason.STEP_OUTPUT_INVALID, f"the function returned {what}")


def _failure(said: wire.Fault, limits: Limits) -> Failure:
    if said.kind == "invalid":
        name = f"{said.type[:_TYPE_LENGTH]}: " if said.type else ""
        return _invalid(name + said.text[:_TEXT_LENGTH])
    if said.kind != "thrown":
        return limit_exceeded(said.kind, limits)
    metadata = {"errorType": said.type[:_TYPE_LENGTH] or "value", "isTransient": "false"}
    text = ": ".join(filter(None, [said.type[:_TYPE_LENGTH], said.text[:_TEXT_LENGTH]])) or "something"
    where = ""
    if line := _line(said.stack):
        metadata["line"] = line
        where = f" (line {line})"
    return StepFailed(Reason.STEP_EXECUTION_FAILED, f"the function threw {text}{where}", metadata=metadata)


def _line(stack: str) -> str:
    """The innermost line of the caller's own code, which comes before ours."""
    theirs = stack.partition(_OURS)[0]
    place = _PLACE.search(theirs)
    return place[1] if place else ""
