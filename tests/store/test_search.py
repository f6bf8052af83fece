from __future__ import annotations

import asyncio
from contextlib import closing, suppress

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepwired.errors import InvalidRequest, NotFound, Reason
from stepwired.events import Message, Role, ToolResult, ToolUse
from stepwired.store import search, snippets
from stepwired.store.nouns import Hit
from stepwired.store.sqlite import SqliteStore
from tests.store.talk import check_whole


async def find(store: SqliteStore, query: str, conversation_id: str = "", page_size: int = 20) -> list[Hit]:
    """All hits, page by page."""
    found: list[Hit] = []
    after = ""
    while True:
        page, after = await store.search(query, conversation_id=conversation_id, page_size=page_size, after=after)
        assert len(page) <= page_size
        found += page
        if not after:
            return found


async def ids(store: SqliteStore, query: str) -> set[str]:
    return {hit.message_id for hit in await find(store, query)}


def words(hit: Hit) -> list[str]:
    return [hit.snippet[start:end] for start, end in hit.highlights]


async def test_a_query_finds_the_messages_that_have_its_words(store: SqliteStore) -> None:
    texts = {
        "fox": "The quick brown fox jumps.",
        "dog": "A lazy DOG, brown and slow",
        "cafe": "Ein Café in Zürich, naïvely",
        "code": "state-of-the-art foo_bar(x.y)",
    }
    await store.create("c", messages=[Message(text=text, id=name) for name, text in texts.items()])
    for query, expected in {
        "brown": {"fox", "dog"},
        "BROWN fox": {"fox"},
        "fox brown": {"fox"},
        '"brown fox"': {"fox"},
        '"fox brown"': set(),
        "bro*": {"fox", "dog"},
        "bro": set(),
        "brown -fox": {"dog"},
        'brown -"lazy dog"': {"fox"},
        "cafe zurich": {"cafe"},
        "CAFÉ": {"cafe"},
        "state-of-the-art": {"code"},
        "x.y": {"code"},
        "brown OR zürich": set(),
        "text:brown NEAR(a b)": set(),
        'an unclosed "brown fox': set(),
        "🙂 brown !!!": {"fox", "dog"},
    }.items():
        assert await ids(store, query) == expected, query


async def test_what_tools_answered_is_found_and_what_they_were_asked_is_not(store: SqliteStore) -> None:
    use = Message(role=Role.ASSISTANT, tool_use=ToolUse("t", "weather", {"city": "Bergen"}), id="use")
    result = Message(role=Role.TOOL, tool_result=ToolResult("t", "rain in Bergen"), id="result")
    await store.create("c", title="The title", messages=[use, result])
    [hit] = await find(store, "bergen")
    message = await store.message("c", "result")
    assert hit == Hit("c", "The title", "result", Role.TOOL, message.create_time_ns, "rain in Bergen", ((8, 14),))


async def test_highlights_are_counted_in_code_points(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(text="👨‍👩‍👧 \u202eשלום\u202c 𝒳 cafe\u0301 ☃ Café")])
    [hit] = await find(store, "cafe")
    assert words(hit) == ["cafe\u0301", "Café"]


async def test_texts_that_look_like_marks_stay_what_they_are(store: SqliteStore) -> None:
    text = "<b>fox</b> <0123456789abcdef \x02\x03 fox>"
    await store.create("c", messages=[Message(text=text)])
    [hit] = await find(store, "fox")
    assert (hit.snippet, words(hit)) == (text, ["fox", "fox"])


async def test_a_snippet_of_a_long_text_is_short_and_shows_the_match(store: SqliteStore) -> None:
    await store.create(
        "c",
        messages=[
            Message(text="word " * 50_000 + "needle " + "word " * 50_000, id="words"),
            Message(text="x" * 300_000 + " needle " + "y" * 300_000, id="runs"),
            Message(text="needle" + " " * 300_000 + "needle", id="gap"),
        ],
    )
    hits = {hit.message_id: hit for hit in await find(store, "needle")}
    assert set(hits) == {"words", "runs", "gap"}
    for hit in hits.values():
        assert len(hit.snippet) <= snippets.SNIPPET_CHARACTERS
        assert words(hit)[0] == "needle"
    assert hits["words"].snippet.startswith("…")


async def test_pages_show_every_hit_once_the_best_first(store: SqliteStore) -> None:
    texts = ["fox " * (1 + number % 3) + "filler " * number for number in range(30)]
    await store.create("c", messages=[Message(text=text, id=str(number)) for number, text in enumerate(texts)])
    everything = [hit.message_id for hit in await find(store, "fox", page_size=100)]
    assert sorted(map(int, everything)) == list(range(30))
    assert everything[0] in {"0", "1", "2"}, "short texts full of it"
    for page_size in (1, 7, 30):
        assert [hit.message_id for hit in await find(store, "fox", page_size=page_size)] == everything


async def test_a_search_can_be_kept_to_one_conversation(store: SqliteStore) -> None:
    for name in ("a", "b", "c"):
        await store.create(name, messages=[Message(text=f"fox of {name}", id=name)])
    assert [hit.conversation_id for hit in await find(store, "fox", "b")] == ["b"]
    assert {hit.conversation_id for hit in await find(store, "fox")} == {"a", "b", "c"}
    with pytest.raises(NotFound):
        await store.search("fox", conversation_id="no")


async def test_what_was_written_is_found_at_once_and_what_failed_never(store: SqliteStore) -> None:
    await store.create("c")
    for number in range(20):
        await store.append("c", [Message(text=f"word{number}")])
        assert len(await find(store, f"word{number}")) == 1
    with pytest.raises(NotFound):
        await store.append("c", [Message(text="ghost"), Message(text="ghost", parent_id="no")])
    assert await find(store, "ghost") == []
    await check_whole(store)


async def test_what_is_deleted_is_no_longer_found_and_forks_are_found_apart(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(text="fox one"), Message(text="fox two")])
    await store.fork("c", new_id="d")
    assert {hit.conversation_id for hit in await find(store, "fox")} == {"c", "d"}
    await store.delete("c")
    assert {hit.conversation_id for hit in await find(store, "fox")} == {"d"}
    await check_whole(store)


@pytest.mark.parametrize("query", ["", " ", "-fox", "***", '""', "🙂 !!!", '-"a b" -c'])
async def test_a_query_must_say_what_to_find(store: SqliteStore, query: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await store.search(query)
    assert (caught.value.reason, caught.value.violations[0].field) == (Reason.INVALID_FILTER, "query")


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30, "²"])
async def test_a_place_that_no_search_named_is_refused(store: SqliteStore, after: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await store.search("fox", after=after)
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


@pytest.mark.parametrize("query", ["a " * 512, "a -" + " -".join("q" * 500), "a* " * 300, '"a b" ' * 170])
async def test_a_query_may_be_as_long_as_a_request_allows(store: SqliteStore, query: str) -> None:
    await store.create("c", messages=[Message(text="a b c", id="m")])
    assert await ids(store, query) == {"m"}


WORDS = st.sampled_from(["a", "b", "ab", "á", "Ä", "cafe\u0301", "𝒳", "字字", "x_y", "👩‍👧", "-", "…", "\n"])


@example(["a", "a", "a"], [(["a"], False), (["a", "a", "a"], False)])
@given(
    st.lists(WORDS, max_size=12),
    st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=3), st.booleans()), min_size=1, max_size=3),
)
def test_matches_are_shown_where_sqlite_sees_them(words: list[str], wanted: list[tuple[list[str], bool]]) -> None:
    text = " ".join(words)
    terms = ['"' + " ".join(phrase) + '"' + "*" * begins for phrase, begins in wanted]
    with closing(apsw.Connection(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE t USING fts5 (text, tokenize = 'unicode61 remove_diacritics 2')")
        db.execute("INSERT INTO t VALUES (?)", (text,))
        sql = "SELECT highlight(t, 0, '<', '>') FROM t WHERE t MATCH ?"
        row = db.execute(sql, (" OR ".join(terms),)).fetchone()
        cutter = snippets.Cutter(db)
        phrases = [cutter.phrase(" ".join(phrase), begins=begins) for phrase, begins in wanted]
        part, ranges = cutter.cut(text, [phrase for phrase in phrases if phrase.words])
    assert part == text
    for first, last in reversed(ranges):
        text = f"{text[:first]}<{text[first:last]}>{text[last:]}"
    assert text == (row[0] if row else part)


@given(st.text(st.characters(categories=["L", "P", "Z"]), max_size=40), st.integers(0, 3000), st.integers(0, 3000))
def test_a_snippet_is_a_piece_of_the_text_with_the_match_in_it(gap: str, before: int, after: int) -> None:
    text = (gap + " ") * before + "needle" + (" " + gap) * after
    text = text[-200_000:] if after == 0 else text[:200_000]
    with closing(apsw.Connection(":memory:")) as db:
        cutter = snippets.Cutter(db)
        part, ranges = cutter.cut(text, [cutter.phrase("needle")])
    assert len(part) <= snippets.SNIPPET_CHARACTERS
    assert part.removeprefix("…").removesuffix("…") in text
    if " needle" in text[:200_000] and "needle" not in gap:
        assert [part[first:last] for first, last in ranges] == ["needle"]


async def test_a_text_full_of_matches_costs_no_more_than_its_length(store: SqliteStore) -> None:
    """Cut by FTS5 itself, this took twenty minutes."""
    await store.create("c", messages=[Message(text="a " * 500_000, id="m")])
    async with asyncio.timeout(30):
        [hit] = await find(store, "a")
        assert words(hit) == ["a"] * snippets.SNIPPET_WORDS
        assert await ids(store, " ".join(["a", "A", "a!", '"a"', "(a)"] * 20)) == {"m"}


async def test_a_query_has_no_more_terms_than_can_be_found(store: SqliteStore) -> None:
    await store.create("c", messages=[Message(text=" ".join(f"w{number}" for number in range(40)), id="m")])
    assert await ids(store, " ".join(f"w{number}" for number in range(search.MAX_TERMS))) == {"m"}
    with pytest.raises(InvalidRequest) as caught:
        await store.search(" ".join(f"w{number}" for number in range(search.MAX_TERMS + 1)))
    assert (caught.value.reason, caught.value.violations[0].field) == (Reason.INVALID_FILTER, "query")


async def test_pages_end_at_a_hit_so_far_down_that_nobody_looks(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_HITS", 10)
    await store.create("c", messages=[Message(text="fox", id=str(number)) for number in range(15)])
    for page_size in (3, 5, 10, 20):
        assert len({hit.message_id for hit in await find(store, "fox", page_size=page_size)}) == 10


async def test_hits_after_very_long_texts_show_their_beginning(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_SNIPPETS_CHARACTERS", 3000)
    await store.create("c", messages=[Message(text="x " * 1000 + "fox", id=str(number)) for number in range(3)])
    hits = await find(store, "fox")
    assert [words(hit) for hit in hits] == [["fox"], ["fox"], []]
    assert hits[2].snippet.startswith("x x x")


@given(st.text(max_size=60))
def test_no_query_says_what_sqlite_cannot_read(query: str) -> None:
    with suppress(InvalidRequest), closing(apsw.Connection(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE t USING fts5 (text)")
        assert db.execute(
            "SELECT count(*) FROM t WHERE t MATCH ?", (search.expression(search.parsed(query)),)
        ).fetchall() == [(0,)]
