"""The software drivers under the sanitizers: their own programs, and frames through real links."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import faults
import frames
import fresh
import hip_programs
import pytest
import software
import sync_files

pytestmark = [
    pytest.mark.sanitizer,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux"),
]

SANITIZERS = ("address", "thread")
PLUGIN = software.ROOT / "plugins/softgpu"
CACHE = Path(os.environ.get("INTEROP_CACHE", software.ROOT / ".cache")) / "sanitizers"
WORDS = ("AddressSanitizer", "ThreadSanitizer", "runtime error:", "LeakSanitizer")
RUNTIMES = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}
# The thread sanitizer cannot cope with the many random address bits of newer kernels.
FIXED_ADDRESSES = ("setarch", "--addr-no-randomize")


def tool(name: str) -> str:
    """Find a tool beside this Python or on the path."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert found is not None, f"{name} is needed: ./run test sets it up"
    return found


def compiler() -> str:
    return os.environ.get("CC") or tool("cc")


@pytest.fixture(scope="session", params=SANITIZERS)
def sanitizer(request: pytest.FixtureRequest) -> str:
    """The drivers and their test programs, built under one sanitizer and kept for the next run."""
    folder = CACHE / request.param
    configure = [tool("cmake"), "-S", str(PLUGIN), "-B", str(folder), "-DSOFTGPU_TESTS=ON"]
    configure += [f"-DSOFTGPU_SANITIZE={request.param}"]
    # A folder that was made with another generator keeps it.
    if not (folder / "CMakeCache.txt").exists() and shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    for command in (configure, [tool("cmake"), "--build", str(folder), "--parallel", "2"]):
        done = fresh.run(command, {"PYTHONPATH": ""}, timeout=350)
        assert done.status == 0, done.output
    return str(request.param)


def suppressed(name: str) -> str:
    """Return the option that names a list of what a sanitizer is wrong about."""
    return f"suppressions={Path(__file__).with_name(name)}:print_suppressions=0"


def environment(sanitizer: str, **switches: str) -> dict[str, str]:
    """Return variables that put the built drivers and the sanitizer's runtime into a process."""
    asked = [[compiler(), f"-print-file-name={name}"] for name in RUNTIMES[sanitizer]]
    runtimes = [
        subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() for ask in asked
    ]
    build = CACHE / sanitizer
    return {
        **software.environment("swiftshader", **switches),
        "VK_ADD_LAYER_PATH": str(build / "vulkan"),
        "ROCM_PATH": str(build / "rocm"),
        "OPENCL_LAYERS": str(build / "opencl/libsoftgpu_opencl.so"),
        "LD_PRELOAD": " ".join(runtimes),
        # Python and the loaders keep memory to the end on purpose; the C programs are checked for leaks.
        "ASAN_OPTIONS": "detect_leaks=0",
        # PoCL, LLVM and SwiftShader are not instrumented: their locks are not seen.
        "TSAN_OPTIONS": f"ignore_noninstrumented_modules=1:{suppressed('races.txt')}",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def attempt(sanitizer: str, function: Any, **arguments: Any) -> fresh.Finished:
    return fresh.attempt(function, environment(sanitizer), prefix=FIXED_ADDRESSES, timeout=150, **arguments)


def complaints(output: str) -> list[str]:
    return [line for line in output.splitlines() if any(word in line for word in WORDS)]


def test_programs_in_c(sanitizer: str) -> None:
    command = [*FIXED_ADDRESSES, tool("ctest"), "--test-dir", str(CACHE / sanitizer), "--output-on-failure"]
    # By default a program under the thread sanitizer sleeps for a second at its end.
    races = f"{suppressed('races.txt')}:atexit_sleep_ms=100"
    changes = {"PYTHONPATH": "", "LSAN_OPTIONS": suppressed("leaks.txt"), "TSAN_OPTIONS": races}
    done = fresh.run([*command, "--no-tests=error", "--parallel", "2"], changes, timeout=200)
    assert done.status == 0, done.output
    assert complaints(done.output) == []


def test_the_sanitizer_is_listening(sanitizer: str, tmp_path: Path) -> None:
    library = tmp_path / "libfaulty.so"
    source = tmp_path / "faulty.c"
    source.write_text(faults.SOURCE)
    flags = ["-shared", "-fPIC", "-g", f"-fsanitize={sanitizer}", "-pthread", "-o", str(library)]
    subprocess.run([compiler(), *flags, str(source)], check=True)
    done = attempt(sanitizer, faults.commit, library=str(library), fault=faults.OF[sanitizer])
    assert complaints(done.output), done.output


@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("consumer", ["opencl", "hip"])
def test_frames(sanitizer: str, consumer: str, sync: str) -> None:
    done = attempt(sanitizer, frames.many, consumer=consumer, sync=sync, frames=100)
    assert complaints(done.output) == [], done.output
    assert done.status == 0, done.output
    assert done.result["wrong"] == 0
    assert done.result["plan"] == [sync, sync]


@pytest.mark.parametrize("use", [sync_files.many_in_flight, sync_files.fallen_through, frames.many])
def test_sync_files(sanitizer: str, use: Any) -> None:
    drivers = environment(sanitizer, SOFTGPU_SEMAPHORE_HANDLES="sync_fd")
    frames_of: dict[str, Any] = {"consumer": "opencl", "sync": "native", "frames": 100}
    arguments = frames_of if use is frames.many else {}
    done = fresh.attempt(use, drivers, prefix=FIXED_ADDRESSES, timeout=150, **arguments)
    assert complaints(done.output) == [], done.output
    assert done.status == 0, done.output
    assert not done.result or not done.result["wrong"]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("frames", {"count": 50}), ("imports", {}), ("wait_value", {}), ("blocked_exit", {})],
)
def test_hip_through_python(sanitizer: str, program: str, arguments: dict[str, Any]) -> None:
    changes = {**environment(sanitizer), "INTEROP_SOFTGPU_BUILD": str(CACHE / sanitizer)}
    function = getattr(hip_programs, program)
    done = fresh.attempt(function, changes, prefix=FIXED_ADDRESSES, timeout=150, **arguments)
    assert complaints(done.output) == [], done.output
    assert done.status == 0, done.output
