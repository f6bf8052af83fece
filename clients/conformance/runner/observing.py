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

_CLOCK_SLACK_MS = 5000
"""A machine's clock may be set while a call runs."""

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
        "method": method.name if method else "",
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


def clock_faults(answer: Answer, begun_ms: float, told_ms: float) -> list[str]:
    """List which of a driver's times is not one at which the call ran; the runner's clock is the same."""
    times = {"ended_ms": answer.ended_ms, "cancelled_ms": answer.cancelled_ms}
    return [
        f"{name}: {at_ms} is not within the call, {begun_ms} to {told_ms}"
        for name, at_ms in times.items()
        if at_ms is not None and not begun_ms - _CLOCK_SLACK_MS <= at_ms <= told_ms + _CLOCK_SLACK_MS
    ]


def decoded(method: MethodDescriptor, raw: bytes) -> Any:
    """Read a message that a driver gives, as JSON."""
    try:
        return wire.decode(wire.parse(method.output_type, raw))
    except DecodeError as error:
        raise Mismatch([f"the driver gives what is no {method.output_type.name}: {error}"]) from None


def faults(expected: Mapping[str, Any], seen: Mapping[str, Any], *, is_told_to_end: bool) -> list[str]:
    """List where a call differs from what is expected, and from what holds for all.

    Args:
        expected: What the case says.
        seen: What came, as `observe` has it.
        is_told_to_end: Whether the driver was told to cancel or leave the call.
    """
    wanted = {"code": "OK", **expected}
    if not is_told_to_end or seen["code"] == "CANCELLED":  # one that has ended already, nobody can cancel
        wanted.setdefault("cancelled", is_told_to_end)
    if "reply" in wanted:
        wanted["messages"] = [wanted.pop("reply")]
    if "reason" in wanted:
        reason = wanted.pop("reason")
        wanted["details"] = {**wanted.get("details", {}), "ErrorInfo": _with_reason(wanted, reason)}
    found = differences(wanted, seen)
    if found and seen["code"] != wanted["code"]:
        found = [f"{found[0]} ({seen['message']})"]  # the rest follows from it
    return found + _always(seen)


def _with_reason(wanted: Mapping[str, Any], reason: Any) -> dict[str, Any]:
    return {**wanted.get("details", {}).get("ErrorInfo", {}), "reason": reason}


def _always(seen: Mapping[str, Any]) -> list[str]:
    found, details = [], seen["details"]
    if details:
        number = grpc.StatusCode[seen["code"]].value[0]
        found += differences({"code": number, "message": seen["message"]}, details, "details")
    return found + differences(_typed(seen), seen["typed"], "typed")


def _typed(seen: Mapping[str, Any]) -> dict[str, Any]:
    """What typed access to the messages and the details has to give; sums are those of cases."""
    typed, messages = {}, seen["messages"]
    if (messages and seen["method"] in {"StreamChat", "Chat"}) or seen["typed"].get("text") is not None:
        typed["text"] = seen["text"]
    if seen["method"] == "Embed" and messages and (embeddings := messages[0].get("embeddings")):
        typed["dimensions"] = len(embeddings[0]["values"])
    typed["reason"] = ((seen["details"] or {}).get("ErrorInfo") or {}).get("reason")
    return typed


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
    if said.get("unimplemented"):
        return []
    kind = method.output_type
    told = [wire.encode(kind, each) for each in said.get("messages", ())]
    if answer.cancelled_ms is not None:  # by the runner's leave: all that came was sent
        return _lost(kind, told[: len(arrived)], arrived, keeps_unknown=False)
    found = []
    if not said.get("silent"):
        found += _lost(kind, told, arrived, keeps_unknown=bool(said.get(KEEPS_UNKNOWN)))
    if script.requests and said.get("reads", True):
        kind = method.input_type
        if _wholes(kind, script.requests[-1], False) != _wholes(kind, sent, False):
            found.append("requests: the server did not get what was sent")
    return found


def _lost(kind: Descriptor, told: Sequence[bytes], arrived: Sequence[bytes], *, keeps_unknown: bool) -> list[str]:
    if _wholes(kind, told, False) != _wholes(kind, arrived, False):
        return ["messages: the driver does not give what the server sent"]
    if keeps_unknown and _wholes(kind, told, True) != _wholes(kind, arrived, True):
        return ["messages: the driver does not give fields that its stubs do not know"]
    return []


def _wholes(kind: Descriptor, messages: Sequence[bytes], keeps_unknown: bool) -> list[bytes]:
    return [_whole(kind, raw, keeps_unknown) for raw in messages]


def _whole(kind: Descriptor, raw: bytes, keeps_unknown: bool) -> bytes:
    """A message in the one form in which equal messages are equal bytes."""
    message = wire.parse(kind, raw)
    data: bytes = (message if keeps_unknown else wire.without_unknown(message)).SerializeToString(deterministic=True)
    return data
