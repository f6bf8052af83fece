"""The functions in Python that a pipeline calls: under which name, with which arguments, and what they raised."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from stepwire import errors
from stepwire.v1 import step_run_pb2

#: Called with a value. What it returns is the one result, a list too; what a generator yields are results one by one.
#: May be a coroutine function or an asynchronous generator.
Callback: TypeAlias = Callable[..., Any]

MAX_NAME_BYTES = 128
MAX_MESSAGE_BYTES = 1024
MAX_RAISED = 256
"""Exceptions that one run remembers, so that its errors can name their cause."""

_BY_PLACE = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Manner:
    """How a function is called."""

    arguments: Callable[[Any], tuple[Any, ...]]
    """Makes its arguments of the value that the server sends."""

    result: Callable[[Any, tuple[Any, ...]], Any]
    """Makes the value that the server wants of what it returned, and of its arguments, which it may have changed."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that is served."""

    function: Callback
    manner: Manner


class Functions:
    """The functions of one run, or of one worker, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Function] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._raised: dict[tuple[str, str], Exception] = {}
        self.watchers: list[Any] = []
        """Who wants to hear of stage events: `_watching.Watcher`."""

    def __len__(self) -> int:
        return len(self._by_name)

    def __getitem__(self, name: str) -> Function | None:
        return self._by_name.get(name)

    def step(self, function: Callback, manner: Manner) -> step_run_pb2.Step:
        """Make the step that calls a function. The same function has the same name wherever it stands."""
        key = (id(function), id(manner))  # both are kept below, so that no other object can have these ids
        if key not in self._names:
            self._names[key] = self._free_name(function)
            self._by_name[self._names[key]] = Function(function, manner)
        title = _title(function)
        return step_run_pb2.Step(client=self._names[key], name="" if title == "<lambda>" else title)

    def serve(self, name: str, function: Callback) -> None:
        """Serve a function under a name of somebody else's choice."""
        self._by_name[name] = Function(function, PLAIN)

    def note(self, raised: Exception) -> step_run_pb2.CallError:
        """Remember what a function raised, and say it as the wire does."""
        while len(self._raised) >= MAX_RAISED:
            self._raised.pop(next(iter(self._raised)))
        failure = call_error(raised)
        self._raised[failure.error_type, failure.message] = raised
        return failure

    def explain(self, error: errors.Error) -> None:
        """Give an error its cause, if a function of this run raised that."""
        if raised := self._raised.get((error.metadata.get("errorType", ""), error.message)):
            error.__cause__ = raised

    def _free_name(self, function: Callback) -> str:
        name = _title(function)
        number, free = 1, name
        while free in self._by_name:
            number += 1
            free = f"{name}#{number}"
        return free


def _title(function: Callback) -> str:
    name = getattr(function, "__name__", None) or type(function).__name__
    return cut(str(name), MAX_NAME_BYTES - 8)


def cut(text: str, limit_bytes: int) -> str:
    """Cut a text to so many bytes of UTF-8. What is none, such as half a surrogate pair, becomes a question mark."""
    return text.encode("utf-8", "replace")[:limit_bytes].decode("utf-8", "ignore")


def words(raised: Exception) -> str:
    """What an exception says of itself; nothing if it cannot."""
    try:
        return str(raised)
    except Exception:  # noqa: BLE001  it is the program's own class
        return ""


def call_error(raised: Exception) -> step_run_pb2.CallError:
    """Say what a function raised as the wire does. Errors of this package keep what they say about trying again."""
    kind = type(raised).__name__
    if not isinstance(raised, errors.Error):
        message = cut(words(raised) or kind, MAX_MESSAGE_BYTES)
        return step_run_pb2.CallError(message=message, error_type=cut(kind, MAX_NAME_BYTES))
    made = step_run_pb2.CallError(
        message=cut(raised.message or kind, MAX_MESSAGE_BYTES),
        error_type=kind,
        is_transient=raised.is_transient,
        reason=raised.reason if raised.reason == "STEP_INPUT_INVALID" else "",
    )
    if raised.is_transient and raised.retry_after_s:
        made.retry_delay.FromNanoseconds(int(raised.retry_after_s * 1e9))
    return made


def takes_two(function: object) -> bool:
    """Whether a function wants two arguments. True of what is no function; false of what says nothing of itself."""
    if not callable(function):
        return True
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # such as `bool`
        return False
    wanted = [each for each in parameters if each.kind in _BY_PLACE and each.default is each.empty]
    return len(wanted) > 1 or any(each.kind is each.VAR_POSITIONAL for each in parameters)


def _error(said: dict[str, Any]) -> errors.Error:
    """Make the error that a `when` is asked about."""
    code = _CODES.get(said.get("code", 0), "UNKNOWN")
    wait_ms = said.get("retryDelayMs")
    return errors.family(code, said["reason"])(
        said["message"],
        code=code,
        reason=said["reason"],
        retry_after_s=None if wait_ms is None else wait_ms / 1000,
        metadata=said["metadata"],
    )


def _state(returned: Any, _: tuple[Any, ...]) -> Any:
    if isinstance(returned, tuple) and len(returned) == 2:
        return {"output": returned[0], "state": returned[1]}
    return returned


def _changed_state(returned: Any, given: tuple[Any, ...]) -> Any:
    whole = _state(returned, given)
    if isinstance(whole, Mapping) and set(whole) in ({"output", "state"}, {"outputs", "state"}):
        return whole
    return {"output": returned, "state": given[1]}


def _same(value: Any, _: tuple[Any, ...]) -> Any:
    return value


def _alone(value: Any) -> tuple[Any, ...]:
    return (value,)


#: Called with the value.
PLAIN = Manner(_alone, _same)

#: Called with an error and the number of the attempt, from 1.
WHEN = Manner(lambda value: (_error(value["error"]), value["attempt"]), _same)

#: Called with an error alone.
WHEN_ERROR = Manner(lambda value: (_error(value["error"]),), _same)

#: Called with the input and the state; may return a pair of output and state.
STATE = Manner(lambda value: (value["input"], value["state"]), _state)

#: As the guide has it: called with the input and the state, which it may change. What it returns is the one result,
#: unless that is a pair of output and state, or an object of exactly `state` and one of `output` and `outputs`.
CHANGES_STATE = Manner(lambda value: (value["input"], value["state"]), _changed_state)
