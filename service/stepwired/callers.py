"""What all fronts do alike for those who call: ids that they choose, keys that they bring, crashes that they meet."""

from __future__ import annotations

import traceback

from stepwired.errors import InvalidRequest, Reason

REQUEST_ID_CHARACTERS = 36
_KEY_CHARACTERS = 4096


def is_request_id(given: str) -> bool:
    """Whether an id that a caller chose is one that is safe to repeat and to log."""
    return 0 < len(given) <= REQUEST_ID_CHARACTERS and given.isascii() and given.isprintable()


def checked_key(given: str, name: str) -> str:
    """The provider key that a caller brought. A secret.

    Args:
        given: As it came.
        name: Of what it came in.

    Raises:
        InvalidRequest: PROVIDER_CALLER_KEY_INVALID, it can be none.
    """
    key = given.strip()
    if not (0 < len(key) <= _KEY_CHARACTERS and key.isascii() and key.isprintable()):
        text = f"invalid api key: {name} must be 1 to {_KEY_CHARACTERS} printable ASCII characters"
        raise InvalidRequest(Reason.PROVIDER_CALLER_KEY_INVALID, text)
    return key


def crash(error: BaseException) -> str:
    """Describe an exception that nobody foresaw: its class, where it came from, and what was behind it.

    Not its text: libraries put into it what they were given, which may be a prompt or a key.
    """
    told: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        kind = type(each)
        frames = "".join(traceback.format_tb(each.__traceback__))
        told.append(f"{'error' if each is error else 'behind it'}={kind.__module__}.{kind.__qualname__}\n{frames}")
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        waiting.append(each.__cause__ or (None if each.__suppress_context__ else each.__context__))
    return "".join(told).rstrip("\n")
