"""The event parser: every cut of a corpus, and the framing that servers really send."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, pairwise, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwired.errors import Failure, Reason
from stepwired.providers.reading.sse import Lines, Named, Parser

ZWJ = "👩‍👩‍👧 e\u0301"

#: Bytes and the events in them.
CORPUS: dict[str, tuple[bytes, list[bytes]]] = {
    "plain": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "byte order mark later is content": (b"data: \xef\xbb\xbf\n\n", [b"\xef\xbb\xbf"]),
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "line ends mixed": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\n\rdata: d\n\n", [b"a", b"b", b"c", b"d"]),
    "comments": (b": hi\n\n:\ndata: a\n:b\n\n: bye\n\n", [b"a"]),
    "retry only": (b"retry: 3000\n\ndata: a\n\n", [b"a"]),
    "no space": (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
    "several data lines": (b"data: a\ndata:\ndata: b\n\n", [b"a\n\nb"]),
    "no colon": (b"data\n\n", [b""]),
    "empty data": (b"data: \n\n", [b""]),
    "unknown fields": (b"id: 1\nfoo: bar\ndata: a\n\nid: 2\n\n", [b"a"]),
    "names": (b"event: error\ndata: a\n\nevent: message\ndata: b\n\n", [b"a", b"b"]),
    "many blank lines": (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", [b"a", b"b"]),
    "data: inside data": (b"data: x data: y\n\ndata: data: \n\n", [b"x data: y", b"data: "]),
    "line separators of Unicode are content": (
        "data: a\u2028b\u2029c\u0085d\x0be\x1cf\n\n".encode(),
        ["a\u2028b\u2029c\u0085d\x0be\x1cf".encode()],
    ),
    "characters of four bytes": (f"data: {ZWJ}\n\ndata: 😀\n\n".encode(), [ZWJ.encode(), "😀".encode()]),
    "no UTF-8": (b"data: \xff\xfe\n\n", [b"\xff\xfe"]),
    "the end is missing": (b"data: a\n\ndata: b\n", [b"a"]),
    "done with spaces": (b"data:  [DONE] \n\n", [b" [DONE] "]),
}


def parse(*chunks: bytes) -> list[bytes]:
    return feed(Parser(), chunks)


def feed(parser: Parser, chunks: Iterable[bytes]) -> list[bytes]:
    return [event for chunk in chunks for event in parser.feed(chunk)]


def pieces(data: bytes, cuts: tuple[int, ...]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise((0, *cuts, len(data)))]


@pytest.mark.parametrize("name", CORPUS)
def test_every_way_of_cutting_gives_the_same_events(name: str) -> None:
    data, events = CORPUS[name]
    assert parse(data) == events
    assert parse(*(data[at : at + 1] for at in range(len(data)))) == events
    for cuts in combinations(range(len(data) + 1), 2):  # with empty pieces, and so all cuts in two as well
        assert parse(*pieces(data, cuts)) == events, cuts


@given(st.lists(st.sampled_from(sorted(CORPUS)), max_size=6), st.data())
def test_streams_of_anything_may_be_cut_anywhere(names: list[str], data: st.DataObject) -> None:
    chosen = [CORPUS[name] for name in names if name not in ("byte order mark", "the end is missing")]
    stream = b"".join(text for text, _ in chosen)
    cuts = tuple(sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12))))
    assert parse(*pieces(stream, cuts)) == [event for _, events in chosen for event in events]


@given(st.binary(max_size=300), st.data())
def test_garbage_never_breaks_it_and_reads_the_same_however_cut(garbage: bytes, data: st.DataObject) -> None:
    cuts = tuple(sorted(data.draw(st.lists(st.integers(0, len(garbage)), max_size=5))))
    assert parse(*pieces(garbage, cuts)) == parse(garbage)


def test_only_events_with_a_name_of_their_own_are_named() -> None:
    error, message = parse(b"event: error\ndata: a\n\nevent: message\ndata: b\n\n")
    assert isinstance(error, Named)
    assert error.name == "error"
    assert type(message) is bytes


def test_a_name_holds_for_one_event_only() -> None:
    _, second = parse(b"event: error\ndata: a\n\ndata: b\n\n")
    assert type(second) is bytes


@pytest.mark.parametrize("size", [1, 7, 1000, 10_000])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"x"])
def test_an_event_over_the_limit_is_refused_however_it_comes(size: int, end: bytes) -> None:
    parser = Parser(event_bytes=1000)
    data = b"data: a\n\n" + b"data: " + b"x" * 995 + end
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    with pytest.raises(Failure) as refused:
        feed(parser, chunks)
    assert refused.value.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE
    assert refused.value.metadata["limitBytes"] == "1000"


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_event_as_large_as_allowed_passes(size: int) -> None:
    parser = Parser(event_bytes=1000)
    data = (b"data: " + b"x" * 994 + b"\n\n") * 3
    assert feed(parser, (data[start : start + size] for start in range(0, len(data), size))) == [b"x" * 994] * 3


def test_a_line_that_never_ends_is_given_up_at_the_limit() -> None:
    parser = Parser()
    chunks = repeat(b"x" * 65536, 1000)
    with pytest.raises(Failure):
        feed(parser, chunks)
    assert len(list(chunks)) == 1000 - 17  # 1 MiB, and one more


def test_a_large_event_in_small_reads_costs_no_more_than_its_bytes() -> None:
    parser = Parser()
    for _ in range(1000_000):  # would take minutes, were the event copied at each read
        parser.feed(b"x")
    assert parser.feed(b"\n\n") == []


def lines(*chunks: bytes) -> list[bytes]:
    splitter = Lines(100)
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.end()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda data: data.translate(None, b" \t\n\r\v\f"))), st.data())
def test_lines_are_the_same_for_every_way_of_cutting(wanted: list[bytes], data: st.DataObject) -> None:
    body = data.draw(st.sampled_from([b"\n", b"\n\n"])).join(wanted)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    assert lines(*(body[start:end] for start, end in pairwise((0, *cuts, len(body))))) == [
        line for line in wanted if line
    ]


def test_blank_lines_are_none_and_a_return_before_the_end_is_left_to_json() -> None:
    assert lines(b"a\r\n \r\n\nb") == [b"a\r", b"b"]


@pytest.mark.parametrize("chunks", [[b"x" * 101], [b"x" * 60, b"x" * 60], [b"a\n" + b"x" * 101 + b"\n"]])
def test_a_line_is_read_as_far_as_it_may_be_long(chunks: list[bytes]) -> None:
    with pytest.raises(Failure) as failed:
        lines(*chunks)
    assert failed.value.reason is Reason.PROVIDER_RESPONSE_TOO_LARGE
    assert lines(b"x" * 100 + b"\n") == [b"x" * 100]
