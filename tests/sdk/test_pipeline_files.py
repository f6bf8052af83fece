"""Pipelines as people write them: what a file says, and where it is wrong."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from stepwire import Pipeline, Step
from stepwire.cli import documents
from stepwire.cli.pipeline_files import PipelineFileError, read, written

SHOUT = """\
# What people write.
name: shout
version: 1.10
description: |
  The lines of a text,
  louder.
labels: {team: blue}
input_schema:
  type: string
steps:
  - lines
  - map:
      step: {named: upper}
      # the end
input: [on, 2024-01-01, 0x1F, yes, 1_000, 1e3, -7, true, ~]
"""

STEPS = [Step(named="lines"), json_format.ParseDict({"map": {"step": {"named": "upper"}}}, Step())]


def test_a_file_says_all_that_is_known_of_a_pipeline() -> None:
    found = read(SHOUT, "shout.yaml")
    assert (found.name, found.version, found.description) == ("shout", "1.10", "The lines of a text,\nlouder.\n")
    assert (found.steps, found.labels, found.input_schema) == (STEPS, {"team": "blue"}, {"type": "string"})
    assert found.input == ["on", "2024-01-01", "0x1F", "yes", "1_000", 1000.0, -7, True, None]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('["lines", {"map": {"step": {"named": "upper"}}}]', "p.json"),
        ('{"steps": ["lines", {"map": {"step": {"named": "upper"}}}]}', "-"),
        ("- lines\n- map: {step: {named: upper}}\n", "-"),
        ("[lines, {map: {step: {named: upper}}}]", "<stdin>"),
        ('[\n\t"lines",\n\t{"map": {"step": {"named": "upper"}}}\n]', "<stdin>"),
        ("[lines, {map: {step: {named: upper}}}]", "p.yml"),
        ("- lines\n- &up {named: upper}\n- map: {step: *up}\n", "p.yaml"),
    ],
)
def test_lists_and_objects_in_json_and_yaml_say_the_same(text: str, name: str) -> None:
    found = read(text, name)
    assert [step for step in found.steps if not step.HasField("named") or step.named == "lines"] == STEPS
    assert (found.name, found.version, found.input, found.input_schema) == ("", "", None, None)


WRONG: list[tuple[str, str, int, str, str]] = [
    ("steps:\n  - trim\n  - map:\n      stepp: {}\n", "p.yaml", 4, "steps[1].map.stepp", "did you mean `step`?"),
    ("- trim\n- take:\n    count: x\n", "p.yaml", 3, "steps[1].take.count", "invalid literal"),
    (
        '["a",\n {"compose": {"steps": [\n {"nope": 1}]}}]',
        "p.json",
        3,
        "steps[1].compose.steps[0].nope",
        "no such field",
    ),
    ("steps:\n- named: 1e5\n", "p.yaml", 2, "steps[0].named", "is 100000.0 and no text"),
    ("steps:\n- {named: a, spread: {}}\n", "p.yaml", 2, "steps[0]", "multiple"),
    ("steps:\n- compose:\n    steps: {}\n", "p.yaml", 3, "steps[0].compose.steps", "is no list"),
    ("steps:\n- 7\n", "p.yaml", 2, "steps[0]", "is no object"),
    ("steps:\n- map: []\n", "p.yaml", 2, "steps[0].map", "is no object"),
    ("steps:\n- chat: {emit: X}\n", "p.yaml", 2, "steps[0].chat.emit", "Invalid enum value"),
    ("steps:\n- labels: {a: 1}\n", "p.yaml", 2, "steps[0].labels", "expected string"),
    ("steps: upper\n", "p.yaml", 1, "steps", "is no list"),
    ("name: p\n", "p.yaml", 1, "", "neither a list of steps"),
    ("7\n", "p.yaml", 1, "", "neither a list of steps"),
    ("", "p.yaml", 0, "", "neither a list of steps"),
    ("steps: []\nstep: []\n", "p.yaml", 2, "step", "is none of"),
    ("steps: []\nname: [a]\n", "p.yaml", 2, "name", "is no text"),
    ("steps: []\nversion: true\n", "p.yaml", 2, "version", "is no text"),
    ("steps: []\n\nlabels: [a]\n", "p.yaml", 3, "labels", ""),
    ("steps: []\ninput_schema: 3\n", "p.yaml", 2, "input_schema", ""),
    ("a: 1\nb: 2\na: 2\n", "p.yaml", 3, "", "`a` stands twice"),
    ('{"steps": [],\n"steps": []}', "p.json", 0, "", "`steps` stands twice"),
    ('{"steps": [\n}', "p.json", 2, "", "no JSON"),
    ('{"steps": [NaN]}', "p.json", 0, "", "NaN is no JSON"),
    ("steps: [\n", "p.yaml", 2, "", "no YAML"),
    ("a: 1\n---\nb: 2\n", "p.yaml", 2, "", "no YAML"),
    ("- !!python/object/apply:os.system [ls]\n", "p.yaml", 1, "", "no YAML"),
    ("- !!binary aGk=\n", "p.yaml", 1, "", "no YAML"),
    ("? [a]\n: b\n", "p.yaml", 1, "", "a key is no text"),
    ("a: *b\n", "p.yaml", 1, "", "no YAML"),
    ("\tx\n", "p.yaml", 1, "", "no YAML"),
    ("steps: &a [*a]\n", "p.yaml", 0, "", "more than 200000 values"),
    ("[" * 5000 + "]" * 5000, "p.json", 0, "", "nested too deep"),
]


@pytest.mark.parametrize(("text", "name", "line", "path", "why"), WRONG, ids=[case[0][:24] for case in WRONG])
def test_a_fault_is_told_with_file_line_and_place(text: str, name: str, line: int, path: str, why: str) -> None:
    with pytest.raises(PipelineFileError) as caught:
        read(text, name)
    fault = caught.value
    assert (fault.line, fault.path) == (line, path)
    assert why in fault.why
    place = f"{name}:{line}" if line else name
    assert str(fault) == ": ".join(part for part in (place, path, fault.why) if part)
    assert "\n" not in str(fault)


def test_aliases_that_would_unfold_to_millions_of_values_are_refused() -> None:
    bomb = "".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefgh"))
    with pytest.raises(PipelineFileError, match="more than 200000 values"):
        read("a: &a [x]\n" + bomb, "p.yaml")


def test_steps_nested_too_deep_are_a_fault_of_the_file() -> None:
    deep: Any = "upper"
    for _ in range(150):
        deep = {"map": {"step": deep}}
    with pytest.raises(PipelineFileError):
        read(json.dumps([deep]), "p.json")


def test_a_pipeline_is_written_so_that_it_is_read_as_it_was() -> None:
    whole = json_format.ParseDict(
        {
            "name": "p",
            "version": "1.10",
            "description": "on\nand on",
            "steps": [{"named": "1e5"}, {"javascript": "(x) => {\n  return `no: ${x}`\n}"}, {"named": "yes"}],
            "inputSchema": {"type": "object", "properties": {"n": {"minimum": 1}, "on": {"const": None}}},
            "labels": {"null": "~", "v": "2024-01-01"},
            "createTime": "2024-01-01T00:00:00Z",
        },
        Pipeline(),
    )
    text = written(whole)
    assert "\n      return `no: ${x}`\n" in text, "functions stay readable"
    found = read(text, "p.yaml")
    again = Pipeline(
        name=found.name, version=found.version, description=found.description, steps=found.steps, labels=found.labels
    )
    again.input_schema.update(found.input_schema)  # type: ignore[arg-type]
    whole.ClearField("create_time")
    assert again == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc~1.", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_written_as_yaml_that_says_the_same(value: Any) -> None:
    read_back = documents.Document(documents.dump(value), "x.yaml").value
    assert json.dumps(read_back, sort_keys=True) == json.dumps(value, sort_keys=True)


@pytest.mark.parametrize("name", ["p.json", "-"])
def test_a_version_is_read_as_written_from_json_that_is_no_yaml(name: str) -> None:
    found = read('{\n\t"version": 1.10,\n\t"steps": ["upper"]\n}', name)
    assert (found.version, [step.named for step in found.steps]) == ("1.10", ["upper"])


def test_a_version_may_be_merged_from_elsewhere() -> None:
    assert read("steps: [upper]\ninput: &more {version: 1.5}\n<<: *more\n", "p.yaml").version == "1.5"


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ('steps: [upper]\n"steps[q]": 1\n', "p.yaml", "steps[q]: is none of"),
        ('steps: [upper]\n"steps[5]": 1\n', "p.yaml", "steps[5]: is none of"),
        ('steps: [upper]\n"steps[": 1\n', "p.yaml", "steps[: is none of"),
        ('steps: [upper]\n"steps[-1]": 1\n', "p.yaml", "steps[-1]: is none of"),
        ('steps: [upper]\n"a.b": 1\n', "p.yaml", "a.b: is none of"),
        (f"steps: [upper]\nversion: {'1' * 5000}\n", "p.yaml", "thousands of digits"),
        (f'{{"steps": ["upper"], "version": {"1" * 5000}}}', "p.json", "thousands of digits"),
        (f'{{"steps": ["upper"], "version": {"1" * 5000}}}', "-", "thousands of digits"),
    ],
)
def test_plain_mistakes_are_told_in_one_line(text: str, name: str, said: str) -> None:
    with pytest.raises(PipelineFileError) as wrong:
        read(text, name)
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)
