"""How long providers ask us to wait."""

from __future__ import annotations

import pytest

from stepwired.providers.refusing.retry_after import duration_s, retry_after_s

NOW_S = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 2 "}, 2.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:40 GMT"}, 3.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:40 GMT"}, 3.0),
        ({"retry-after": "Sun Nov  6 08:49:40 1994"}, 3.0),
        ({"retry-after-ms": "700"}, 0.7),
        ({"retry-after-ms": "0.5"}, 0.0005),
        ({"retry-after-ms": "700", "retry-after": "30"}, 0.7),
        ({"retry-after-ms": "soon", "retry-after": "30"}, 30.0),
        ({"retry-after": "61"}, 61.0),
        ({"retry-after": "86400"}, 86400.0),
    ],
)
def test_what_is_sensible_is_kept(headers: dict[str, str], wait_s: float) -> None:
    assert retry_after_s(headers, NOW_S) == pytest.approx(wait_s)


@pytest.mark.parametrize(
    "said",
    [
        *("", "soon", "-1", "0", "1.5", "1e20", "inf", "nan", "99999999999", "1_0", "٣", "9" * 5000),
        *(
            "Sun, 06 Nov 1994 08:49:30 GMT",
            "Sun, 06 Nov 9994 08:49:30 GMT",
            "Sun, 99 Foo 1994",
            "1 Jan 99999999999999999",
        ),
    ],
)
def test_what_makes_no_sense_is_as_if_nothing_was_said(said: str) -> None:
    assert retry_after_s({"retry-after": said}, NOW_S) is None


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "1h0m1.5s"}, 3601.5),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "7.66s"}, 7.66),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-reset": "784111780"}, 784111780.0),
        ({"x-ratelimit-reset": "1784111780"}, 1784111780.0 - NOW_S),
        ({"x-ratelimit-reset": "1784111780000"}, 1784111780.0 - NOW_S),
        ({"anthropic-ratelimit-requests-reset": "1994-11-06T08:49:40Z"}, 3.0),
        # of several, the one that is used up
        (
            {
                "x-ratelimit-reset-requests": "20s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "1s",
                "x-ratelimit-remaining-tokens": "99",
            },
            20.0,
        ),
        # … or the first to come, where none is
        ({"x-ratelimit-reset-requests": "20s", "x-ratelimit-reset-tokens": "1s"}, 1.0),
        ({"retry-after": "2", "x-ratelimit-reset-requests": "20s"}, 2.0),
    ],
)
def test_when_a_limit_resets_is_read_of_a_rate_limit(headers: dict[str, str], wait_s: float) -> None:
    wait = retry_after_s(headers, NOW_S, status=429)
    assert wait == (pytest.approx(wait_s) if wait_s < 604800 else None)


def test_limits_that_every_answer_tells_are_no_hint_of_a_failure() -> None:
    assert retry_after_s({"x-ratelimit-reset-requests": "20s"}, NOW_S, status=500) is None


@pytest.mark.parametrize("said", ["", "s", "-1s", "1e3s", "soon", "9" * 60 + "s", "٣s", "1994-13-99T00:00:00Z"])
def test_a_reset_that_makes_no_sense_is_none(said: str) -> None:
    assert retry_after_s({"x-ratelimit-reset-requests": said}, NOW_S, status=429) is None


def test_a_span_is_read_as_seconds() -> None:
    assert duration_s("34.5s") == 34.5
    assert duration_s("1m1s") == 61.0
    assert [duration_s(said) for said in (None, 3, "", "s", "0s", "-1s", "900000s", "1 s")] == [None] * 8
