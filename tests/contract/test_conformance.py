"""Every shipped consumer passes the conformance kit, run as the author of a backend runs it."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import fresh
import pytest
import software

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

RUNS = {
    "opencl": ("opencl", {}, {"semaphore", "native"}),
    "opencl-sync-files": ("opencl", {"SOFTGPU_SEMAPHORE_HANDLES": "sync_fd"}, {"one_shot", "native"}),
    "hip": ("hip", {}, {"semaphore", "native"}),
    # As AMD's runtime on Linux: no semaphores, no uuid that Vulkan knows, the file stays the caller's.
    "hip-as-amd": ("hip", {"SOFTGPU_HIP_MODE": "amd"}, set[str]()),
    "numpy": ("numpy", {}, set[str]()),
}
THEMES = {"import", "mapping", "stream", "kernels", "link"}


def run_kit(folder: Path, run: str) -> fresh.Finished:
    """Run the kit in a process and folder of its own."""
    backend, switches, _ = RUNS[run]
    folder.mkdir()
    command = [sys.executable, "-m", "pytest", "-p", "interop.testing.plugin", "--pyargs"]
    command += ["interop.testing.conformance", "-p", "no:cacheprovider", "-q", f"--interop-backend={backend}"]
    command += [f"--interop-matrix={folder / 'matrix.json'}"]
    return fresh.run(command, software.environment("swiftshader", **switches), timeout=390, cwd=folder)


@pytest.fixture(scope="module")
def kits(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Path, Future[fresh.Finished]]]]:
    """The kits of the runs that were chosen, two at a time: each leaves half of a small machine idle."""
    folder = tmp_path_factory.mktemp("kits")
    chosen = [run for run in RUNS if any(item.name.endswith(f"[{run}]") for item in request.session.items)]
    with ThreadPoolExecutor(2) as pool:
        yield {run: (folder / run, pool.submit(run_kit, folder / run, run)) for run in chosen}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("run", RUNS)
def test_no_case_fails(kits: dict[str, tuple[Path, Future[fresh.Finished]]], run: str) -> None:
    backend, _, offered = RUNS[run]
    folder, running = kits[run]
    matrix = folder / "matrix.json"
    done = running.result()
    assert done.status == 0, done.output
    content = json.loads(matrix.read_text(encoding="utf-8"))
    outcomes = {row["case"]: row["outcome"] for row in content["cases"]}
    assert set(outcomes.values()) <= {"passed", "unsupported", "not offered"}
    assert all(content["themes"][theme]["passed"] for theme in THEMES | offered - {"native"})
    for strategy in ("bridged", "blocking", *offered & {"native"}):
        assert outcomes[f"link::ping_pong[{strategy}]"] == "passed"
    images = {case: outcome for case, outcome in outcomes.items() if case.startswith("images::")}
    taken = {case for case, outcome in images.items() if outcome == "passed"}
    assert taken == {case for case in images if backend != "numpy" and "[linear" in case}
