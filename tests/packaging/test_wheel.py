"""What users install: the wheel, built from the source distribution, in an environment of its own."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import fresh
import pytest
import software

pytestmark = pytest.mark.slow

ROOT = software.ROOT


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel built from it alone."""
    folder = tmp_path_factory.mktemp("dist")
    # The back end is installed, so nothing is fetched.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = fresh.run(command, {"PYTHONPATH": ""}, timeout=110, cwd=folder)
    assert done.status == 0, done.output
    (source,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return source, wheel


def test_contents_of_the_wheel(distributions: tuple[Path, Path]) -> None:
    names = set(zipfile.ZipFile(distributions[1]).namelist())
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"interop", "interop_vulkan", "interop_opencl", "interop_hip"}
    for package, folder in (
        ("interop", ROOT / "interop"),
        *((name, ROOT / "backends" / name) for name in tops - {"interop"}),
    ):
        files = [*folder.rglob("*.py"), *folder.rglob("py.typed")]
        assert {f"{package}/{path.relative_to(folder).as_posix()}" for path in files} <= names
    assert "interop/py.typed" in names
    shaders = {path.name for path in (ROOT / "backends/interop_vulkan/shaders").glob("*.spv")}
    assert shaders
    assert {f"interop_vulkan/shaders/{name}" for name in shaders} <= names
    # The kit in interop.testing is for users; the project's own tests are not.
    stray = [name for name in names if re.search(r"(^|/)tests?/|conftest|\.pyc$|\.so$|\.cache", name)]
    assert stray == []
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    (points,) = (name for name in names if name.endswith("entry_points.txt"))
    text = zipfile.ZipFile(distributions[1]).read(points).decode()
    assert "interop = interop.cli:main" in text
    for backend in ("vulkan", "opencl", "hip"):
        assert f"{backend} = interop_{backend}.plugin" in text


def test_contents_of_the_source_distribution(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "interop/py.typed"} <= names
    assert not any(name.startswith((".cache", "tests/", "build/")) for name in names)


@pytest.mark.network
@pytest.mark.timeout(400)
def test_the_installed_wheel_runs_the_example(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    """In a clean environment with the extras that a user asks for, far from the source tree."""
    python = tmp_path / "venv/bin/python"
    wanted = f"gpu-interop[vulkan,opencl,hip] @ {distributions[1].as_uri()}"
    # Pillow writes the example's picture; it comes with the extra "cli", which is not what this is about.
    for command in installers(tmp_path / "venv", python, wanted, "pillow"):
        done = fresh.run(command, {"PYTHONPATH": ""}, timeout=300, cwd=tmp_path)
        assert done.status == 0, done.output
    shutil.copy(ROOT / "examples/sinewave.py", tmp_path)
    for consumer in ("opencl", "hip"):
        environment = {**software.environment(), "PYTHONPATH": "", "PYTHONWARNINGS": "error::ResourceWarning"}
        program = [
            str(python),
            "sinewave.py",
            f"--consumer={consumer}",
            "--frames=5",
            f"--png={consumer}.png",
        ]
        done = fresh.run(program, environment, cwd=tmp_path)
        assert done.status == 0, done.output
        assert "5 frames, zero-copy" in done.output
        assert (tmp_path / f"{consumer}.png").stat().st_size > 1000
    where = fresh.run(
        [python, "-c", "import interop; print(interop.__file__)"], {"PYTHONPATH": ""}, cwd=tmp_path
    )
    assert Path(where.output.strip()).is_relative_to(tmp_path)


def installers(venv: Path, python: Path, *packages: str) -> list[list[str | Path]]:
    """The commands that make an environment: by uv where there is one, else by what Python brings."""
    uv = shutil.which("uv")
    if uv is not None:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, venv],
            [uv, "pip", "install", "--quiet", "--python", python, *packages],
        ]
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-m", "venv", venv], [*pip, *packages]]
