"""Every shipped consumer passes the conformance kit, run as the author of a backend runs it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import kit
import pytest
import software

if TYPE_CHECKING:
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


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("run", RUNS)
def test_no_case_fails(tmp_path: Path, run: str) -> None:
    backend, switches, offered = RUNS[run]
    done = kit.run(tmp_path, backend, software.environment("swiftshader", **switches))
    content, outcomes = kit.matrix(tmp_path, done)
    assert all(content["themes"][theme]["passed"] for theme in THEMES | offered - {"native"})
    for strategy in ("bridged", "blocking", *offered & {"native"}):
        assert outcomes[f"link::ping_pong[{strategy}]"] == "passed"
    images = {case: outcome for case, outcome in outcomes.items() if case.startswith("images::")}
    taken = {case for case, outcome in images.items() if outcome == "passed"}
    assert taken == {case for case in images if backend != "numpy" and "[linear" in case}
