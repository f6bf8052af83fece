from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from stepwired.imaging.files import Files
from stepwired.imaging.intake import Images
from stepwired.imaging.pool import Decoders
from stepwired.limits import Limits


@pytest.fixture
async def decoders() -> AsyncGenerator[Decoders]:
    decoders = Decoders(Limits())
    yield decoders
    await decoders.close()


@pytest.fixture
async def images(decoders: Decoders) -> Images:
    """With what is on by default: nothing is fetched, and no file is read."""
    return Images(decoders, Files([], Limits()), None, Limits())
