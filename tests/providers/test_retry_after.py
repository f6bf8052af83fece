"""How long providers ask us to wait."""

from __future__ import annotations

import pytest

from stepwired.providers.retry_after import retry_after_s

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
        ({"retry-after": "61"}, 60.0),
        ({"retry-after": "86400"}, 60.0),
    ],
)
def test_what_is_sensible_is_kept_up_to_a_minute(headers: dict[str, str], wait_s: float) -> None:
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
