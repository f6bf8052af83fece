"""How to answer, in: every option of a chat, each checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import duration_pb2

from stepwire.v1 import chat_pb2
from stepwired.errors import Reason
from stepwired.events import ChatOptions, Tool
from stepwired.limits import Limits
from stepwired.rpc.convert.tools import response_format, tools
from stepwired.rpc.violations import Faults

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
CHOICES = ("auto", "none", "required")

_STOP_TEXTS, _STOP_BYTES = 16, 256
_MAX_INT32 = 2**31 - 1
_BIASES, _MOST_BIAS = 300, 100
_TURNS = 32
_TOOL_S = 600
_BAD = Reason.MODEL_CONFIG_INVALID
_DEFAULT = ChatOptions()


def chat_options(path: str, given: chat_pb2.ChatOptions, faults: Faults, limits: Limits | None = None) -> ChatOptions:
    """Read how to answer. What is unset stays None."""
    kept = limits or Limits()
    numbers = _numbers(path, given, faults)
    offered = tools(f"{path}.tools", given.tools, kept, faults)
    _check_choice(path, given, offered, faults)
    wanted = None
    if given.HasField("response_format"):
        wanted = response_format(f"{path}.response_format", given.response_format, kept, faults)
    if given.reasoning_effort and given.reasoning_effort not in EFFORTS:
        faults.add(f"{path}.reasoning_effort", _none_of(given.reasoning_effort, EFFORTS), _BAD)
    return ChatOptions(
        **numbers,
        stop=tuple(given.stop),
        tools=offered,
        tool_choice=given.tool_choice,
        parallel_tool_calls=given.parallel_tool_calls if given.HasField("parallel_tool_calls") else None,
        response_format=wanted,
        reasoning_effort=given.reasoning_effort,
        logit_bias=_logit_bias(f"{path}.logit_bias", given.logit_bias, faults),
        top_logprobs=_number(path, "top_logprobs", given, 0, 20, faults),
        cache=given.cache,
        restart=given.restart,
        max_turns=_max_turns(f"{path}.max_turns", given.max_turns, faults),
        tool_timeout_s=_tool_timeout_s(f"{path}.tool_timeout", given, faults),
    )


def _numbers(path: str, given: chat_pb2.ChatOptions, faults: Faults) -> dict[str, Any]:
    """Read the options that come first: what is a number, and the texts to stop before, in the order of the request."""
    read: dict[str, Any] = {"temperature": _number(path, "temperature", given, 0, 2, faults)}
    read["top_p"] = given.top_p if given.HasField("top_p") else None
    if given.HasField("top_p") and not 0 < given.top_p <= 1:
        faults.add(f"{path}.top_p", f"is {given.top_p:g}, and must be above 0 and at most 1", _BAD)
    read["max_tokens"] = _number(path, "max_tokens", given, 1, _MAX_INT32, faults)
    if len(given.stop) > _STOP_TEXTS:
        faults.add(f"{path}.stop", f"has {len(given.stop)} items, and the limit is {_STOP_TEXTS}", _BAD)
    else:
        for index, text in enumerate(given.stop):
            if not text:
                faults.add(f"{path}.stop[{index}]", "is empty", _BAD)
            faults.text(f"{path}.stop[{index}]", text, _STOP_BYTES, _BAD)
    read["seed"] = _number(path, "seed", given, 0, _MAX_INT32, faults)
    for name in ("presence_penalty", "frequency_penalty"):
        read[name] = _number(path, name, given, -2, 2, faults)
    return read


def _number(path: str, name: str, given: chat_pb2.ChatOptions, least: int, most: int, faults: Faults) -> Any:
    if not given.HasField(name):
        return None
    value = getattr(given, name)
    faults.within(f"{path}.{name}", value, least, most, _BAD)
    return value


def _check_choice(path: str, given: chat_pb2.ChatOptions, offered: Sequence[Tool], faults: Faults) -> None:
    choice = given.tool_choice
    if choice and not given.tools:
        faults.add(f"{path}.tool_choice", "has a meaning only beside tools", _BAD)
    elif choice and choice not in CHOICES and offered and choice not in {tool.name for tool in offered}:
        faults.add(f"{path}.tool_choice", f"{_none_of(choice, CHOICES)}, and the name of no tool here", _BAD)
    if given.HasField("parallel_tool_calls") and not given.tools:
        faults.add(f"{path}.parallel_tool_calls", "has a meaning only beside tools", _BAD)


def _logit_bias(path: str, given: Mapping[int, float], faults: Faults) -> tuple[tuple[int, float], ...]:
    if len(given) > _BIASES:
        faults.add(path, f"has {len(given)} items, and the limit is {_BIASES}", _BAD)
        return ()
    read = tuple(sorted(given.items()))  # equal requests give equal bytes
    for token, bias in read:
        if token < 0:
            faults.add(f"{path}[{token}]", "is the number of no token", _BAD)
        faults.within(f"{path}[{token}]", bias, -_MOST_BIAS, _MOST_BIAS, _BAD)
    return read


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


def _none_of(word: str, known: Sequence[str]) -> str:
    return f"`{word[:64]}` is none of {', '.join(known)}"
