"""Where a picture may come from: paths, URLs of any case, and URLs that hold the picture or name a file."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from stepwire import AsyncClient, Conversation, errors, guide, image
from stepwire._pictures import MAX_BYTES
from stepwire.v1 import message_pb2
from tests.sdk.pictures import PNG

CONTENT = "iVBORw0KGgo" * 1000
"""What must not be repeated."""


def data_url(data: bytes, kind: str = "data:image/png;base64") -> str:
    return f"{kind},{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("url", ["HTTPS://example.org/cat.png", "Http://example.org/cat.png"])
def test_the_scheme_of_a_url_may_be_written_large(url: str) -> None:
    assert image(url) == message_pb2.Image(uri=url)


@pytest.mark.parametrize("kind", ["data:image/png;base64", "DATA:;charset=x;BASE64", "data:;base64"])
def test_a_data_url_is_the_picture(kind: str) -> None:
    assert image(data_url(PNG, kind), name="x") == message_pb2.Image(data=PNG, media_type="image/png", name="x")


def test_what_the_guide_lists_of_a_picture_may_be_added_again() -> None:
    conversation = guide.Conversation()
    conversation.AddMessageWithImage("user", "one", PNG)
    [first] = conversation.GetMessages()
    conversation.AddMessageWithImage("user", "two", first["images"][0]["imageURL"])
    first, second = conversation.GetMessages()
    assert first["images"] == second["images"]


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_url_is_the_file(tmp_path: Path, host: str) -> None:
    file = tmp_path / "a cat?.png"
    file.write_bytes(PNG)
    url = file.as_uri().replace("file://", f"FILE://{host}")
    assert "%20" in url
    assert image(url) == image(file)


def test_a_file_url_of_another_machine_is_refused() -> None:
    with pytest.raises(errors.InvalidRequest, match="another machine"):
        image("file://example.org/cat.png")


@pytest.mark.parametrize(
    ("url", "reason", "match"),
    [
        ("data:image/png,abc", "FIELD_INVALID", "base64"),
        ("data:image/png;base64", "FIELD_INVALID", "base64"),
        ("data:image/png;base64,a!", "FIELD_INVALID", "damaged"),
        ("data:image/png;base64,abc\u00e4", "FIELD_INVALID", "damaged"),
        (data_url(b"no picture"), "UNSUPPORTED_IMAGE_FORMAT", "PNG"),
    ],
)
def test_a_data_url_that_is_none_is_refused(url: str, reason: str, match: str) -> None:
    with pytest.raises(errors.InvalidRequest, match=match) as caught:
        image(url)
    assert caught.value.reason == reason


def test_a_data_url_holds_no_more_than_a_file() -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        image(data_url(PNG + bytes(MAX_BYTES)))
    assert caught.value.reason == "IMAGE_TOO_LARGE"


async def test_an_upload_takes_them_too(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    stored = await client.upload_image(tmp_path / "cat.png")
    named = await client.upload_image((tmp_path / "cat.png").as_uri())
    assert (named.blob_id, named.name) == (stored.blob_id, "cat.png")
    held = await client.upload_image(data_url(PNG), name="dog.png")
    assert (held.blob_id, held.name) == (stored.blob_id, "dog.png")


NOT_READ: dict[str, Callable[[], object]] = {
    "base64 alone": lambda: image(CONTENT),
    "base64 that is damaged": lambda: image(f"data:image/png;base64,{CONTENT}!"),
    "no base64": lambda: image(f"data:image/png,{CONTENT}"),
    "added": lambda: Conversation().add_message_with_image("user", "x", CONTENT),
}


@pytest.mark.parametrize("act", NOT_READ.values(), ids=NOT_READ.keys())
def test_no_error_repeats_a_picture(act: Callable[[], object], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises((OSError, errors.InvalidRequest)) as caught:
        act()
    told = "".join(traceback.format_exception(caught.value))
    assert CONTENT not in told
    assert len(str(caught.value)) < 300
    logging.getLogger("stepwire").error("it failed", exc_info=caught.value)
    assert CONTENT not in caplog.text


async def test_no_error_of_an_upload_repeats_a_picture(client: AsyncClient) -> None:
    with pytest.raises(OSError, match="iVBORw0KGgo") as caught:
        await client.upload_image(CONTENT)
    assert len(str(caught.value)) < 300


def test_an_error_names_a_file_of_usual_length_in_full(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        image(tmp_path / "no-such-file.png")
    assert caught.value.filename == str(tmp_path / "no-such-file.png")
