"""Where a store may lie: on local disks, not on file systems of a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwired.errors import Misconfigured, Reason
from stepwired.store import database
from stepwired.store.sqlite import SqliteStore

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
30 27 0:44 / /home rw - {home} server:/export rw,vers=4.2
31 30 0:45 / /home/a\\040b rw - xfs /dev/vdb rw
32 27 0:46 / /data rw - xfs /dev/vdc rw
33 27 0:47 / /data rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/homes/x", "ext4"),
        ("/home", "nfs4"),
        ("/home/x/y", "nfs4"),
        ("/home/a b/y", "xfs"),
        ("/data/x", "cifs"),  # what was mounted last lies on top
    ],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    assert database.file_system(Path(folder), MOUNTS.format(home="nfs4")) == kind


def test_a_system_without_a_list_of_mounts_has_file_systems_that_nobody_knows() -> None:
    assert database.file_system(Path("/home"), "") == ""


@pytest.mark.parametrize(("kind", "is_refused"), [("nfs", True), ("fuse.sshfs", True), ("btrfs", False)])
async def test_a_network_file_system_is_refused_by_name_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_refused: bool
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path} rw - {kind} server:/export rw\n")
    monkeypatch.setattr(database, "MOUNTS", mounts)
    folder = tmp_path / "link"
    folder.symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "data").mkdir()
    if not is_refused:
        await (await SqliteStore.open(folder)).close()
        return
    with pytest.raises(Misconfigured) as caught:
        await SqliteStore.open(folder)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    assert kind in str(caught.value)
    assert "local disk" in str(caught.value)
    assert not list((tmp_path / "data").iterdir())
