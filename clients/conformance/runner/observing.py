"""What came of a call, in the shape in which cases write what they expect, and what has to hold for every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import DecodeError

from clients.conformance.runner import wire
from clients.conformance.runner.drivers import Answer
from clients.conformance.runner.matching import differences
from clients.conformance.runner.scripted import Script

KEEPS_UNKNOWN = "keeps_unknown"
"""In an answer of the scripted server: the driver has to give back fields that its stubs do not know."""


class Mismatch(Exception):
    """Something else came than is expected."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def observe(method: MethodDescriptor | None, answer: Answer, arrived: Sequence[bytes]) -> dict[str, Any]:
    """Write what came as JSON."""
    messages = [decoded(method, raw) for raw in arrived] if method else []
    return {
        "code": answer.code,
        "message": answer.message,
        "messages": messages,
        "text": "".join(_text(message) for message in messages),
        "details": wire.details(answer.details) if answer.details else None,
        "headers": answer.headers,
        "trailers": answer.trailers,
        "typed": answer.typed,
        "cancelled": answer.cancelled_ms is not None,
    }


def decoded(method: MethodDescriptor, raw: bytes) -> Any:
    """Read a message that a driver gives, as JSON."""
    try:
        return wire.decode(wire.parse(method.output_type, raw))
    except DecodeError as error:
        raise Mismatch([f"the driver gives what is no {method.output_type.name}: {error}"]) from None


def faults(expected: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    """List where a call differs from what is expected, and from what holds for all."""
    wanted = {"code": "OK", **expected}
    if "reply" in wanted:
        wanted["messages"] = [wanted.pop("reply")]
    if "reason" in wanted:
        reason = wanted.pop("reason")
        wanted["details"] = {**wanted.get("details", {}), "ErrorInfo": _with_reason(wanted, reason)}
        wanted["typed"] = {"reason": {"$either": [reason, None]} if _is_optional(seen) else reason}
    found = differences(wanted, seen)
    if found and seen["code"] != wanted["code"]:
        found = [f"{found[0]} ({seen['message']})"]  # the rest follows from it
    return found + _always(seen)


def _with_reason(wanted: Mapping[str, Any], reason: Any) -> dict[str, Any]:
    return {**wanted.get("details", {}).get("ErrorInfo", {}), "reason": reason}


def _is_optional(seen: Mapping[str, Any]) -> bool:
    """Whether a driver may leave it out: its users have no way to read details."""
    return "reason" not in seen["typed"]


def _always(seen: Mapping[str, Any]) -> list[str]:
    found, details, typed = [], seen["details"], seen["typed"]
    if details:
        number = grpc.StatusCode[seen["code"]].value[0]
        found += differences({"code": number, "message": seen["message"]}, details, "details")
        if "reason" in typed:
            found += differences({"reason": details["ErrorInfo"]["reason"]}, typed, "typed")
    if "text" in typed:
        found += differences(seen["text"], typed["text"], "typed.text")
    return found


def _text(message: Mapping[str, Any]) -> str:
    text = message.get("text")
    if isinstance(text, str):
        return text
    delta = message.get("text_delta") or {}
    return str(delta.get("text", ""))


def scripted_faults(
    method: MethodDescriptor, script: Script, answer: Answer, arrived: Sequence[bytes], sent: Sequence[bytes]
) -> list[str]:
    """List where a call differs from what the scripted server said and was told: nothing may be lost on either way."""
    said = script.answers[min(len(script.times_s), len(script.answers)) - 1]
    if answer.cancelled_ms is not None or said.get("unimplemented"):
        return []
    found, kind = [], method.output_type
    if not said.get("silent"):
        keeps = bool(said.get(KEEPS_UNKNOWN))
        told = [_whole(kind, wire.encode(kind, each), keeps) for each in said.get("messages", ())]
        if told != [_whole(kind, raw, keeps) for raw in arrived]:
            found.append("messages: the driver does not give what the server sent")
    if script.requests and said.get("reads", True):
        kind = method.input_type
        if [_whole(kind, raw, False) for raw in script.requests[-1]] != [_whole(kind, raw, False) for raw in sent]:
            found.append("requests: the server did not get what was sent")
    return found


def _whole(kind: Descriptor, raw: bytes, keeps_unknown: bool) -> bytes:
    """A message in the one form in which equal messages are equal bytes."""
    message = wire.parse(kind, raw)
    data: bytes = (message if keeps_unknown else wire.without_unknown(message)).SerializeToString(deterministic=True)
    return data
