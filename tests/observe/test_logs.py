"""No line of the log shows a key, whatever shape it has and wherever it stands."""

from __future__ import annotations

import logging

import pytest

from stepwired.observe.logs import Redacting, redact

CANARY = "CANARYcanary0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"sk-{CANARY}",
        f"sk-proj-{CANARY}_x",
        f"Authorization: Bearer {CANARY}",
        f"authorization: basic {CANARY}",
        f"https://host/v1?key={CANARY}&x=1",
        f"https://user:{CANARY}@host/",
        f"api_key={CANARY}",
        f"api-key: {CANARY}",
        f"AIza{CANARY}",
        f"password={CANARY}",
    ],
)
def test_what_looks_like_a_key_is_hidden(text: str) -> None:
    assert CANARY not in redact(f"before {text} after")
    assert redact(f"before {text} after").startswith("before ")


@pytest.mark.parametrize(
    "text", ["127.0.0.1:50051", "task-force asked", "the keyboard: fine", "http://127.0.0.1:80/v1"]
)
def test_what_is_no_key_stays(text: str) -> None:
    assert redact(text) == text


def test_a_traceback_is_redacted_too() -> None:
    with pytest.raises(ValueError, match=CANARY) as caught:
        int(f"sk-{CANARY}")
    raised = (caught.type, caught.value, caught.tb)
    record = logging.LogRecord("x", logging.ERROR, "", 1, "failed: %s", (f"Bearer {CANARY}",), raised)
    line = Redacting("%(message)s").format(record)
    assert "Traceback" in line
    assert CANARY not in line
