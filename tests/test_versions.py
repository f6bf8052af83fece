from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepwired import versions

NUMBERS = st.lists(st.integers(0, 10**7 - 1) | st.integers(0, 20), min_size=1, max_size=4)
VERSIONS = st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,5}){0,3}", fullmatch=True)


def written(numbers: list[int]) -> str:
    return ".".join(map(str, numbers))


@given(NUMBERS, NUMBERS)
def test_versions_are_ordered_as_their_numbers_are(one: list[int], other: list[int]) -> None:
    ranks = versions.rank(written(one)), versions.rank(written(other))
    assert (ranks[0] < ranks[1]) is (one < other)
    assert (ranks[0] == ranks[1]) is (one == other)


@given(VERSIONS, VERSIONS)
def test_zeros_in_front_change_no_number_and_yet_make_another_version(one: str, other: str) -> None:
    assert (versions.rank(one) == versions.rank(other)) is (one == other)
    numbers = [[int(number) for number in version.split(".")] for version in (one, other)]
    if numbers[0] != numbers[1]:
        assert (versions.rank(one) < versions.rank(other)) is (numbers[0] < numbers[1])


@given(st.lists(VERSIONS | st.sampled_from(["0", "00", "0.0", "0.00", "1", "01"])))
@example(["0", "00"])
def test_a_list_can_have_the_highest_first(given: list[str]) -> None:
    falling = sorted(given, key=versions.falling)
    assert falling == sorted(given, key=versions.rank, reverse=True)


@given(VERSIONS)
def test_what_follows_a_version_is_above_it(version: str) -> None:
    following = versions.following(version)
    assert following is not None
    assert versions.fault(following) is None
    assert versions.rank(following) > versions.rank(version)


def test_a_version_of_so_many_nines_has_nothing_that_follows_it() -> None:
    assert versions.following("9" * versions.VERSION_BYTES) is None
    assert versions.following("9" * (versions.VERSION_BYTES - 1)) == "1" + "0" * (versions.VERSION_BYTES - 1)


@pytest.mark.parametrize("version", ["1", "0", "1.4", "2024.01.15", "1.0.0.0.0", "9" * 32])
def test_numbers_with_dots_between_them_are_a_version(version: str) -> None:
    assert versions.fault(version) is None


@pytest.mark.parametrize("version", ["", ".", "1.", ".1", "1..2", "v1", "1-2", "-1", "1 ", "1\n", "١", "²", "9" * 33])
def test_anything_else_is_none_and_ranks_below_all_that_are(version: str) -> None:
    assert versions.fault(version) is not None
    assert versions.rank(version) < versions.rank("0")
