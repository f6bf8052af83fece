"""How to answer, in: every option of a chat, each checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import duration_pb2

from stepwire.v1 import chat_pb2
from stepwired.chat_checks import RANGES, check_choice, check_effort, check_stop, check_top_p, checked_biases
from stepwired.errors import Reason
from stepwired.events import ChatOptions, Tool
from stepwired.limits import Limits
from stepwired.rpc.convert.tools import response_format, tools
from stepwired.violations import Faults

_TURNS = 32
_TOOL_S = 600
_BAD = Reason.MODEL_CONFIG_INVALID
_DEFAULT = ChatOptions()


def chat_options(path: str, given: chat_pb2.ChatOptions, faults: Faults, limits: Limits | None = None) -> ChatOptions:
    """Read how to answer. What is unset stays None."""
    if not given.ByteSize():  # most requests say nothing, and saying so takes a quarter of the time to read one
        return _DEFAULT
    kept = limits or Limits()
    numbers = _numbers(path, given, faults)
    offered = tools(f"{path}.tools", given.tools, kept, faults)
    _check_choice(path, given, offered, faults)
    wanted = None
    if given.HasField("response_format"):
        wanted = response_format(f"{path}.response_format", given.response_format, kept, faults)
    check_effort(f"{path}.reasoning_effort", given.reasoning_effort, faults)
    return ChatOptions(
        **numbers,
        stop=tuple(given.stop),
        tools=offered,
        tool_choice=given.tool_choice,
        parallel_tool_calls=given.parallel_tool_calls if given.HasField("parallel_tool_calls") else None,
        response_format=wanted,
        reasoning_effort=given.reasoning_effort,
        logit_bias=checked_biases(f"{path}.logit_bias", given.logit_bias.items(), faults),
        top_logprobs=_number(path, "top_logprobs", given, faults),
        cache=given.cache,
        restart=given.restart,
        max_turns=_max_turns(f"{path}.max_turns", given.max_turns, faults),
        tool_timeout_s=_tool_timeout_s(f"{path}.tool_timeout", given, faults),
    )


def _numbers(path: str, given: chat_pb2.ChatOptions, faults: Faults) -> dict[str, Any]:
    """Read the options that come first: what is a number, and the texts to stop before, in the order of the request."""
    read: dict[str, Any] = {"temperature": _number(path, "temperature", given, faults)}
    read["top_p"] = given.top_p if given.HasField("top_p") else None
    if given.HasField("top_p"):
        check_top_p(f"{path}.top_p", given.top_p, faults)
    read["max_tokens"] = _number(path, "max_tokens", given, faults)
    check_stop(f"{path}.stop", given.stop, faults)
    for name in ("seed", "presence_penalty", "frequency_penalty"):
        read[name] = _number(path, name, given, faults)
    return read


def _number(path: str, name: str, given: chat_pb2.ChatOptions, faults: Faults) -> Any:
    if not given.HasField(name):
        return None
    value = getattr(given, name)
    faults.within(f"{path}.{name}", value, *RANGES[name], _BAD)
    return value


def _check_choice(path: str, given: chat_pb2.ChatOptions, offered: Sequence[Tool], faults: Faults) -> None:
    choice = given.tool_choice
    if choice and not given.tools:
        faults.add(f"{path}.tool_choice", "has a meaning only beside tools", _BAD)
    else:
        check_choice(f"{path}.tool_choice", choice, {tool.name for tool in offered}, faults)
    if given.HasField("parallel_tool_calls") and not given.tools:
        faults.add(f"{path}.parallel_tool_calls", "has a meaning only beside tools", _BAD)


def _max_turns(path: str, given: int, faults: Faults) -> int:
    if given:
        faults.within(path, given, 1, _TURNS, _BAD)
    return given or _DEFAULT.max_turns


def _tool_timeout_s(path: str, given: chat_pb2.ChatOptions, faults: Faults) -> float:
    if not given.HasField("tool_timeout"):
        return _DEFAULT.tool_timeout_s
    timeout_s = _seconds(given.tool_timeout)
    if not 0 < timeout_s <= _TOOL_S:
        faults.add(path, f"is {timeout_s:g} s, and must be above 0 and at most {_TOOL_S}", _BAD)
    return timeout_s


def _seconds(given: duration_pb2.Duration) -> float:
    return given.seconds + given.nanos / 1e9
