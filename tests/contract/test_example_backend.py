"""The backend that the documentation shows passes the conformance kit, found by its entry point."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import kit
import pytest
import software

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = software.ROOT / "examples"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example_passes_the_kit(tmp_path: Path) -> None:
    pytest.importorskip("cffi", reason="comes with the Vulkan binding")
    software.install(tmp_path, "cffi", "cffi_backend")
    path = os.pathsep.join([str(tmp_path), str(EXAMPLES), *(entry for entry in sys.path if entry)])
    changes = {**software.environment("swiftshader"), "PYTHONPATH": path}
    _, outcomes = kit.matrix(tmp_path, kit.run(tmp_path, "cffi", changes, timeout=280))
    assert outcomes["link::ping_pong[blocking]"] == "passed"
    assert outcomes["kernels::saxpy"] == "passed"


def test_the_example_is_as_small_as_its_page_says() -> None:
    lines = len((EXAMPLES / "cffi_backend.py").read_text(encoding="utf-8").splitlines())
    page = (software.ROOT / "docs/how-to/add-a-backend.md").read_text(encoding="utf-8")
    assert f"in one module of {lines} lines" in page
