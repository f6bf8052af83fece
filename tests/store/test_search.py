from __future__ import annotations

from contextlib import closing, suppress

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwired.errors import InvalidRequest, NotFound, Reason
from stepwired.events import Message, Role, ToolResult, ToolUse
from stepwired.store import search
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
        assert len(hit.snippet) <= search.SNIPPET_CHARACTERS
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


PIECES = st.lists(st.tuples(st.booleans(), st.text(st.characters(exclude_characters="\0"), max_size=5)), max_size=9)


@given(PIECES)
def test_marks_are_taken_out_and_their_places_told(pieces: list[tuple[bool, str]]) -> None:
    start, end = "<0123", ">0123"
    clean = [(marked, text.replace("0123", "")) for marked, text in pieces]
    snippet = "".join(f"{start}{text}{end}" if marked else text for marked, text in clean)
    text, ranges = search.marked(snippet, start, end)
    assert text == "".join(text for _, text in clean)
    assert [text[a:b] for a, b in ranges] == [text for marked, text in clean if marked]


@given(st.text(max_size=60))
def test_no_query_says_what_sqlite_cannot_read(query: str) -> None:
    with suppress(InvalidRequest), closing(apsw.Connection(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE t USING fts5 (text)")
        assert db.execute("SELECT count(*) FROM t WHERE t MATCH ?", (search.expression(query),)).fetchall() == [(0,)]
