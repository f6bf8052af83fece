"""Large JSON is read piece by piece, and says what JSON says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwired.events import Json
from stepwired.rpc.convert.json_scan import NotJson, Scanner
from tests.rpc.test_conversation_files import normal, values


@settings(max_examples=300, deadline=None)
@given(values, st.sampled_from(["", " ", "\n\t", "  \r\n"]))
def test_the_items_of_a_list_are_what_json_says(value: Json, blank: str) -> None:
    text = blank.join(["", "[", json.dumps(value), ",", '"\\\\"', ",", json.dumps(value, ensure_ascii=False), "]", ""])
    scanner = Scanner(text.encode())
    assert list(map(normal, scanner.items())) == [normal(value), "\\", normal(value)]
    scanner.finish()


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values))
def test_the_members_of_an_object_are_what_json_says(value: dict[str, Json]) -> None:
    scanner = Scanner(json.dumps(value, indent=1).encode())
    assert {key: normal(scanner.value()) for key in scanner.members()} == normal(value)
    scanner.finish()


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        ("[" * 201 + "]" * 201, "nested too deep"),
        ("[" + "0," * 1_100_000 + "0]", "too large"),
        ('["' + "x" * 30_000_000 + '"]', None),
        ('["' + r"\\\"" * 1_000_000 + '"]', None),
    ],
)
def test_a_piece_may_have_long_texts_and_not_much_else(piece: str, said: str | None) -> None:
    scanner = Scanner(f"[{piece}]".encode())
    if said is None:
        assert list(scanner.items()) == [json.loads(piece)]
        return
    with pytest.raises(NotJson, match=said):
        list(scanner.items())


@given(st.binary(max_size=40) | st.text('[]{}",:\\ 1tn', max_size=40).map(str.encode))
def test_whatever_the_bytes_are_it_ends_with_values_or_says_what_is_wrong(raw: bytes) -> None:
    scanner = Scanner(raw)
    try:
        found = list(scanner.items())
        scanner.finish()
    except NotJson:
        return
    assert found == json.loads(raw.decode("utf-8-sig"))
