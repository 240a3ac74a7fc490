"""Every shipped consumer passes the conformance kit, run as the author of a backend runs it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import kit
import pytest
import software

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    import fresh

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
    return kit.run(folder, backend, software.environment("swiftshader", **switches))


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
    content, outcomes = kit.matrix(folder, running.result())
    assert all(content["themes"][theme]["passed"] for theme in THEMES | offered - {"native"})
    for strategy in ("bridged", "blocking", *offered & {"native"}):
        assert outcomes[f"link::ping_pong[{strategy}]"] == "passed"
    images = {case: outcome for case, outcome in outcomes.items() if case.startswith("images::")}
    taken = {case for case, outcome in images.items() if outcome == "passed"}
    assert taken == {case for case in images if backend != "numpy" and "[linear" in case}
