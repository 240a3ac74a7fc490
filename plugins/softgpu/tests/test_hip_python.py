"""The HIP runtime through hip-python, in a process per setting: it is loaded once, and reads its switches once.

The whole interface is tested in C++ (tests/hip), plain here and under the sanitizers in tests/sanitizers.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import fresh
import hip_programs
import pytest
from interop_softgpu import paths

PLUGIN = Path(__file__).parents[1]
UUID = "00112233445566778899aabbccddeeff"


def environment(**switches: str) -> dict[str, str]:
    runtime = paths.native(paths.HIP)
    assert runtime is not None, "the HIP runtime is not built: ./run test does that"
    return {
        "ROCM_PATH": str(runtime.parents[1]),
        "INTEROP_SOFTGPU": "off",
        "SOFTGPU_UUIDS": UUID,
        "SOFTGPU_HIP_DEVICE": "cpu",
        **{f"SOFTGPU_{name}": value for name, value in switches.items()},
    }


def test_interface_in_cpp(tmp_path: Path) -> None:
    def tool(name: str) -> str:
        found = shutil.which(name, path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin")
        assert found is not None, f"{name} is needed to build the test programs"
        return found

    configure = [
        tool("cmake"),
        "-S",
        str(PLUGIN),
        "-B",
        str(tmp_path),
        "-DSOFTGPU_TESTS=ON",
        "-DSOFTGPU_DRIVERS=hip",
    ]
    build = [tool("cmake"), "--build", str(tmp_path), "--parallel", "2"]
    tests = [tool("ctest"), "--test-dir", str(tmp_path), "--output-on-failure", "--no-tests=error"]
    for command in (configure, build, tests):
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_frames_leave_nothing_behind() -> None:
    result = fresh.call(hip_programs.frames, environment(), count=200)
    assert result == {"wrong": 0, "live": 0, "files": 0}


def test_late_signals_change_nothing() -> None:
    result = fresh.call(hip_programs.frames, environment(SIGNAL_DELAY_MS="20"), count=10)
    assert result == {"wrong": 0, "live": 0, "files": 0}


def test_the_device_says_what_it_is() -> None:
    (device,) = fresh.call(hip_programs.devices, environment())
    assert "software" in device["name"]
    assert device["uuid"] == UUID
    assert device["arch"] == "softgpu"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_number_of_devices(count: int) -> None:
    devices = fresh.call(hip_programs.devices, environment(HIP_DEVICES=str(count)))
    assert len({device["uuid"] for device in devices}) == count
    assert len({device["pci"] for device in devices}) == count


@pytest.mark.parametrize(
    ("switches", "key", "value"),
    [
        ({"HIP_UUID": "serial"}, "uuid", b"50f79b0000000000".hex()),
        ({"HIP_UUID": "wrong"}, "uuid", bytes(255 - byte for byte in bytes.fromhex(UUID)).hex()),
        ({"HIP_MODE": "amd"}, "uuid", b"50f79b0000000000".hex()),
        ({"HIP_MODE": "amd"}, "arch", "gfx1100"),
        ({"HIP_MODE": "amd", "HIP_UUID": "vulkan"}, "uuid", UUID),
        ({"HIP_PCI": "0"}, "pci", 801),
        ({"HIP_PCI": "0000:03:00"}, "pci", "0000:03:00.0"),
    ],
)
def test_identity(switches: dict[str, str], key: str, value: object) -> None:
    (device,) = fresh.call(hip_programs.devices, environment(**switches))
    assert device[key] == value


@pytest.mark.parametrize(
    ("switches", "memory", "foreign", "semaphore"),
    [
        ({}, [0, True], [2, True], [0, True]),
        ({"HIP_MODE": "amd"}, [0, True], [2, True], [801, True]),
        ({"HIP_SEMAPHORES": "0"}, [0, True], [2, True], [801, True]),
        ({"HIP_MODE": "amd", "HIP_SEMAPHORES": "1"}, [0, True], [2, True], [0, True]),
        ({"HIP_FD": "consume"}, [0, False], [2, True], [0, False]),
        ({"HIP_FD": "consume-always"}, [0, False], [999, False], [0, False]),
        ({"FAIL": "hipImportExternalMemory:1:2"}, [2, True], [2, True], [0, True]),
        ({"FAIL": "hipImportExternalSemaphore:1+:1"}, [0, True], [2, True], [1, True]),
    ],
)
def test_imports(
    switches: dict[str, str], memory: list[object], foreign: list[object], semaphore: list[object]
) -> None:
    result = fresh.call(hip_programs.imports, environment(**switches))
    assert result == {"memory": memory, "foreign": foreign, "semaphore": semaphore}


def test_value_waits() -> None:
    result = fresh.call(hip_programs.wait_value, environment())
    assert result == {"offered": 1, "error": 0, "held": 600, "live": 0}


def test_value_waits_switched_off() -> None:
    result = fresh.call(hip_programs.wait_value, environment(HIP_WAIT_VALUE="0"))
    assert result == {"offered": 0, "error": 801, "held": 0, "live": 0}


def test_the_nth_call_fails() -> None:
    errors = fresh.call(hip_programs.allocations, environment(FAIL="hipMalloc:2:2"), count=3)
    assert errors == [0, 2, 0]


def test_a_process_ends_with_blocked_streams() -> None:
    done = fresh.attempt(hip_programs.blocked_exit, environment(), timeout=30)
    assert (done.status, done.result, done.output) == (0, "left", "")
