"""What the runner knows of the protos: its methods, and messages as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import descriptor, json_format, message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from stepwire.v1 import chat_pb2, conversation_pb2, embed_pb2, pipeline_pb2, step_run_pb2

SERVICES: Mapping[str, descriptor.ServiceDescriptor] = {
    service.name: service
    for file in (chat_pb2, conversation_pb2, embed_pb2, pipeline_pb2, step_run_pb2, health_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}

UNKNOWN = "$unknown"
"""Key of the fields that no stub knows: their number, and a text."""


def methods() -> Iterator[descriptor.MethodDescriptor]:
    """List all methods."""
    for service in SERVICES.values():
        yield from service.methods


def method(name: str) -> descriptor.MethodDescriptor | None:
    """Find a method: `ChatService/Chat`, or with the package before it; None if there is none."""
    service, _, short = name.rpartition("/")
    found = SERVICES.get(service.rpartition(".")[2])
    return found.methods_by_name.get(short) if found else None


def path(name: str) -> str:
    """Write a method as PROTOCOL.md does."""
    found = method(name)
    return f"{found.containing_service.full_name}/{found.name}" if found else f"stepwire.v1.{name}"


def encode(kind: descriptor.Descriptor, value: Any) -> bytes:
    """Serialize a message that was written as JSON, with fields that its stub does not know."""
    message = message_factory.GetMessageClass(kind)()
    json_format.ParseDict(_known(value), message)
    _add_unknown(message, value)
    return message.SerializeToString()


def parse(kind: descriptor.Descriptor, data: bytes) -> Message:
    """Read a message."""
    return message_factory.GetMessageClass(kind).FromString(data)


def decode(message: Message) -> Any:
    """Write a message as JSON, with the names of the proto; integers of 64 bits are texts there."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def without_unknown(message: Message) -> Message:
    """Copy a message without the fields that its stub does not know."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()
    return copy


def details(data: bytes) -> dict[str, Any]:
    """Read `grpc-status-details-bin`: each detail by the name of its type, and `code` and `message` of the status."""
    status = status_pb2.Status.FromString(data)
    found: dict[str, Any] = {"code": status.code, "message": status.message}
    for each in status.details:
        name = each.TypeName().rpartition(".")[2]
        kind = error_details_pb2.DESCRIPTOR.message_types_by_name[name]
        assert name not in found, f"{name} twice"
        found[name] = decode(parse(kind, each.value))
    return found


def pack_details(code: int, message: str, told: Mapping[str, Any]) -> bytes:
    """Write `grpc-status-details-bin`."""
    status = status_pb2.Status(code=code, message=message)
    for name, value in told.items():
        detail = message_factory.GetMessageClass(error_details_pb2.DESCRIPTOR.message_types_by_name[name])()
        status.details.add().Pack(json_format.ParseDict(value, detail))
    return status.SerializeToString()


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(each) for key, each in value.items() if key != UNKNOWN}
    return [_known(each) for each in value] if isinstance(value, list) else value


def _add_unknown(message: Message, value: Any) -> None:
    if not isinstance(value, dict) or not isinstance(message, Message):
        return
    for number, text in value.get(UNKNOWN, {}).items():
        raw = text.encode()
        message.MergeFromString(_varint(int(number) << 3 | 2) + _varint(len(raw)) + raw)
    for name, each in value.items():
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None or field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.message_type.file.name.startswith("google/protobuf/"):
            continue
        if isinstance(each, list):
            for part, item in zip(getattr(message, name), each, strict=True):
                _add_unknown(part, item)
        else:
            _add_unknown(getattr(message, name), each)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
