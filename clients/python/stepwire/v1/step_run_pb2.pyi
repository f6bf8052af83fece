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
    STAGE_EVENT_KIND_CANCELLED: _ClassVar[StageEventKind]
    STAGE_EVENT_KIND_RETRYING: _ClassVar[StageEventKind]
    STAGE_EVENT_KIND_RESTARTED: _ClassVar[StageEventKind]

class ChatEmit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHAT_EMIT_UNSPECIFIED: _ClassVar[ChatEmit]
    CHAT_EMIT_MESSAGE: _ClassVar[ChatEmit]
    CHAT_EMIT_DELTAS: _ClassVar[ChatEmit]

class RetryEmitted(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RETRY_EMITTED_UNSPECIFIED: _ClassVar[RetryEmitted]
    RETRY_EMITTED_FAIL: _ClassVar[RetryEmitted]
    RETRY_EMITTED_BUFFER: _ClassVar[RetryEmitted]
    RETRY_EMITTED_RESTART: _ClassVar[RetryEmitted]

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
STAGE_EVENT_KIND_CANCELLED: StageEventKind
STAGE_EVENT_KIND_RETRYING: StageEventKind
STAGE_EVENT_KIND_RESTARTED: StageEventKind
CHAT_EMIT_UNSPECIFIED: ChatEmit
CHAT_EMIT_MESSAGE: ChatEmit
CHAT_EMIT_DELTAS: ChatEmit
RETRY_EMITTED_UNSPECIFIED: RetryEmitted
RETRY_EMITTED_FAIL: RetryEmitted
RETRY_EMITTED_BUFFER: RetryEmitted
RETRY_EMITTED_RESTART: RetryEmitted
STEP_OUTCOME_UNSPECIFIED: StepOutcome
STEP_OUTCOME_COMPLETED: StepOutcome
STEP_OUTCOME_FAILED: StepOutcome
STEP_OUTCOME_CANCELLED: StepOutcome

class Step(_message.Message):
    __slots__ = ("named", "compose", "map", "spread", "gather", "chat", "embed", "search", "render", "javascript", "client", "take", "filter", "process", "parallel", "retry", "timeout", "state", "choice", "name", "labels", "max_concurrency", "buffer", "as_completed")
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
    JAVASCRIPT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    TAKE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    AS_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    named: str
    compose: ComposeStep
    map: MapStep
    spread: SpreadStep
    gather: GatherStep
    chat: ChatStep
    embed: EmbedStep
    search: SearchStep
    render: RenderStep
    javascript: str
    client: str
    take: TakeStep
    filter: FilterStep
    process: ProcessStep
    parallel: ParallelStep
    retry: RetryStep
    timeout: TimeoutStep
    state: StateStep
    choice: ChoiceStep
    name: str
    labels: _containers.ScalarMap[str, str]
    max_concurrency: int
    buffer: int
    as_completed: bool
    def __init__(self, named: _Optional[str] = ..., compose: _Optional[_Union[ComposeStep, _Mapping]] = ..., map: _Optional[_Union[MapStep, _Mapping]] = ..., spread: _Optional[_Union[SpreadStep, _Mapping]] = ..., gather: _Optional[_Union[GatherStep, _Mapping]] = ..., chat: _Optional[_Union[ChatStep, _Mapping]] = ..., embed: _Optional[_Union[EmbedStep, _Mapping]] = ..., search: _Optional[_Union[SearchStep, _Mapping]] = ..., render: _Optional[_Union[RenderStep, _Mapping]] = ..., javascript: _Optional[str] = ..., client: _Optional[str] = ..., take: _Optional[_Union[TakeStep, _Mapping]] = ..., filter: _Optional[_Union[FilterStep, _Mapping]] = ..., process: _Optional[_Union[ProcessStep, _Mapping]] = ..., parallel: _Optional[_Union[ParallelStep, _Mapping]] = ..., retry: _Optional[_Union[RetryStep, _Mapping]] = ..., timeout: _Optional[_Union[TimeoutStep, _Mapping]] = ..., state: _Optional[_Union[StateStep, _Mapping]] = ..., choice: _Optional[_Union[ChoiceStep, _Mapping]] = ..., name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., max_concurrency: _Optional[int] = ..., buffer: _Optional[int] = ..., as_completed: bool = ...) -> None: ...

class TakeStep(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class FilterStep(_message.Message):
    __slots__ = ("where",)
    WHERE_FIELD_NUMBER: _ClassVar[int]
    where: Step
    def __init__(self, where: _Optional[_Union[Step, _Mapping]] = ...) -> None: ...

class ProcessStep(_message.Message):
    __slots__ = ("pre", "process", "post")
    PRE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    POST_FIELD_NUMBER: _ClassVar[int]
    pre: Step
    process: Step
    post: Step
    def __init__(self, pre: _Optional[_Union[Step, _Mapping]] = ..., process: _Optional[_Union[Step, _Mapping]] = ..., post: _Optional[_Union[Step, _Mapping]] = ...) -> None: ...

class ParallelStep(_message.Message):
    __slots__ = ("step", "max_concurrency", "as_completed", "fail_fast")
    STEP_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    AS_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAIL_FAST_FIELD_NUMBER: _ClassVar[int]
    step: Step
    max_concurrency: int
    as_completed: bool
    fail_fast: bool
    def __init__(self, step: _Optional[_Union[Step, _Mapping]] = ..., max_concurrency: _Optional[int] = ..., as_completed: bool = ..., fail_fast: bool = ...) -> None: ...

class RetryStep(_message.Message):
    __slots__ = ("step", "max_attempts", "initial_delay", "multiplier", "max_delay", "jitter", "backoff", "when", "emitted")
    STEP_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_DELAY_FIELD_NUMBER: _ClassVar[int]
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    MAX_DELAY_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    EMITTED_FIELD_NUMBER: _ClassVar[int]
    step: Step
    max_attempts: int
    initial_delay: _duration_pb2.Duration
    multiplier: float
    max_delay: _duration_pb2.Duration
    jitter: float
    backoff: Step
    when: Step
    emitted: RetryEmitted
    def __init__(self, step: _Optional[_Union[Step, _Mapping]] = ..., max_attempts: _Optional[int] = ..., initial_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., multiplier: _Optional[float] = ..., max_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., jitter: _Optional[float] = ..., backoff: _Optional[_Union[Step, _Mapping]] = ..., when: _Optional[_Union[Step, _Mapping]] = ..., emitted: _Optional[_Union[RetryEmitted, str]] = ...) -> None: ...

class TimeoutStep(_message.Message):
    __slots__ = ("step", "limit")
    STEP_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    step: Step
    limit: _duration_pb2.Duration
    def __init__(self, step: _Optional[_Union[Step, _Mapping]] = ..., limit: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StateStep(_message.Message):
    __slots__ = ("step", "initial_state")
    STEP_FIELD_NUMBER: _ClassVar[int]
    INITIAL_STATE_FIELD_NUMBER: _ClassVar[int]
    step: Step
    initial_state: _struct_pb2.Value
    def __init__(self, step: _Optional[_Union[Step, _Mapping]] = ..., initial_state: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class ChoiceStep(_message.Message):
    __slots__ = ("cases", "otherwise")
    CASES_FIELD_NUMBER: _ClassVar[int]
    OTHERWISE_FIELD_NUMBER: _ClassVar[int]
    cases: _containers.RepeatedCompositeFieldContainer[ChoiceCase]
    otherwise: Step
    def __init__(self, cases: _Optional[_Iterable[_Union[ChoiceCase, _Mapping]]] = ..., otherwise: _Optional[_Union[Step, _Mapping]] = ...) -> None: ...

class ChoiceCase(_message.Message):
    __slots__ = ("when", "then")
    WHEN_FIELD_NUMBER: _ClassVar[int]
    THEN_FIELD_NUMBER: _ClassVar[int]
    when: Step
    then: Step
    def __init__(self, when: _Optional[_Union[Step, _Mapping]] = ..., then: _Optional[_Union[Step, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("model", "system", "options", "emit")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    EMIT_FIELD_NUMBER: _ClassVar[int]
    model: str
    system: str
    options: _chat_pb2.ChatOptions
    emit: ChatEmit
    def __init__(self, model: _Optional[str] = ..., system: _Optional[str] = ..., options: _Optional[_Union[_chat_pb2.ChatOptions, _Mapping]] = ..., emit: _Optional[_Union[ChatEmit, str]] = ...) -> None: ...

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
    __slots__ = ("step_path", "kind", "name", "text_delta", "value", "failure", "dropped_before", "attempt", "delay")
    STEP_PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DELAY_FIELD_NUMBER: _ClassVar[int]
    step_path: str
    kind: StageEventKind
    name: str
    text_delta: str
    value: _struct_pb2.Value
    failure: _message_pb2.Failure
    dropped_before: int
    attempt: int
    delay: _duration_pb2.Duration
    def __init__(self, step_path: _Optional[str] = ..., kind: _Optional[_Union[StageEventKind, str]] = ..., name: _Optional[str] = ..., text_delta: _Optional[str] = ..., value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., failure: _Optional[_Union[_message_pb2.Failure, _Mapping]] = ..., dropped_before: _Optional[int] = ..., attempt: _Optional[int] = ..., delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

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
    __slots__ = ("step_path", "type", "name", "start_time", "duration", "inputs", "outputs", "errors", "usage", "labels", "outcome", "model", "provider", "version", "attempts", "steps", "cache_hits")
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
    CACHE_HITS_FIELD_NUMBER: _ClassVar[int]
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
    cache_hits: int
    def __init__(self, step_path: _Optional[str] = ..., type: _Optional[str] = ..., name: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., inputs: _Optional[int] = ..., outputs: _Optional[int] = ..., errors: _Optional[int] = ..., usage: _Optional[_Union[_message_pb2.Usage, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., outcome: _Optional[_Union[StepOutcome, str]] = ..., model: _Optional[str] = ..., provider: _Optional[str] = ..., version: _Optional[str] = ..., attempts: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[StepMetadata, _Mapping]]] = ..., cache_hits: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("name", "version", "description", "provider", "input_schema", "output_schema", "is_tool", "worker_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    IS_TOOL_FIELD_NUMBER: _ClassVar[int]
    WORKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    description: str
    provider: str
    input_schema: _struct_pb2.Struct
    output_schema: _struct_pb2.Struct
    is_tool: bool
    worker_count: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., provider: _Optional[str] = ..., input_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., output_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., is_tool: bool = ..., worker_count: _Optional[int] = ...) -> None: ...

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

class RunInteractiveRequest(_message.Message):
    __slots__ = ("start", "reply")
    START_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    start: RunStepRequest
    reply: CallReply
    def __init__(self, start: _Optional[_Union[RunStepRequest, _Mapping]] = ..., reply: _Optional[_Union[CallReply, _Mapping]] = ...) -> None: ...

class RunInteractiveResponse(_message.Message):
    __slots__ = ("event", "call", "cancel_call")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    CANCEL_CALL_FIELD_NUMBER: _ClassVar[int]
    event: RunStepResponse
    call: Call
    cancel_call: CancelCall
    def __init__(self, event: _Optional[_Union[RunStepResponse, _Mapping]] = ..., call: _Optional[_Union[Call, _Mapping]] = ..., cancel_call: _Optional[_Union[CancelCall, _Mapping]] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ("call_id", "function", "input", "attempt", "time_left", "run_id", "step_path")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    FUNCTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_PATH_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    function: str
    input: _struct_pb2.Value
    attempt: int
    time_left: _duration_pb2.Duration
    run_id: str
    step_path: str
    def __init__(self, call_id: _Optional[str] = ..., function: _Optional[str] = ..., input: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., attempt: _Optional[int] = ..., time_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., run_id: _Optional[str] = ..., step_path: _Optional[str] = ...) -> None: ...

class CancelCall(_message.Message):
    __slots__ = ("call_id",)
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    def __init__(self, call_id: _Optional[str] = ...) -> None: ...

class CallReply(_message.Message):
    __slots__ = ("call_id", "output", "done", "error")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    output: _struct_pb2.Value
    done: CallDone
    error: CallError
    def __init__(self, call_id: _Optional[str] = ..., output: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., done: _Optional[_Union[CallDone, _Mapping]] = ..., error: _Optional[_Union[CallError, _Mapping]] = ...) -> None: ...

class CallDone(_message.Message):
    __slots__ = ("outputs",)
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    outputs: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Value]
    def __init__(self, outputs: _Optional[_Iterable[_Union[_struct_pb2.Value, _Mapping]]] = ...) -> None: ...

class CallError(_message.Message):
    __slots__ = ("message", "error_type", "is_transient", "retry_delay", "reason")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    IS_TRANSIENT_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    message: str
    error_type: str
    is_transient: bool
    retry_delay: _duration_pb2.Duration
    reason: str
    def __init__(self, message: _Optional[str] = ..., error_type: _Optional[str] = ..., is_transient: bool = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class ServeStepsRequest(_message.Message):
    __slots__ = ("register", "reply", "heartbeat", "drain")
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    register: WorkerRegistration
    reply: CallReply
    heartbeat: WorkerHeartbeat
    drain: WorkerDrain
    def __init__(self, register: _Optional[_Union[WorkerRegistration, _Mapping]] = ..., reply: _Optional[_Union[CallReply, _Mapping]] = ..., heartbeat: _Optional[_Union[WorkerHeartbeat, _Mapping]] = ..., drain: _Optional[_Union[WorkerDrain, _Mapping]] = ...) -> None: ...

class WorkerRegistration(_message.Message):
    __slots__ = ("steps", "max_in_flight", "worker_name")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    WORKER_NAME_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[WorkerStep]
    max_in_flight: int
    worker_name: str
    def __init__(self, steps: _Optional[_Iterable[_Union[WorkerStep, _Mapping]]] = ..., max_in_flight: _Optional[int] = ..., worker_name: _Optional[str] = ...) -> None: ...

class WorkerStep(_message.Message):
    __slots__ = ("name", "version", "description", "input_schema", "output_schema")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    description: str
    input_schema: _struct_pb2.Struct
    output_schema: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., input_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., output_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class WorkerHeartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkerDrain(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ServeStepsResponse(_message.Message):
    __slots__ = ("accepted", "call", "cancel_call", "heartbeat")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    CANCEL_CALL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    accepted: WorkerAccepted
    call: Call
    cancel_call: CancelCall
    heartbeat: WorkerHeartbeat
    def __init__(self, accepted: _Optional[_Union[WorkerAccepted, _Mapping]] = ..., call: _Optional[_Union[Call, _Mapping]] = ..., cancel_call: _Optional[_Union[CancelCall, _Mapping]] = ..., heartbeat: _Optional[_Union[WorkerHeartbeat, _Mapping]] = ...) -> None: ...

class WorkerAccepted(_message.Message):
    __slots__ = ("worker_id", "heartbeat_interval")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    heartbeat_interval: _duration_pb2.Duration
    def __init__(self, worker_id: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
