"""``interop doctor --test`` passes where the drivers are sound, and finds and names a fault that is switched on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import software

if sys.platform != "win32":
    import fcntl
    import pty
    import termios

SHARED = ("opaque_fd", "host_allocation")


def examine(folder: Path, **switches: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run it in a process of its own; return the status, and the pairs with Vulkan by consumer."""
    file = folder / "doctor.json"
    command = [sys.executable, "-m", "interop", "doctor", "--test", "--timeout=1", "--json", str(file)]
    done = subprocess.run(
        command, env=os.environ | switches, timeout=120, check=False, capture_output=True, text=True
    )
    assert file.exists(), done.stdout + done.stderr
    pairs = json.loads(file.read_text(encoding="utf-8"))["pairs"]
    return done.returncode, {pair["consumer"]: pair for pair in reversed(pairs)}


def test_sound_drivers_pass(tmp_path: Path) -> None:
    status, pairs = examine(tmp_path)
    trials = [trial for pair in pairs.values() for trial in pair["trials"]]
    assert status == 0
    assert trials
    assert all(trial["passed"] for trial in trials)
    assert {trial["path"] for trial in pairs["opencl:0"]["trials"]} == {"zero-copy", "staged"}


def test_host_memory_is_a_path_of_its_own(tmp_path: Path) -> None:
    status, pairs = examine(tmp_path, **software.environment("lavapipe"))
    assert status == 0
    for consumer in ("opencl:0", "hip:0", "numpy:0"):
        tried = [
            (trial["handle_type"], trial["sync"]) for trial in pairs[consumer]["trials"] if trial["passed"]
        ]
        assert tried == [
            *((handle_type, sync) for handle_type in SHARED for sync in ("bridged", "blocking")),
            (None, "blocking"),
        ]


def test_a_fault_of_host_memory_alone_is_named_there(tmp_path: Path) -> None:
    status, pairs = examine(tmp_path, **software.environment("lavapipe", SOFTGPU_FAIL="hipHostRegister:1+"))
    trials = pairs["hip:0"]["trials"]
    assert status == 1
    assert {trial["handle_type"] for trial in trials if not trial["passed"]} == {"host_allocation"}
    assert all("hipHostRegister returned" in trial["words"] for trial in trials if not trial["passed"])
    assert [trial["passed"] for trial in trials] == [True, True, False, False, True]


def screen(columns: int, *arguments: str) -> list[str]:
    """Run it on a terminal of that width and return what it shows, colours and all."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    complete = {**os.environ, **software.environment("swiftshader")}
    environment = {name: value for name, value in complete.items() if name not in {"COLUMNS", "NO_COLOR"}}
    command = [sys.executable, "-m", "interop", "doctor", *arguments]
    with subprocess.Popen(
        command, env=environment | {"TERM": "xterm"}, stdout=theirs, stderr=theirs, stdin=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # what reading a terminal ends with
            while part := os.read(ours, 4096):
                shown += part
        os.close(ours)
        process.wait(60)
    return shown.decode().replace("\r\n", "\n").splitlines()


def test_one_pair_fits_a_small_terminal() -> None:
    found = screen(80, "--test", "--consumers=opencl")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in found]
    assert len(found) <= 24, "\n".join(plain)
    assert any("\x1b[32mpassed" in line for line in found)
    assert max(map(len, plain)) <= 80
    # Broken between words: nothing of the parts is missing when they are put together again.
    together = " ".join(" ".join(line.split()) for line in plain)
    assert "passed zero-copy opaque_fd: native, bridged, blocking; staged: blocking (8 frames of" in together
    assert "vulkan:0 and opencl:0 are one device, by uuid" in plain


def test_what_is_no_terminal_gets_whole_lines_without_colour() -> None:
    command = [sys.executable, "-m", "interop", "doctor", "--consumers=opencl"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "40"}
    done = subprocess.run(command, env=environment, timeout=60, check=True, capture_output=True, text=True)
    assert "\x1b" not in done.stdout
    assert any("platform Portable Computing Language" in line for line in done.stdout.splitlines())
    assert all(line == line.rstrip() for line in done.stdout.splitlines())


def test_a_consumer_that_does_not_exist_is_an_error_of_the_command_line() -> None:
    command = [sys.executable, "-m", "interop", "doctor", "--consumers=opncl"]
    done = subprocess.run(command, timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no consumer 'opncl'; choose from" in done.stderr


def test_a_checkout_that_is_not_installed_and_has_the_core_alone(tmp_path: Path) -> None:
    """The package found by its path alone, its one dependency beside it, no metadata anywhere."""
    pluggy = importlib.util.find_spec("pluggy")
    assert pluggy is not None
    assert pluggy.origin is not None
    (tmp_path / "pluggy").symlink_to(Path(pluggy.origin).parent)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", "-m", "interop", *arguments],
            env={"PYTHONPATH": f"{software.ROOT}:{tmp_path}"},
            cwd=tmp_path,
            timeout=60,
            check=False,
            capture_output=True,
            text=True,
        )

    done = run("doctor")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("interop (distribution gpu-interop not installed), ")
    assert done.stdout.endswith("the command line needs click: pip install 'gpu-interop[cli]'\n")
    assert "no pair: " in done.stdout
    other = run("compare")
    assert (other.returncode, other.stdout) == (2, "")
    assert "pip install 'gpu-interop[cli]'" in other.stderr


def test_images_are_told_for_each_pair(tmp_path: Path) -> None:
    images = {name: pair["images"] for name, pair in examine(tmp_path)[1].items()}
    assert images["opencl:0"]["tilings"] == images["hip:0"]["tilings"] == ["linear"]
    assert "the OpenCL driver reads images in opaque_fd memory as rows" in images["opencl:0"]["reasons"]
    assert "the HIP device has no images, says hipDeviceAttributeImageSupport" in images["hip:0"]["reasons"]
    assert images["numpy:0"]["tilings"] == []
    assert "numpy imports no optimal images by opaque_fd" in images["numpy:0"]["reasons"]
    tiled = examine(tmp_path, SOFTGPU_CL_IMAGES="tiled")[1]["opencl:0"]["images"]
    assert tiled["tilings"] == ["optimal"]
    assert "the OpenCL driver does not read images in opaque_fd memory as rows" in tiled["reasons"]


@pytest.mark.parametrize(
    ("switch", "value", "consumer", "words"),
    [
        ("FAIL", "hipImportExternalMemory:1+", "hip:0", "hipImportExternalMemory returned"),
        ("FAIL", "clCreateBufferWithProperties:1+", "opencl:0", "clCreateBufferWithProperties returned"),
        ("SIGNAL_DELAY_MS", "3000", "opencl:0", "WaitTimeout"),
    ],
)
def test_a_fault_is_found_and_named(
    tmp_path: Path, switch: str, value: str, consumer: str, words: str
) -> None:
    status, pairs = examine(tmp_path, **{f"SOFTGPU_{switch}": value})
    failed = [trial["words"] for trial in pairs[consumer]["trials"] if not trial["passed"]]
    assert status == 1
    assert failed
    assert all(words in said for said in failed)


def test_another_devices_uuid_is_named_and_not_tested(tmp_path: Path) -> None:
    _, pairs = examine(tmp_path, SOFTGPU_HIP_UUID="wrong")
    assert "uuid differs" in pairs["hip:0"]["reason"]
    assert pairs["hip:0"]["trials"] == []
