import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from stepwire.v1 import chat_pb2 as _chat_pb2
from stepwire.v1 import message_pb2 as _message_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_MODE_UNSPECIFIED: _ClassVar[ErrorMode]
    ERROR_MODE_CONTINUE: _ClassVar[ErrorMode]
    ERROR_MODE_FAIL_FAST: _ClassVar[ErrorMode]

class StageEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_EVENT_KIND_UNSPECIFIED: _ClassVar[StageEventKind]
    STAGE_EVENT_KIND_STARTED: _ClassVar[StageEventKind]
    STAGE_EVENT_KIND_RESULT: _ClassVar[StageEventKind]
    STAGE_EVENT_KIND_ERROR: _ClassVar[StageEventKind]
    STAGE_EVENT_KIND_COMPLETED: _ClassVar[StageEventKind]
    STAGE_EVENT_KIND_TEXT_DELTA: _ClassVar[StageEventKind]

class StepOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEP_OUTCOME_UNSPECIFIED: _ClassVar[StepOutcome]
    STEP_OUTCOME_COMPLETED: _ClassVar[StepOutcome]
    STEP_OUTCOME_FAILED: _ClassVar[StepOutcome]
    STEP_OUTCOME_CANCELLED: _ClassVar[StepOutcome]
ERROR_MODE_UNSPECIFIED: ErrorMode
ERROR_MODE_CONTINUE: ErrorMode
ERROR_MODE_FAIL_FAST: ErrorMode
STAGE_EVENT_KIND_UNSPECIFIED: StageEventKind
STAGE_EVENT_KIND_STARTED: StageEventKind
STAGE_EVENT_KIND_RESULT: StageEventKind
STAGE_EVENT_KIND_ERROR: StageEventKind
STAGE_EVENT_KIND_COMPLETED: StageEventKind
STAGE_EVENT_KIND_TEXT_DELTA: StageEventKind
STEP_OUTCOME_UNSPECIFIED: StepOutcome
STEP_OUTCOME_COMPLETED: StepOutcome
STEP_OUTCOME_FAILED: StepOutcome
STEP_OUTCOME_CANCELLED: StepOutcome

class Step(_message.Message):
    __slots__ = ("named", "compose", "map", "spread", "gather", "chat", "embed", "search", "render", "name", "labels", "max_concurrency", "buffer")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMED_FIELD_NUMBER: _ClassVar[int]
    COMPOSE_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    GATHER_FIELD_NUMBER: _ClassVar[int]
    CHAT_FIELD_NUMBER: _ClassVar[int]
    EMBED_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    named: str
    compose: ComposeStep
    map: MapStep
    spread: SpreadStep
    gather: GatherStep
    chat: ChatStep
    embed: EmbedStep
    search: SearchStep
    render: RenderStep
    name: str
    labels: _containers.ScalarMap[str, str]
    max_concurrency: int
    buffer: int
    def __init__(self, named: _Optional[str] = ..., compose: _Optional[_Union[ComposeStep, _Mapping]] = ..., map: _Optional[_Union[MapStep, _Mapping]] = ..., spread: _Optional[_Union[SpreadStep, _Mapping]] = ..., gather: _Optional[_Union[GatherStep, _Mapping]] = ..., chat: _Optional[_Union[ChatStep, _Mapping]] = ..., embed: _Optional[_Union[EmbedStep, _Mapping]] = ..., search: _Optional[_Union[SearchStep, _Mapping]] = ..., render: _Optional[_Union[RenderStep, _Mapping]] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., max_concurrency: _Optional[int] = ..., buffer: _Optional[int] = ...) -> None: ...

class ComposeStep(_message.Message):
    __slots__ = ("steps",)
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class MapStep(_message.Message):
    __slots__ = ("step",)
    STEP_FIELD_NUMBER: _ClassVar[int]
    step: Step
    def __init__(self, step: _Optional[_Union[Step, _Mapping]] = ...) -> None: ...

class SpreadStep(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GatherStep(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ChatStep(_message.Message):
    __slots__ = ("model", "system", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    system: str
    options: _chat_pb2.ChatOptions
    def __init__(self, model: _Optional[str] = ..., system: _Optional[str] = ..., options: _Optional[_Union[_chat_pb2.ChatOptions, _Mapping]] = ...) -> None: ...

class EmbedStep(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class SearchStep(_message.Message):
    __slots__ = ("top_k", "model")
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    top_k: int
    model: str
    def __init__(self, top_k: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class RenderStep(_message.Message):
    __slots__ = ("template",)
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    template: str
    def __init__(self, template: _Optional[str] = ...) -> None: ...

class RunStepRequest(_message.Message):
    __slots__ = ("steps", "input", "error_mode", "events", "run_id")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_MODE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    input: _struct_pb2.Value
    error_mode: ErrorMode
    events: bool
    run_id: str
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., input: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., error_mode: _Optional[_Union[ErrorMode, str]] = ..., events: bool = ..., run_id: _Optional[str] = ...) -> None: ...

class RunStepResponse(_message.Message):
    __slots__ = ("seq", "path", "value", "embedding", "message", "data", "failure", "started", "stage", "finished")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    seq: int
    path: _containers.RepeatedScalarFieldContainer[int]
    value: _struct_pb2.Value
    embedding: _message_pb2.Embedding
    message: _message_pb2.Message
    data: bytes
    failure: _message_pb2.Failure
    started: RunStarted
    stage: StageEvent
    finished: RunFinished
    def __init__(self, seq: _Optional[int] = ..., path: _Optional[_Iterable[int]] = ..., value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., embedding: _Optional[_Union[_message_pb2.Embedding, _Mapping]] = ..., message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., data: _Optional[bytes] = ..., failure: _Optional[_Union[_message_pb2.Failure, _Mapping]] = ..., started: _Optional[_Union[RunStarted, _Mapping]] = ..., stage: _Optional[_Union[StageEvent, _Mapping]] = ..., finished: _Optional[_Union[RunFinished, _Mapping]] = ...) -> None: ...

class RunStarted(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class StageEvent(_message.Message):
    __slots__ = ("step_path", "kind", "name", "text_delta", "value", "failure", "dropped_before")
    STEP_PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    step_path: str
    kind: StageEventKind
    name: str
    text_delta: str
    value: _struct_pb2.Value
    failure: _message_pb2.Failure
    dropped_before: int
    def __init__(self, step_path: _Optional[str] = ..., kind: _Optional[_Union[StageEventKind, str]] = ..., name: _Optional[str] = ..., text_delta: _Optional[str] = ..., value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., failure: _Optional[_Union[_message_pb2.Failure, _Mapping]] = ..., dropped_before: _Optional[int] = ...) -> None: ...

class RunFinished(_message.Message):
    __slots__ = ("results", "errors", "metadata", "aborted", "inputs_not_started")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ABORTED_FIELD_NUMBER: _ClassVar[int]
    INPUTS_NOT_STARTED_FIELD_NUMBER: _ClassVar[int]
    results: int
    errors: int
    metadata: StepMetadata
    aborted: bool
    inputs_not_started: int
    def __init__(self, results: _Optional[int] = ..., errors: _Optional[int] = ..., metadata: _Optional[_Union[StepMetadata, _Mapping]] = ..., aborted: bool = ..., inputs_not_started: _Optional[int] = ...) -> None: ...

class StepMetadata(_message.Message):
    __slots__ = ("step_path", "type", "name", "start_time", "duration", "inputs", "outputs", "errors", "usage", "labels", "outcome", "model", "provider", "version", "attempts", "steps")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STEP_PATH_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    step_path: str
    type: str
    name: str
    start_time: _timestamp_pb2.Timestamp
    duration: _duration_pb2.Duration
    inputs: int
    outputs: int
    errors: int
    usage: _message_pb2.Usage
    labels: _containers.ScalarMap[str, str]
    outcome: StepOutcome
    model: str
    provider: str
    version: str
    attempts: int
    steps: _containers.RepeatedCompositeFieldContainer[StepMetadata]
    def __init__(self, step_path: _Optional[str] = ..., type: _Optional[str] = ..., name: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., inputs: _Optional[int] = ..., outputs: _Optional[int] = ..., errors: _Optional[int] = ..., usage: _Optional[_Union[_message_pb2.Usage, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., outcome: _Optional[_Union[StepOutcome, str]] = ..., model: _Optional[str] = ..., provider: _Optional[str] = ..., version: _Optional[str] = ..., attempts: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[StepMetadata, _Mapping]]] = ...) -> None: ...

class CollectStepRequest(_message.Message):
    __slots__ = ("steps", "input", "error_mode", "run_id")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_MODE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    input: _struct_pb2.Value
    error_mode: ErrorMode
    run_id: str
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., input: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., error_mode: _Optional[_Union[ErrorMode, str]] = ..., run_id: _Optional[str] = ...) -> None: ...

class CollectStepResponse(_message.Message):
    __slots__ = ("results", "metadata", "run_id")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StepResult]
    metadata: StepMetadata
    run_id: str
    def __init__(self, results: _Optional[_Iterable[_Union[StepResult, _Mapping]]] = ..., metadata: _Optional[_Union[StepMetadata, _Mapping]] = ..., run_id: _Optional[str] = ...) -> None: ...

class StepResult(_message.Message):
    __slots__ = ("path", "value", "embedding", "message", "data", "failure")
    PATH_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    path: _containers.RepeatedScalarFieldContainer[int]
    value: _struct_pb2.Value
    embedding: _message_pb2.Embedding
    message: _message_pb2.Message
    data: bytes
    failure: _message_pb2.Failure
    def __init__(self, path: _Optional[_Iterable[int]] = ..., value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., embedding: _Optional[_Union[_message_pb2.Embedding, _Mapping]] = ..., message: _Optional[_Union[_message_pb2.Message, _Mapping]] = ..., data: _Optional[bytes] = ..., failure: _Optional[_Union[_message_pb2.Failure, _Mapping]] = ...) -> None: ...

class ListStepsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStepsResponse(_message.Message):
    __slots__ = ("steps", "next_page_token")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[StepInfo]
    next_page_token: str
    def __init__(self, steps: _Optional[_Iterable[_Union[StepInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StepInfo(_message.Message):
    __slots__ = ("name", "version", "description", "provider")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    description: str
    provider: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., provider: _Optional[str] = ...) -> None: ...

class ValidateStepRequest(_message.Message):
    __slots__ = ("steps",)
    STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class ValidateStepResponse(_message.Message):
    __slots__ = ("violations",)
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    violations: _containers.RepeatedCompositeFieldContainer[_message_pb2.Violation]
    def __init__(self, violations: _Optional[_Iterable[_Union[_message_pb2.Violation, _Mapping]]] = ...) -> None: ...
