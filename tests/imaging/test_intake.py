"""What comes of each picture, good or bad, and from where it may come."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from pathlib import Path

import pytest

from stepwired.errors import Failure, InvalidRequest, Reason
from stepwired.events import Image
from stepwired.images import Picture
from stepwired.imaging.files import Files
from stepwired.imaging.intake import Images
from stepwired.imaging.pool import Decoders
from stepwired.limits import Limits
from tests.imaging.corpus import CORPUS, drawn, noise, png

ADDRESS = re.compile(r"0x[0-9a-f]{6,}", re.IGNORECASE)
STALL_S = 0.05


def told(failure: Failure) -> str:
    """All that a caller gets to read."""
    return " ".join([str(failure), *map(str, failure.violations), *failure.metadata.values(), str(failure.subject)])


@pytest.mark.parametrize("name", [name for name, case in CORPUS.items() if case.is_good])
async def test_a_good_picture_is_what_it_decodes_to(images: Images, name: str) -> None:
    assert (await images.check(CORPUS[name].make())).media_type == CORPUS[name].outcome


@pytest.mark.parametrize("name", [name for name, case in CORPUS.items() if not case.is_good])
async def test_a_bad_picture_is_refused_in_our_words(
    images: Images, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    case = CORPUS[name]
    with pytest.raises(InvalidRequest) as caught:
        await images.check(case.make(), "image.data")
    failure = caught.value
    assert failure.reason == case.outcome
    assert [(violation.field, violation.reason) for violation in failure.violations] == [("image.data", case.outcome)]
    assert failure.metadata.get("detected", "") == case.detected
    assert failure.__cause__ is None
    assert not ADDRESS.search(told(failure) + caplog.text)


async def test_bad_pictures_leave_the_decoder_as_it_was(images: Images, decoders: Decoders) -> None:
    await images.check(png())
    (pid,) = decoders.pids
    for name in ("PNG cut off", "iCCP bomb", "WebP cut off", "GIF with a frame of 65535 x 65535", "PNG of nothing"):
        with pytest.raises(InvalidRequest):
            await images.check(CORPUS[name].make())
    await images.check(png())
    assert decoders.pids == [pid]


async def test_a_picture_is_described_as_it_is(images: Images) -> None:
    data = drawn("JPEG", (40, 30))
    assert await images.check(data) == Picture(
        "image/jpeg", 40, 30, len(data), f"sha256:{hashlib.sha256(data).hexdigest()}"
    )


async def test_the_failures_name_the_limits_and_the_formats(images: Images) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await images.check(CORPUS["BMP"].make())
    allowed = "image/gif, image/jpeg, image/png, image/webp"
    assert caught.value.metadata == {"detected": "image/bmp", "allowed": allowed}
    with pytest.raises(InvalidRequest) as caught:
        await images.check(CORPUS["PNG of 14000 x 14000"].make())
    assert caught.value.metadata == {"limitBytes": "20971520", "limitPixels": "50000000"}


async def test_a_large_picture_holds_up_nobody(images: Images) -> None:
    await images.check(png())  # starting a process is another matter
    pictures = [noise("PNG", (4000, 4000), "L", compress_level=0), noise("JPEG", (4000, 4000), quality=90)]
    longest_s, is_over = 0.0, False

    async def beat() -> None:
        nonlocal longest_s
        while not is_over:
            # What this thread itself worked between two turns, so that others on the machine do not count.
            before_s = time.thread_time()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.thread_time() - before_s)

    beating = asyncio.create_task(beat())
    try:
        for data in pictures:
            assert (await images.check(data)).width == 4000
    finally:
        is_over = True
        await beating
    assert longest_s < STALL_S


async def test_nothing_is_fetched_and_no_file_is_read_unless_the_operator_says_so(
    images: Images, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png())
    with pytest.raises(InvalidRequest) as caught:
        await images.take(Image(server_path=str(file)))
    assert caught.value.reason is Reason.FILE_ACCESS_DENIED
    with pytest.raises(InvalidRequest) as caught:
        await images.take(Image(uri="https://example.com/a.png", fetch=True), "messages[0].images[1]")
    assert caught.value.reason is Reason.IMAGE_URL_UNAVAILABLE
    assert caught.value.violations[0].field == "messages[0].images[1].uri"


async def test_an_address_and_a_blob_are_kept_as_they_are(images: Images, decoders: Decoders) -> None:
    for image in (Image(uri="http://example.com/x", detail="low"), Image(blob_id="sha256:" + "0" * 64, name="n")):
        assert await images.take(image) is image
    assert decoders.pids == []


async def test_bytes_are_taken_from_wherever_they_are(decoders: Decoders, tmp_path: Path) -> None:
    data = drawn("GIF", mode="P")
    (tmp_path / "a").write_bytes(data)

    async def fetch(url: str, field: str) -> bytes:
        assert (url, field) == ("http://example.com/a", "image.uri")
        return data

    images = Images(decoders, Files([tmp_path], Limits()), fetch, Limits())
    given = [
        Image(data=data, name="n", detail="high", media_type="image/png"),
        Image(server_path=str(tmp_path / "a"), name="n", detail="high"),
        Image(uri="http://example.com/a", fetch=True, name="n", detail="high"),
    ]
    taken = {await images.take(image) for image in given}
    assert taken == {
        Image(
            data=data,
            blob_id=f"sha256:{hashlib.sha256(data).hexdigest()}",
            name="n",
            media_type="image/gif",
            detail="high",
            width=40,
            height=30,
            size_bytes=len(data),
        )
    }
