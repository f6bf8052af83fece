"""Specs of steps in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stepwire.v1 import step_run_pb2
from stepwired.errors import Reason, Violation
from stepwired.events import Json
from stepwired.limits import Limits
from stepwired.rpc.convert.chat import chat_options
from stepwired.rpc.convert.values import read_json
from stepwired.rpc.violations import Faults, ordered, utf8_bytes
from stepwired.steps import spec
from stepwired.steps.results import ErrorMode
from stepwired.steps.spec import Spec

_NAME_BYTES = 128
_MODEL_BYTES = 256
_LABELS, _LABEL_BYTES = 64, 256
_TEMPLATE_BYTES = 64 * 1024
_ALL_LABELS_BYTES = 1024 * 1024

_ERROR_MODE = {
    step_run_pb2.ERROR_MODE_CONTINUE: ErrorMode.CONTINUE,
    step_run_pb2.ERROR_MODE_FAIL_FAST: ErrorMode.FAIL_FAST,
}


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
        faults, limits = self._faults, self._limits
        faults.text(f"{path}.name", given.name, _NAME_BYTES)
        return Spec(
            kind=kind,
            path=path,
            name=given.name,
            labels=self._labels(f"{path}.labels", given.labels),
            max_concurrency=self._number(
                f"{path}.max_concurrency",
                given.max_concurrency if given.HasField("max_concurrency") else None,
                limits.step_concurrency,
            ),
            buffer=self._number(
                f"{path}.buffer", given.buffer if given.HasField("buffer") else None, limits.step_buffer
            ),
        )

    def _kind(self, given: step_run_pb2.Step, path: str) -> spec.Kind | None:
        faults = self._faults
        match given.WhichOneof("kind"):
            case "named":
                faults.text(f"{path}.named", given.named, _MODEL_BYTES, required=True)
                return spec.Named(given.named[:_MODEL_BYTES])
            case "compose":
                return spec.Compose(self.specs(given.compose.steps, f"{path}.compose.steps"))
            case "map":
                return self._map(given.map, f"{path}.map")
            case "spread":
                return spec.Spread()
            case "gather":
                return spec.Gather()
            case "chat":
                faults.text(f"{path}.chat.model", given.chat.model, _MODEL_BYTES)
                faults.text(f"{path}.chat.system", given.chat.system, self._limits.message_text_bytes)
                options = chat_options(f"{path}.chat.options", given.chat.options, faults)
                return spec.ChatLeaf(given.chat.model, given.chat.system, options)
            case "embed":
                faults.text(f"{path}.embed.model", given.embed.model, _MODEL_BYTES)
                return spec.EmbedLeaf(given.embed.model)
            case "search":
                return self._search(given.search, f"{path}.search")
            case "render":
                faults.text(f"{path}.render.template", given.render.template, _TEMPLATE_BYTES)
                return spec.Render(given.render.template)
            case _:
                return None

    def _map(self, given: step_run_pb2.MapStep, path: str) -> spec.Map:
        step = None
        if given.HasField("step") and len(self.paths) <= self._limits.step_nodes:
            step = self._spec(given.step, f"{path}.step")
        return spec.Map(step)

    def _search(self, given: step_run_pb2.SearchStep, path: str) -> spec.SearchLeaf:
        top_k = given.top_k if given.HasField("top_k") else None
        if top_k is not None and top_k < 1:
            self._faults.add(f"{path}.top_k", f"is {top_k}, and must be at least 1")
        self._faults.text(f"{path}.model", given.model, _MODEL_BYTES)
        return spec.SearchLeaf(top_k, given.model)

    def _number(self, path: str, given: int | None, most: int) -> int:
        """Read an optional number of 1 to `most`, by default 1."""
        if given is None:
            return 1
        self._faults.within(path, given, 1, most)
        return given

    def _labels(self, path: str, given: Mapping[str, str]) -> dict[str, str]:
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
