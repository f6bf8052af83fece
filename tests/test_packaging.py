"""The two wheels: what is in them, and that each works without the other's files."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"stepwire": ROOT / "clients" / "python", "stepwired": ROOT}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("wheels")
    for folder in FOLDERS.values():
        _python("-m", "hatchling", "build", "-t", "wheel", "-d", str(out), cwd=folder)
    return {name: next(out.glob(f"{name}-*.whl")) for name in FOLDERS}


def test_no_file_is_in_both_wheels(wheels: dict[str, Path]) -> None:
    assert not set(_files(wheels["stepwire"])) & set(_files(wheels["stepwired"]))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_wheel_holds_its_package_and_nothing_else(wheels: dict[str, Path], name: str) -> None:
    tops = {file.split("/")[0] for file in _files(wheels[name])}
    assert tops == {name, f"{name}-{_version(name)}.dist-info"}
    assert f"{name}/py.typed" in _files(wheels[name])


def test_a_wheel_holds_every_tracked_file_of_its_package(wheels: dict[str, Path]) -> None:
    for name, source in {"stepwire": "clients/python", "stepwired": "service"}.items():
        tracked = subprocess.run(
            ["git", "ls-files", name], cwd=ROOT / source, check=True, capture_output=True, text=True
        ).stdout.split()
        assert set(tracked) <= set(_files(wheels[name]))


def test_every_proto_has_its_stubs_in_the_sdk(wheels: dict[str, Path]) -> None:
    held = set(_files(wheels["stepwire"]))
    protos = sorted((ROOT / "proto" / "stepwire" / "v1").glob("*.proto"))
    assert protos
    for proto in protos:
        kinds = ["_pb2", "_pb2_grpc"] if "\nservice " in proto.read_text("utf-8") else ["_pb2"]
        wanted = {f"stepwire/v1/{proto.stem}{kind}{suffix}" for kind in kinds for suffix in (".py", ".pyi")}
        assert wanted <= held


def test_the_sdk_runs_without_the_service(wheels: dict[str, Path], tmp_path: Path) -> None:
    _unpack(wheels["stepwire"], tmp_path)
    _alone(tmp_path, "import stepwire, stepwire.cli, stepwire.v1.chat_pb2_grpc", absent="stepwired")


def test_the_service_runs_from_its_wheel(wheels: dict[str, Path], tmp_path: Path) -> None:
    _unpack(wheels["stepwired"], tmp_path)
    _alone(tmp_path, "import stepwired, stepwired.errors, stepwired.events", absent="stepwire")
    _unpack(wheels["stepwire"], tmp_path)
    _alone(tmp_path, "import stepwired.__main__, stepwired.app", absent="tests")


def test_the_wheels_name_what_they_need_and_what_they_run(wheels: dict[str, Path]) -> None:
    sdk, service = (_metadata(wheels[name]) for name in ("stepwire", "stepwired"))
    needs = {
        need.split(";")[0].strip().split(">")[0] for need in sdk.get_all("Requires-Dist", []) if "extra" not in need
    }
    assert needs == {"grpcio", "grpcio-status", "protobuf"}
    assert "stepwire[cli]" in service.get_all("Requires-Dist", [])
    assert sdk["Version"] == service["Version"]
    assert "stepwire = stepwire.cli:main" in _entry_points(wheels["stepwire"])
    assert "stepwired = stepwired.__main__:main" in _entry_points(wheels["stepwired"])


def test_the_changelog_begins_with_the_version() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines() if line.startswith("## ")]
    assert headings[0].split()[1] == _version("stepwired")


def _python(*arguments: str, cwd: Path) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _alone(folder: Path, statement: str, *, absent: str) -> None:
    """Run `statement` with our packages taken from `folder` and never from this checkout."""
    checkout = [str(ROOT / "service"), str(ROOT / "clients" / "python")]
    _python(
        "-c",
        f"import sys; sys.path = [{str(folder)!r}] + [p for p in sys.path if p not in {['', *checkout]!r}]\n"
        f"sys.modules.update({{{absent!r}: None}})\n"
        f"{statement}\n"
        "ours = [m.__file__ for n, m in sys.modules.items() if m and n.split('.')[0] in ('stepwire', 'stepwired')]\n"
        f"assert ours and all(file.startswith({str(folder)!r}) for file in ours), ours",
        cwd=folder,
    )


def _files(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def _read(wheel: Path, ending: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(ending))).decode()


def _metadata(wheel: Path) -> Message:
    return HeaderParser().parsestr(_read(wheel, ".dist-info/METADATA"))


def _entry_points(wheel: Path) -> list[str]:
    return _read(wheel, ".dist-info/entry_points.txt").splitlines()


def _version(name: str) -> str:
    return str(tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text("utf-8"))["project"]["version"])
