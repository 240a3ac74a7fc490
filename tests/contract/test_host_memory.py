"""Host memory used in place by Vulkan and each consumer: every byte, both ways, and who keeps the pages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import fresh
import host_memory
import kit
import pytest
import software

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

# SwiftShader takes no pages for a storage buffer, and lavapipe exports no semaphores: native is for hardware.
CONSUMERS = ("opencl", "hip", "numpy")
PLAIN = {"OPENCL_LAYERS": ""}
"""OpenCL as it comes, without external memory."""


@pytest.mark.parametrize("sync", ["bridged", "blocking"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_frames_in_place(consumer: str, sync: str) -> None:
    found = fresh.call(
        host_memory.many, software.environment("lavapipe"), consumer=consumer, sync=sync, frames_wanted=200
    )
    assert found["path"] == "zero-copy host_allocation"
    assert found["plan"] == [sync, sync], found["explanation"]
    assert (found["wrong"], found["left"]) == (0, [])


def test_an_opencl_without_external_memory_gets_it_unasked() -> None:
    found = fresh.call(
        host_memory.many,
        software.environment("lavapipe", **PLAIN),
        consumer="opencl",
        sync="auto",
        frames_wanted=200,
        handle_type=None,
    )
    assert found["path"] == "zero-copy host_allocation", found["explanation"]
    assert "mapped and unmapped at each hand-over" in found["explanation"]
    assert (found["wrong"], found["left"]) == (0, [])


def test_as_amd_on_linux() -> None:
    found = fresh.call(
        host_memory.many,
        software.environment("lavapipe", SOFTGPU_HIP_MODE="amd"),
        consumer="hip",
        sync="auto",
        frames_wanted=100,
    )
    assert found["plan"] == ["bridged", "bridged"], found["explanation"]
    assert (found["wrong"], found["left"]) == (0, [])


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_pages_of_the_callers_are_the_same_bytes_for_all_three(consumer: str) -> None:
    found = fresh.call(host_memory.pages_of_the_callers, software.environment("lavapipe"), consumer=consumer)
    assert len(found) == 4
    assert all(found.values()), found


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_pages_go_with_their_last_user(consumer: str) -> None:
    found = fresh.call(
        host_memory.pages_go_with_the_last_user, software.environment("lavapipe"), consumer=consumer
    )
    assert found == dict.fromkeys(
        ("kept by the handle", "kept by the import", "good", "gone after the last"), True
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_the_kit_passes_by_host_memory(tmp_path: Path, consumer: str) -> None:
    # The whole kit once: what is no matter of memory passes by device memory as well.
    part = [] if consumer == "hip" else ["-k", "test_import or test_mapping or ping_pong"]
    arguments = ["--interop-handle-type=host_allocation", *part]
    done = kit.run(tmp_path, consumer, software.environment("lavapipe"), *arguments)
    _, outcomes = kit.matrix(tmp_path, done)
    assert outcomes["import::strangers_address[not mapped]"] == "passed"
    assert outcomes["link::ping_pong[bridged]"] == outcomes["link::ping_pong[blocking]"] == "passed"
