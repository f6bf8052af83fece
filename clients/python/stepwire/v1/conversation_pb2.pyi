import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
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

class ConversationOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONVERSATION_ORDER_UNSPECIFIED: _ClassVar[ConversationOrder]
    CONVERSATION_ORDER_CREATE_TIME: _ClassVar[ConversationOrder]
    CONVERSATION_ORDER_UPDATE_TIME: _ClassVar[ConversationOrder]

class MetadataUpdate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METADATA_UPDATE_UNSPECIFIED: _ClassVar[MetadataUpdate]
    METADATA_UPDATE_REPLACE: _ClassVar[MetadataUpdate]
    METADATA_UPDATE_MERGE: _ClassVar[MetadataUpdate]

class ConversationFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONVERSATION_FORMAT_UNSPECIFIED: _ClassVar[ConversationFormat]
    CONVERSATION_FORMAT_PROTO_JSON: _ClassVar[ConversationFormat]
    CONVERSATION_FORMAT_GUIDE_JSON: _ClassVar[ConversationFormat]
    CONVERSATION_FORMAT_OPENAI_MESSAGES: _ClassVar[ConversationFormat]
MESSAGE_VIEW_UNSPECIFIED: MessageView
MESSAGE_VIEW_HEAD_PATH: MessageView
MESSAGE_VIEW_PATH_TO: MessageView
MESSAGE_VIEW_LEFTMOST: MessageView
MESSAGE_VIEW_ALL: MessageView
RENDER_FORMAT_UNSPECIFIED: RenderFormat
RENDER_FORMAT_BRACKETS: RenderFormat
RENDER_FORMAT_GEPPETTO: RenderFormat
CONVERSATION_ORDER_UNSPECIFIED: ConversationOrder
CONVERSATION_ORDER_CREATE_TIME: ConversationOrder
CONVERSATION_ORDER_UPDATE_TIME: ConversationOrder
METADATA_UPDATE_UNSPECIFIED: MetadataUpdate
METADATA_UPDATE_REPLACE: MetadataUpdate
METADATA_UPDATE_MERGE: MetadataUpdate
CONVERSATION_FORMAT_UNSPECIFIED: ConversationFormat
CONVERSATION_FORMAT_PROTO_JSON: ConversationFormat
CONVERSATION_FORMAT_GUIDE_JSON: ConversationFormat
CONVERSATION_FORMAT_OPENAI_MESSAGES: ConversationFormat

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
    __slots__ = ("conversation_id", "title", "metadata", "messages", "allow_orphan", "request_id")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ORPHAN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    title: str
    metadata: _struct_pb2.Struct
    messages: _containers.RepeatedCompositeFieldContainer[_message_pb2.Message]
    allow_orphan: bool
    request_id: str
    def __init__(self, conversation_id: _Optional[str] = ..., title: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[_message_pb2.Message, _Mapping]]] = ..., allow_orphan: bool = ..., request_id: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("conversation_id", "messages", "keep_head", "allow_orphan", "request_id", "if_revision")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    KEEP_HEAD_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ORPHAN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    messages: _containers.RepeatedCompositeFieldContainer[_message_pb2.Message]
    keep_head: bool
    allow_orphan: bool
    request_id: str
    if_revision: int
    def __init__(self, conversation_id: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_message_pb2.Message, _Mapping]]] = ..., keep_head: bool = ..., allow_orphan: bool = ..., request_id: _Optional[str] = ..., if_revision: _Optional[int] = ...) -> None: ...

class AppendMessagesResponse(_message.Message):
    __slots__ = ("conversation", "message_ids")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ..., message_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamMessagesRequest(_message.Message):
    __slots__ = ("conversation_id", "view", "message_id", "image_bytes")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    view: MessageView
    message_id: str
    image_bytes: bool
    def __init__(self, conversation_id: _Optional[str] = ..., view: _Optional[_Union[MessageView, str]] = ..., message_id: _Optional[str] = ..., image_bytes: bool = ...) -> None: ...

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

class ListConversationsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "labels", "create_time_from", "create_time_before", "update_time_from", "order")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FROM_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_BEFORE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FROM_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    labels: _containers.ScalarMap[str, str]
    create_time_from: _timestamp_pb2.Timestamp
    create_time_before: _timestamp_pb2.Timestamp
    update_time_from: _timestamp_pb2.Timestamp
    order: ConversationOrder
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., create_time_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., create_time_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., order: _Optional[_Union[ConversationOrder, str]] = ...) -> None: ...

class ListConversationsResponse(_message.Message):
    __slots__ = ("conversations", "next_page_token")
    CONVERSATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    conversations: _containers.RepeatedCompositeFieldContainer[Conversation]
    next_page_token: str
    def __init__(self, conversations: _Optional[_Iterable[_Union[Conversation, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateConversationRequest(_message.Message):
    __slots__ = ("conversation", "update_mask", "metadata_update", "if_revision")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    METADATA_UPDATE_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    update_mask: _field_mask_pb2.FieldMask
    metadata_update: MetadataUpdate
    if_revision: int
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., metadata_update: _Optional[_Union[MetadataUpdate, str]] = ..., if_revision: _Optional[int] = ...) -> None: ...

class UpdateConversationResponse(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ...) -> None: ...

class DeleteConversationRequest(_message.Message):
    __slots__ = ("conversation_id", "if_revision")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    if_revision: int
    def __init__(self, conversation_id: _Optional[str] = ..., if_revision: _Optional[int] = ...) -> None: ...

class DeleteConversationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ForkConversationRequest(_message.Message):
    __slots__ = ("conversation_id", "message_id", "new_conversation_id", "title", "request_id")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    NEW_CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    message_id: str
    new_conversation_id: str
    title: str
    request_id: str
    def __init__(self, conversation_id: _Optional[str] = ..., message_id: _Optional[str] = ..., new_conversation_id: _Optional[str] = ..., title: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ForkConversationResponse(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ...) -> None: ...

class GetMessageRequest(_message.Message):
    __slots__ = ("conversation_id", "message_id", "image_bytes")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    message_id: str
    image_bytes: bool
    def __init__(self, conversation_id: _Optional[str] = ..., message_id: _Optional[str] = ..., image_bytes: bool = ...) -> None: ...

class GetMessageResponse(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: _message_pb2.Message
    def __init__(self, message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ...) -> None: ...

class UpdateMessageRequest(_message.Message):
    __slots__ = ("conversation_id", "message_id", "metadata", "metadata_update", "status", "if_revision")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    METADATA_UPDATE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    IF_REVISION_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    message_id: str
    metadata: _struct_pb2.Struct
    metadata_update: MetadataUpdate
    status: _message_pb2.MessageStatus
    if_revision: int
    def __init__(self, conversation_id: _Optional[str] = ..., message_id: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., metadata_update: _Optional[_Union[MetadataUpdate, str]] = ..., status: _Optional[_Union[_message_pb2.MessageStatus, str]] = ..., if_revision: _Optional[int] = ...) -> None: ...

class UpdateMessageResponse(_message.Message):
    __slots__ = ("message", "revision")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    message: _message_pb2.Message
    revision: int
    def __init__(self, message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., revision: _Optional[int] = ...) -> None: ...

class UploadImageRequest(_message.Message):
    __slots__ = ("name", "chunk")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    name: str
    chunk: bytes
    def __init__(self, name: _Optional[str] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class UploadImageResponse(_message.Message):
    __slots__ = ("image",)
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    image: _message_pb2.Image
    def __init__(self, image: _Optional[_Union[_message_pb2.Image, _Mapping]] = ...) -> None: ...

class DownloadImageRequest(_message.Message):
    __slots__ = ("blob_id",)
    BLOB_ID_FIELD_NUMBER: _ClassVar[int]
    blob_id: str
    def __init__(self, blob_id: _Optional[str] = ...) -> None: ...

class DownloadImageResponse(_message.Message):
    __slots__ = ("chunk", "image")
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    image: _message_pb2.Image
    def __init__(self, chunk: _Optional[bytes] = ..., image: _Optional[_Union[_message_pb2.Image, _Mapping]] = ...) -> None: ...

class SearchMessagesRequest(_message.Message):
    __slots__ = ("query", "conversation_id", "page_size", "page_token")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    query: str
    conversation_id: str
    page_size: int
    page_token: str
    def __init__(self, query: _Optional[str] = ..., conversation_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class SearchMessagesResponse(_message.Message):
    __slots__ = ("hits", "next_page_token")
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[MessageHit]
    next_page_token: str
    def __init__(self, hits: _Optional[_Iterable[_Union[MessageHit, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class MessageHit(_message.Message):
    __slots__ = ("conversation_id", "conversation_title", "message_id", "role", "create_time", "snippet", "highlights")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_TITLE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SNIPPET_FIELD_NUMBER: _ClassVar[int]
    HIGHLIGHTS_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    conversation_title: str
    message_id: str
    role: str
    create_time: _timestamp_pb2.Timestamp
    snippet: str
    highlights: _containers.RepeatedCompositeFieldContainer[Highlight]
    def __init__(self, conversation_id: _Optional[str] = ..., conversation_title: _Optional[str] = ..., message_id: _Optional[str] = ..., role: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., snippet: _Optional[str] = ..., highlights: _Optional[_Iterable[_Union[Highlight, _Mapping]]] = ...) -> None: ...

class Highlight(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class ExportConversationRequest(_message.Message):
    __slots__ = ("conversation_id", "format", "view", "image_bytes")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    format: ConversationFormat
    view: MessageView
    image_bytes: bool
    def __init__(self, conversation_id: _Optional[str] = ..., format: _Optional[_Union[ConversationFormat, str]] = ..., view: _Optional[_Union[MessageView, str]] = ..., image_bytes: bool = ...) -> None: ...

class ExportConversationResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class ImportConversationRequest(_message.Message):
    __slots__ = ("format", "conversation_id", "title", "chunk")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    format: ConversationFormat
    conversation_id: str
    title: str
    chunk: bytes
    def __init__(self, format: _Optional[_Union[ConversationFormat, str]] = ..., conversation_id: _Optional[str] = ..., title: _Optional[str] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class ImportConversationResponse(_message.Message):
    __slots__ = ("conversation",)
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ...) -> None: ...

class WatchConversationRequest(_message.Message):
    __slots__ = ("conversation_id", "after_revision", "heartbeat_interval")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    after_revision: int
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, conversation_id: _Optional[str] = ..., after_revision: _Optional[int] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchConversationResponse(_message.Message):
    __slots__ = ("revision", "created", "message_appended", "message_updated", "conversation_updated", "deleted", "heartbeat")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_APPENDED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_UPDATED_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_UPDATED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    revision: int
    created: Conversation
    message_appended: MessageAppended
    message_updated: _message_pb2.Message
    conversation_updated: Conversation
    deleted: ConversationDeleted
    heartbeat: Heartbeat
    def __init__(self, revision: _Optional[int] = ..., created: _Optional[_Union[Conversation, _Mapping]] = ..., message_appended: _Optional[_Union[MessageAppended, _Mapping]] = ..., message_updated: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., conversation_updated: _Optional[_Union[Conversation, _Mapping]] = ..., deleted: _Optional[_Union[ConversationDeleted, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class MessageAppended(_message.Message):
    __slots__ = ("message", "moved_head")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MOVED_HEAD_FIELD_NUMBER: _ClassVar[int]
    message: _message_pb2.Message
    moved_head: bool
    def __init__(self, message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., moved_head: bool = ...) -> None: ...

class ConversationDeleted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("send_time",)
    SEND_TIME_FIELD_NUMBER: _ClassVar[int]
    send_time: _timestamp_pb2.Timestamp
    def __init__(self, send_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
