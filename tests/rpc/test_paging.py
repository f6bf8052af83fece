from __future__ import annotations

import base64

import pytest

from stepwired.errors import InvalidRequest, Reason
from stepwired.rpc.paging import page

ITEMS = ["d", "b", "a", "c"]


def names(size: int, token: str = "", call: str = "List") -> tuple[list[str], str]:
    return page(call, ITEMS, str, size, token)


def test_pages_follow_each_other_to_the_end() -> None:
    first, token = names(2)
    second, end = names(2, token)
    assert (first, second, end) == (["a", "b"], ["c", "d"], "")


def test_a_page_goes_on_where_the_last_ended_though_items_came_and_went() -> None:
    _, token = names(2)
    assert page("List", ["a", "aa", "c", "e"], str, 2, token) == (["c", "e"], "")


@pytest.mark.parametrize("size", [1, 1000])
def test_a_page_size_in_range_is_taken(size: int) -> None:
    assert names(size)[0] == sorted(ITEMS)[:size]


@pytest.mark.parametrize("size", [-1, 1001])
def test_a_page_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        names(size)
    assert [(found.field, found.reason) for found in caught.value.violations] == [("page_size", Reason.FIELD_INVALID)]


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "né",
        "====",
        names(2)[1][:-2],
        names(2)[1] + "A",
        names(2, call="Other")[1],
        base64.urlsafe_b64encode(b"\0\0\0\0List\0b").decode(),
        base64.urlsafe_b64encode(b"\0\0\0\0\xff\xff").decode(),
    ],
)
def test_a_token_that_this_call_did_not_make_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        names(2, token)
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN
    assert caught.value.violations[0].field == "page_token"
