"""Reflection in both versions that tools ask for; the package that serves it knows only the older one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from stepwired.rpc.gate import Collector

if TYPE_CHECKING:
    from stepwired.rpc.gate import Handler

V1, V1_ALPHA = "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"


def handlers(services: Sequence[str]) -> Mapping[str, Mapping[str, Handler]]:
    """Make the handlers of both versions, by service; the messages of both are the same on the wire.

    Args:
        services: Full names of all other services that the server has.
    """
    _describe_v1()
    collector: Any = Collector()  # generated code wants a server, and uses only what a Collector has
    add: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server  # comes without types
    add(reflection.aio.ReflectionServicer((*services, V1, V1_ALPHA), pool=_Symbols()), collector)
    made: Mapping[str, Handler] = collector.services[V1_ALPHA]
    return {V1: made, V1_ALPHA: made}


class _Symbols:
    """The descriptor pool, which by itself does not find methods by name, though tools ask for them."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """Find the file of a symbol, or of the service whose method it is.

        Raises:
            KeyError: There is no such symbol.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            name, _, method = symbol.rpartition(".")
            service = self._pool.FindServiceByName(name)
            if method not in service.methods_by_name:
                raise
            return service.file


def _describe_v1() -> None:
    """Have the newer version described too: it is the older one under another name."""
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(V1)
    except KeyError:
        file = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(file)
        file.name, file.package = file.name.replace("v1alpha", "v1"), file.package.replace("v1alpha", "v1")
        for message in file.message_type:
            for field in message.field:
                if field.type_name:  # to set an empty one would say that there is one
                    field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
        for method in file.service[0].method:
            method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
            method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
        pool.AddSerializedFile(file.SerializeToString())
