"""The payload functions: in C under the sanitizers, and against the Vulkan drivers, also across processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from ctypes import c_int
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from interop_softgpu.native import PayloadError, Payloads, Status

if TYPE_CHECKING:
    from interop_softgpu.vulkan_objects import VulkanDevice

PLUGIN = Path(__file__).parents[1]


@pytest.mark.sanitizer
@pytest.mark.parametrize("sanitizer", ["", "address", "thread"])
def test_c_program(tmp_path: Path, sanitizer: str) -> None:
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert cmake is not None, "cmake is needed to build the test program"
    configure = [
        cmake,
        *("-S", str(PLUGIN), "-B", str(tmp_path), "-DSOFTGPU_TESTS=ON", "-DSOFTGPU_DRIVERS="),
        f"-DSOFTGPU_SANITIZE={sanitizer}",
    ]
    for command in (configure, [cmake, "--build", str(tmp_path)]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    # The thread sanitizer cannot cope with the many random address bits of newer kernels.
    command = ["setarch", "--addr-no-randomize", str(tmp_path / "tests/native/softgpu_payload_test")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "all passed\n"), done.stderr


def test_payload_outlives_the_semaphores_that_exported_it(vulkan: VulkanDevice, payloads: Payloads) -> None:
    semaphore, fd = vulkan.semaphore()
    fence = vulkan.submit(signal=semaphore)
    assert vulkan.finished(fence, 5)
    vulkan.destroy_fence(fence)
    vulkan.destroy_semaphore(semaphore)
    payload = payloads.open(fd)
    os.close(fd)
    assert payload.wait(1) is Status.OK
    payload.close()


def test_semaphore_across_processes(payloads: Payloads) -> None:
    payload, fd = payloads.create()
    program = (
        "import sys; from interop_softgpu.native import Payloads\n"
        "payload = Payloads().open(int(sys.argv[1]))\n"
        "assert payload.wait(10).name == 'OK'; payload.close()"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(fd)], pass_fds=[fd])
    os.close(fd)
    payload.signal()
    assert child.wait(20) == 0
    assert not payload.signalled
    payload.close()


def test_cancelled_wait(payloads: Payloads) -> None:
    payload, fd = payloads.create()
    os.close(fd)
    assert payload.wait(-1, c_int(1)) is Status.CANCELLED
    payload.close()


def test_too_small_memory_is_refused_before_it_is_touched(vulkan: VulkanDevice, payloads: Payloads) -> None:
    memory = vulkan.memory(4096)
    fd = memory.fd()
    with pytest.raises(PayloadError) as caught:
        payloads.map(fd, 4097)
    assert caught.value.status is Status.TOO_SMALL
    os.close(fd)
    memory.close()


def test_no_fd_is_left(vulkan: VulkanDevice, payloads: Payloads) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(50):
        semaphore, fd = vulkan.semaphore()
        payload = payloads.open(fd)
        os.close(fd)
        payload.close()
        vulkan.destroy_semaphore(semaphore)
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("driver", ["swiftshader", "lavapipe"])
def test_self_test(environment: None, driver: str) -> None:
    settings = {**os.environ, "INTEROP_SOFTGPU_VULKAN": driver, "INTEROP_SOFTGPU": "on"}
    command = [sys.executable, "-m", "interop_softgpu.selftest"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Vulkan reads what the payload was given" in done.stdout
    assert ("Vulkan's wait" in done.stdout) is (driver == "swiftshader")
