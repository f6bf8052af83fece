import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from stepwire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MessageView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_VIEW_UNSPECIFIED: _ClassVar[MessageView]
    MESSAGE_VIEW_HEAD_PATH: _ClassVar[MessageView]
    MESSAGE_VIEW_PATH_TO: _ClassVar[MessageView]
    MESSAGE_VIEW_LEFTMOST: _ClassVar[MessageView]
    MESSAGE_VIEW_ALL: _ClassVar[MessageView]

class RenderFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RENDER_FORMAT_UNSPECIFIED: _ClassVar[RenderFormat]
    RENDER_FORMAT_BRACKETS: _ClassVar[RenderFormat]
    RENDER_FORMAT_GEPPETTO: _ClassVar[RenderFormat]
MESSAGE_VIEW_UNSPECIFIED: MessageView
MESSAGE_VIEW_HEAD_PATH: MessageView
MESSAGE_VIEW_PATH_TO: MessageView
MESSAGE_VIEW_LEFTMOST: MessageView
MESSAGE_VIEW_ALL: MessageView
RENDER_FORMAT_UNSPECIFIED: RenderFormat
RENDER_FORMAT_BRACKETS: RenderFormat
RENDER_FORMAT_GEPPETTO: RenderFormat

class Conversation(_message.Message):
    __slots__ = ("id", "title", "head_id", "revision", "metadata", "create_time", "update_time", "message_count")
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    HEAD_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    head_id: str
    revision: int
    metadata: _struct_pb2.Struct
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    message_count: int
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., head_id: _Optional[str] = ..., revision: _Optional[int] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., message_count: _Optional[int] = ...) -> None: ...

class CreateConversationRequest(_message.Message):
    __slots__ = ("conversation_id", "title", "metadata", "messages", "allow_orphan")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ORPHAN_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    title: str
    metadata: _struct_pb2.Struct
    messages: _containers.RepeatedCompositeFieldContainer[_message_pb2.Message]
    allow_orphan: bool
    def __init__(self, conversation_id: _Optional[str] = ..., title: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[_message_pb2.Message, _Mapping]]] = ..., allow_orphan: bool = ...) -> None: ...

class CreateConversationResponse(_message.Message):
    __slots__ = ("conversation", "message_ids")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ..., message_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetConversationRequest(_message.Message):
    __slots__ = ("conversation_id",)
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    def __init__(self, conversation_id: _Optional[str] = ...) -> None: ...

class GetConversationResponse(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ...) -> None: ...

class AppendMessagesRequest(_message.Message):
    __slots__ = ("conversation_id", "messages", "keep_head", "allow_orphan")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    KEEP_HEAD_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ORPHAN_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    messages: _containers.RepeatedCompositeFieldContainer[_message_pb2.Message]
    keep_head: bool
    allow_orphan: bool
    def __init__(self, conversation_id: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_message_pb2.Message, _Mapping]]] = ..., keep_head: bool = ..., allow_orphan: bool = ...) -> None: ...

class AppendMessagesResponse(_message.Message):
    __slots__ = ("conversation", "message_ids")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ..., message_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamMessagesRequest(_message.Message):
    __slots__ = ("conversation_id", "view", "message_id")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    view: MessageView
    message_id: str
    def __init__(self, conversation_id: _Optional[str] = ..., view: _Optional[_Union[MessageView, str]] = ..., message_id: _Optional[str] = ...) -> None: ...

class StreamMessagesResponse(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[_message_pb2.Message]
    def __init__(self, messages: _Optional[_Iterable[_Union[_message_pb2.Message, _Mapping]]] = ...) -> None: ...

class RenderConversationRequest(_message.Message):
    __slots__ = ("conversation_id", "message_id", "format", "include_tools")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_TOOLS_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    message_id: str
    format: RenderFormat
    include_tools: bool
    def __init__(self, conversation_id: _Optional[str] = ..., message_id: _Optional[str] = ..., format: _Optional[_Union[RenderFormat, str]] = ..., include_tools: bool = ...) -> None: ...

class RenderConversationResponse(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...
