"""Specs of steps in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from stepwire.v1 import step_run_pb2
from stepwired.errors import Reason, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc.convert.chat import chat_options
from stepwired.rpc.convert.values import read_json
from stepwired.steps import spec
from stepwired.steps.results import ErrorMode
from stepwired.steps.spec import Spec
from stepwired.violations import Faults, ordered, utf8_bytes

_NAME_BYTES = 128
_MODEL_BYTES = 256
_LABELS, _LABEL_BYTES = 64, 256
_TEMPLATE_BYTES = _SOURCE_BYTES = 64 * 1024
_ALL_LABELS_BYTES = 1024 * 1024

_ERROR_MODE = {
    step_run_pb2.ERROR_MODE_CONTINUE: ErrorMode.CONTINUE,
    step_run_pb2.ERROR_MODE_FAIL_FAST: ErrorMode.FAIL_FAST,
}
_EMIT = {
    step_run_pb2.CHAT_EMIT_UNSPECIFIED: spec.ChatEmit.MESSAGE,
    step_run_pb2.CHAT_EMIT_MESSAGE: spec.ChatEmit.MESSAGE,
    step_run_pb2.CHAT_EMIT_DELTAS: spec.ChatEmit.DELTAS,
}
_EMITTED = {
    step_run_pb2.RETRY_EMITTED_UNSPECIFIED: spec.Emitted.FAIL,
    step_run_pb2.RETRY_EMITTED_FAIL: spec.Emitted.FAIL,
    step_run_pb2.RETRY_EMITTED_BUFFER: spec.Emitted.BUFFER,
    step_run_pb2.RETRY_EMITTED_RESTART: spec.Emitted.RESTART,
}

N = TypeVar("N", int, float)


class SpecReader:
    """Reads the steps of one request. Faults that only a registry can see are left to it."""

    def __init__(self, limits: Limits, faults: Faults) -> None:
        self._limits = limits
        self._faults = faults
        self.paths: list[str] = []
        """Where each step stands, in the order of the request."""

        self._labels_bytes = 0

    def specs(self, given: Sequence[step_run_pb2.Step], path: str = "steps") -> tuple[Spec, ...]:
        """Read steps that follow each other."""
        read = []
        for index, step in enumerate(given):
            if len(self.paths) > self._limits.step_nodes:
                break  # the registry sees that there are too many; the rest is not worth the time
            read.append(self._spec(step, f"{path}[{index}]"))
        return tuple(read)

    def ordered(self, found: Iterable[Violation]) -> list[Violation]:
        """Bring violations of steps into the order of the request."""
        return ordered(list(found), self.paths)

    def _spec(self, given: step_run_pb2.Step, path: str) -> Spec:
        self.paths.append(path)
        self._count_labels(path, given.labels)
        kind = self._kind(given, path)
        self._faults.text(f"{path}.name", given.name, _NAME_BYTES)
        return Spec(
            kind=kind,
            path=path,
            name=given.name,
            labels=self.labels(f"{path}.labels", given.labels),
            max_concurrency=self._number(given, "max_concurrency", path, (1, self._limits.step_concurrency), 1),
            buffer=self._number(given, "buffer", path, (1, self._limits.step_buffer), 1),
            as_completed=given.as_completed,
        )

    def _kind(self, given: step_run_pb2.Step, path: str) -> spec.Kind | None:
        name = given.WhichOneof("kind")
        if name is None:
            return None
        read: Callable[[Any, str], spec.Kind] = getattr(self, f"_{name}")
        return read(getattr(given, name), f"{path}.{name}")

    def _inner(self, given: Any, name: str, path: str) -> Spec | None:
        """Read a step that is a field of its own. Whether it may be missing, the registry knows."""
        if given.HasField(name) and len(self.paths) <= self._limits.step_nodes:
            return self._spec(getattr(given, name), f"{path}.{name}")
        return None

    # One method for each kind, by the name it has in the request.

    def _named(self, given: str, path: str) -> spec.Named:
        self._faults.text(path, given, _MODEL_BYTES, required=True)
        return spec.Named(given[:_MODEL_BYTES])

    def _compose(self, given: step_run_pb2.ComposeStep, path: str) -> spec.Compose:
        return spec.Compose(self.specs(given.steps, f"{path}.steps"))

    def _map(self, given: step_run_pb2.MapStep, path: str) -> spec.Map:
        return spec.Map(self._inner(given, "step", path))

    def _spread(self, _given: step_run_pb2.SpreadStep, _path: str) -> spec.Spread:
        return spec.Spread()

    def _gather(self, _given: step_run_pb2.GatherStep, _path: str) -> spec.Gather:
        return spec.Gather()

    def _chat(self, given: step_run_pb2.ChatStep, path: str) -> spec.ChatLeaf:
        self._faults.text(f"{path}.model", given.model, _MODEL_BYTES)
        self._faults.text(f"{path}.system", given.system, self._limits.message_text_bytes)
        options = chat_options(f"{path}.options", given.options, self._faults)
        emit = self._faults.choice(f"{path}.emit", given.emit, _EMIT, "way to emit")
        return spec.ChatLeaf(given.model, given.system, options, emit)

    def _embed(self, given: step_run_pb2.EmbedStep, path: str) -> spec.EmbedLeaf:
        self._faults.text(f"{path}.model", given.model, _MODEL_BYTES)
        return spec.EmbedLeaf(given.model)

    def _search(self, given: step_run_pb2.SearchStep, path: str) -> spec.SearchLeaf:
        top_k = given.top_k if given.HasField("top_k") else None
        if top_k is not None and top_k < 1:
            self._faults.add(f"{path}.top_k", f"is {top_k}, and must be at least 1")
        self._faults.text(f"{path}.model", given.model, _MODEL_BYTES)
        return spec.SearchLeaf(top_k, given.model)

    def _render(self, given: step_run_pb2.RenderStep, path: str) -> spec.Render:
        self._faults.text(f"{path}.template", given.template, _TEMPLATE_BYTES)
        return spec.Render(given.template)

    def _javascript(self, given: str, path: str) -> spec.Javascript:
        size = self._faults.text(path, given, _SOURCE_BYTES, required=True)
        return spec.Javascript(given if size <= _SOURCE_BYTES else "")

    def _client(self, given: str, path: str) -> spec.Client:
        self._faults.text(path, given, _NAME_BYTES, required=True)
        return spec.Client(given)

    def _take(self, given: step_run_pb2.TakeStep, path: str) -> spec.Take:
        if not given.HasField("count"):
            self._faults.add(f"{path}.count", "is needed", Reason.FIELD_REQUIRED)
        return spec.Take(self._number(given, "count", path, (0, self._limits.step_values), 0))

    def _filter(self, given: step_run_pb2.FilterStep, path: str) -> spec.Filter:
        return spec.Filter(self._inner(given, "where", path))

    def _process(self, given: step_run_pb2.ProcessStep, path: str) -> spec.Process:
        return spec.Process(*(self._inner(given, name, path) for name in ("pre", "process", "post")))

    def _parallel(self, given: step_run_pb2.ParallelStep, path: str) -> spec.Parallel:
        return spec.Parallel(
            self._inner(given, "step", path),
            self._count(given, "max_concurrency", path, self._limits.step_concurrency, 4),
            given.as_completed,
            given.fail_fast,
        )

    def _retry(self, given: step_run_pb2.RetryStep, path: str) -> spec.Retry:
        return spec.Retry(
            step=self._inner(given, "step", path),
            max_attempts=self._count(given, "max_attempts", path, self._limits.step_attempts, 3),
            initial_delay_s=self._seconds(given, "initial_delay", path, 1.0),
            multiplier=self._number(given, "multiplier", path, (1.0, 100.0), 2.0),
            max_delay_s=self._seconds(given, "max_delay", path, 60.0),
            jitter=self._number(given, "jitter", path, (0.0, 1.0), 0.2),
            backoff=self._inner(given, "backoff", path),
            when=self._inner(given, "when", path),
            emitted=self._faults.choice(f"{path}.emitted", given.emitted, _EMITTED, "way to treat results"),
        )

    def _timeout(self, given: step_run_pb2.TimeoutStep, path: str) -> spec.Timeout:
        limit_s = self._seconds(given, "limit", path, None)
        return spec.Timeout(self._inner(given, "step", path), limit_s)

    def _state(self, given: step_run_pb2.StateStep, path: str) -> spec.State:
        initial: Json = None
        if given.HasField("initial_state"):
            where, most = f"{path}.initial_state", self._limits.step_value_bytes
            initial = read_json(where, given.initial_state, most, self._limits, self._faults, Reason.FIELD_INVALID)
            self._faults.json(where, initial, most, self._limits, Reason.FIELD_INVALID)
        return spec.State(self._inner(given, "step", path), initial)

    def _choice(self, given: step_run_pb2.ChoiceStep, path: str) -> spec.Choice:
        cases = []
        for index, case in enumerate(given.cases):
            if len(self.paths) > self._limits.step_nodes:
                break
            where = f"{path}.cases[{index}]"
            cases.append(spec.Case(self._inner(case, "when", where), self._inner(case, "then", where)))
        return spec.Choice(tuple(cases), self._inner(given, "otherwise", path))

    def _number(self, given: Any, name: str, path: str, among: tuple[N, N], default: N) -> N:
        """Read an optional number."""
        if not given.HasField(name):
            return default
        number: N = getattr(given, name)
        self._faults.within(f"{path}.{name}", number, *among)
        return number

    def _count(self, given: Any, name: str, path: str, most: int, default: int) -> int:
        """Read a number of 1 to `most`, where 0 says nothing."""
        number: int = getattr(given, name) or default
        self._faults.within(f"{path}.{name}", number, 1, most)
        return number

    def _seconds(self, given: Any, name: str, path: str, default: float | None) -> float:
        """Read a duration of at most an hour; one without a default is needed, and above 0."""
        where = f"{path}.{name}"
        if not given.HasField(name):
            if default is None:
                self._faults.add(where, "is needed", Reason.FIELD_REQUIRED)
            return default or 0.0
        said = getattr(given, name)
        seconds: float = said.seconds + said.nanos / 1e9
        if abs(said.nanos) >= 10**9 or said.seconds * said.nanos < 0:
            self._faults.add(where, "is no duration: its nanos are out of range")
        elif default is None and seconds <= 0:
            self._faults.add(where, f"is {seconds:g} s, and must be above 0")
        else:
            self._faults.within(where, seconds, 0, self._limits.step_wait_s)
        return seconds

    def labels(self, path: str, given: Mapping[str, str]) -> dict[str, str]:
        """Read the labels of one thing."""
        if self._faults.count(path, len(given), _LABELS):
            for key in sorted(given):  # protobuf keeps maps in no order
                short = key if utf8_bytes(key) <= _LABEL_BYTES else "…"
                if not key or short != key or utf8_bytes(given[key]) > _LABEL_BYTES or "\0" in key + given[key]:
                    what = f"a label has 1 to {_LABEL_BYTES} bytes of name, at most {_LABEL_BYTES} of value, and no NUL"
                    self._faults.add(path, f"`{short}`: {what}")
                    break
        return dict(given)

    def _count_labels(self, path: str, given: Mapping[str, str]) -> None:
        """Count what all labels take together in the run's metadata, which has to be sent."""
        before = self._labels_bytes
        self._labels_bytes += sum(utf8_bytes(key) + utf8_bytes(value) + 8 for key, value in given.items())
        if before <= _ALL_LABELS_BYTES < self._labels_bytes:
            self._faults.add(f"{path}.labels", f"all labels together take more than {_ALL_LABELS_BYTES} bytes")


def run_input(
    given: step_run_pb2.RunStepRequest | step_run_pb2.CollectStepRequest, limits: Limits, faults: Faults
) -> Json:
    """Read the value to begin with; null where there is none."""
    if not given.HasField("input"):
        return None
    bad = Reason.STEP_INPUT_INVALID
    value = read_json("input", given.input, limits.input_bytes, limits, faults, bad)
    faults.json("input", value, limits.input_bytes, limits, bad)
    return value


def error_mode(given: int, default: ErrorMode, faults: Faults) -> ErrorMode:
    """Read what to do when an item fails."""
    if given and given not in _ERROR_MODE:
        faults.add("error_mode", f"{given} is no error mode")
    return _ERROR_MODE.get(given, default)  # type: ignore[call-overload, no-any-return]
