"""What a memory of answers lets go, and when."""

from __future__ import annotations

from stepwired.providers.caching.memory import Memory, digest, digest_of


def test_the_least_recently_used_goes_first() -> None:
    memory: Memory[str] = Memory(4 * 300)
    for key in (b"a", b"b", b"c", b"d"):
        memory.put(key, key.decode(), 44)
    assert memory.get(b"a") == "a"
    memory.put(b"e", "e", 44)
    assert [memory.get(key) for key in (b"a", b"b", b"c", b"d", b"e")] == ["a", None, "c", "d", "e"]
    assert memory.size_bytes == 4 * 300


def test_what_is_larger_than_all_of_it_is_not_kept_and_drives_nothing_out() -> None:
    memory: Memory[str] = Memory(1000)
    memory.put(b"a", "a", 10)
    memory.put(b"b", "b", 1000)
    assert (memory.get(b"a"), memory.get(b"b")) == ("a", None)
    memory.put(b"a", "A", 1000)  # its old value is no longer true
    assert memory.get(b"a") is None
    assert (len(memory), memory.size_bytes) == (0, 0)


def test_what_is_old_is_gone() -> None:
    now_s = 0.0
    memory: Memory[str] = Memory(1000, 10.0, now=lambda: now_s)
    memory.put(b"a", "a", 10)
    now_s = 9.9
    assert memory.get(b"a") == "a"
    now_s = 10.0
    assert memory.get(b"a") is None
    assert memory.size_bytes == 0


def test_parts_of_a_key_do_not_run_together() -> None:
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
    assert digest_of(iter([b"ab", b"c"])) == digest(b"ab", b"c")
