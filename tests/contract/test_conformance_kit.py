"""The conformance kit notices what it is for: a backend with one defect each fails the case about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import software

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

IMPORTS = """
import os
import interop_numpy.backend, interop_numpy.memory, interop_numpy.stream, interop_numpy.plugin
from interop.toolkit import HostMemory
from interop_numpy.memory import HostArray
from interop_numpy.stream import HostStream
from interop_numpy.backend import NumPyConsumer
real_open, real_close = HostMemory.open.__func__, HostMemory.close
kept = []
"""

DEFECTS = {
    "import::many_cycles_leave_nothing": "HostMemory.close = lambda self: kept.append(os.dup(0))",
    "import::close_twice": """
def close(self):
    kept.append(os.open(os.devnull, 0))
    real_close(self)
HostMemory.close = close
""",
    "import::strangers_descriptor[plain_memfd]": """
def open(cls, handle, *more):
    try:
        return real_open(cls, handle, *more)
    except Exception:
        handle.close()
        raise
HostMemory.open = classmethod(open)
""",
    "import::success_consumes_the_handle": """
def open(cls, handle, *more):
    with handle.dup() as other:
        return real_open(cls, other, *more)
HostMemory.open = classmethod(open)
""",
    "import::no_strangers_descriptor_is_closed": """
def open(cls, handle, *more):
    number = handle.value
    memory = real_open(cls, handle, *more)
    memory.number = number
    return memory
def close(self):
    real_close(self)
    if hasattr(self, "number"):
        try:
            os.close(self.number)
        except OSError:
            pass
HostMemory.open, HostMemory.close = classmethod(open), close
""",
    "mapping::range_that_ends_one_byte_late": """
import interop.toolkit.views
import interop.toolkit.host_memory
interop.toolkit.views.check_range = interop.toolkit.host_memory.check_range = lambda *_, **__: None
""",
    "mapping::producer_to_consumer[64]": "HostArray.copy = lambda self, host, timeout, to_host: None",
    "mapping::use_after_close": "HostMemory.close = lambda self: None",
    "stream::hold_until_release": "HostStream.hold = lambda self, value: None",
    "stream::synchronize_is_bounded": "HostStream.synchronize = lambda self, timeout: None",
    "kernels::compile_error_names_the_callers_line": """
import interop.toolkit.host_kernels
from interop.toolkit import parse_kernels
interop.toolkit.host_kernels.pick_source = lambda _, source, prelude: (prelude + source, parse_kernels(source))
""",
}


IMAGE_IMPORTS = """
import os
from interop.protocols import Handle
from interop.toolkit import device_images
from interop_hip import backend
from interop_hip.consumer import HipConsumer
from interop_hip.image import HipImage
kept = []
"""

IMAGE_DEFECTS = {
    "images::both_ways[linear]": "HipImage.write = lambda self, source, **_: None",
    "images::formats_are_right_or_refused[linear]": """
real = HipImage.enqueue_copy
def shifted(self, runtime, stream, host, *more, **way):
    real(self, runtime, stream, host + (self.format.texel_size == 16), *more, **way)
HipImage.enqueue_copy = shifted
""",
    "images::refused_import_leaves_the_handle_good[linear]": """
real = HipConsumer.import_image
def greedy(self, handle, memory, image):
    try:
        return real(self, handle, memory, image)
    except Exception:
        handle.close()
        raise
HipConsumer.import_image = greedy
""",
    "images::success_consumes_the_handle[linear]": """
real = HipConsumer.import_image
def generous(self, handle, memory, image):
    with handle.dup() as other:
        return real(self, other, memory, image)
HipConsumer.import_image = generous
""",
    "images::copies_are_checked[linear]": "device_images.host_bytes = lambda host, nbytes, *, writable: None",
    "images::use_after_close[linear]": "HipImage.check_open = lambda self: None",
    "images::many_cycles_leave_nothing[linear]": """
real = HipImage.close
def leak(self):
    kept.append(os.open(os.devnull, 0))
    real(self)
HipImage.close = leak
""",
}


def run_kit(
    folder: Path, plugin: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    (folder / "defect.py").write_text(plugin, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "interop.testing.plugin", "-p", "defect", "--pyargs"]
    command += ["interop.testing.conformance", "-p", "no:cacheprovider", "--interop-timeout=2", *arguments]
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd=folder,
        env={**os.environ, **(environment or {}), "PYTHONPATH": path},
    )


def outcomes(folder: Path) -> dict[str, str]:
    content = json.loads((folder / "matrix.json").read_text(encoding="utf-8"))
    return {row["case"]: row["outcome"] for row in content["cases"]}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", DEFECTS)
def test_a_defect_fails_its_case(tmp_path: Path, case: str) -> None:
    name = case.partition("::")[2].partition("[")[0]
    arguments = ("--interop-backend=numpy", f"-k={name}", f"--interop-matrix={tmp_path / 'matrix.json'}")
    done = run_kit(tmp_path, IMPORTS + DEFECTS[case], *arguments)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert outcomes(tmp_path)[case] == "failed"


@pytest.mark.parametrize("case", IMAGE_DEFECTS)
def test_a_defect_of_images_fails_its_case(tmp_path: Path, case: str) -> None:
    name = case.partition("::")[2].partition("[")[0]
    matrix = f"--interop-matrix={tmp_path / 'matrix.json'}"
    plugin = IMAGE_IMPORTS + IMAGE_DEFECTS[case]
    done = run_kit(tmp_path, plugin, "--interop-backend=hip", f"-k={name} and linear", matrix)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert outcomes(tmp_path)[case] == "failed"


def test_a_backend_that_is_not_there_fails_the_run(tmp_path: Path) -> None:
    done = run_kit(tmp_path, "", "--interop-backend=nowhere")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "backend 'nowhere' is not available" in done.stdout + done.stderr


def test_no_backend_named(tmp_path: Path) -> None:
    done = run_kit(tmp_path, "")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--interop-backend=NAME" in done.stdout + done.stderr


def test_a_strategy_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    done = run_kit(tmp_path, "", "--interop-backend=numpy", "--interop-sync=native", "-k=consumer_first")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "NoCommonSync" in done.stdout


PROFILE = """
import interop_numpy.plugin
from interop.protocols import hookimpl
from interop.protocols import ConformanceProfile
@hookimpl
def interop_conformance_profile(backend):
    return ConformanceProfile(unsupported={unsupported!r}, expected_failures={expected!r})
interop_numpy.plugin.interop_conformance_profile = interop_conformance_profile
"""


def test_declared_cases(tmp_path: Path) -> None:
    """Unsupported ones are not run but shown; an expected failure that passes is a failure."""
    plugin = PROFILE.format(
        unsupported={"kernels::local_memory*": "one item at a time"}, expected={"kernels::saxpy": "soon"}
    )
    matrix = f"--interop-matrix={tmp_path / 'matrix.json'}"
    done = run_kit(tmp_path, plugin, "--interop-backend=numpy", "-k=saxpy or local_memory", matrix)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert outcomes(tmp_path) == {
        "kernels::local_memory_and_barrier": "unsupported",
        "kernels::saxpy": "failed",
    }
    assert "one item at a time" in done.stdout


def test_an_expected_failure_does_not_fail_the_run(tmp_path: Path) -> None:
    plugin = PROFILE.format(unsupported={}, expected={"kernels::local_memory*": "not written yet"})
    matrix = f"--interop-matrix={tmp_path / 'matrix.json'}"
    done = run_kit(tmp_path, plugin, "--interop-backend=numpy", "-k=local_memory", matrix)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert outcomes(tmp_path) == {"kernels::local_memory_and_barrier": "expected failure"}


FAULT = """
import interop_numpy.plugin
from interop.protocols import HandleType
from interop.protocols import hookimpl
from interop.protocols import ConformanceProfile, DriverFault
leak = DriverFault(
    driver={driver!r},
    handle_types=frozenset(map(HandleType, {handle_types})),
    failure=r"^Failed: left behind: descriptor \\d+ \\(/dev/null\\)$",
    reason="a refused import leaves a file open",
    reference="made up",
)
@hookimpl
def interop_conformance_profile(backend):
    return ConformanceProfile(driver_faults={{"import::strangers_descriptor[dev_null]": leak}})
interop_numpy.plugin.interop_conformance_profile = interop_conformance_profile
"""

LEAK = """
def open(cls, handle, *more):
    try:
        return real_open(cls, handle, *more)
    except Exception:
        if not kept:
            kept.append(os.open(os.devnull, 0))
        {more}
        raise
HostMemory.open = classmethod(open)
"""


@pytest.mark.parametrize(
    ("driver", "handle_types", "defect", "outcome", "said"),
    [
        ("^NumPy", [], LEAK.format(more="pass"), "driver", "a refused import leaves a file open (made up)"),
        ("^NumPy", ["opaque_fd"], LEAK.format(more="pass"), "driver", "leaves a file open (made up)"),
        ("^NumPy", [], LEAK.format(more="handle.close()"), "failed", "assert"),
        ("^NumPy", [], "", "failed", "this driver does not have the fault"),
        ("another driver", [], LEAK.format(more="pass"), "failed", "left behind"),
        ("^NumPy", ["dma_buf"], LEAK.format(more="pass"), "failed", "left behind"),
    ],
    ids=["shown", "shown-by-this-path", "and-another", "mended", "another-driver", "another-path"],
)
def test_a_known_fault_of_a_driver(
    tmp_path: Path, driver: str, handle_types: list[str], defect: str, outcome: str, said: str
) -> None:
    """It is that failure alone, on that driver and path alone, that is let through, and it has to come."""
    plugin = IMPORTS + FAULT.format(driver=driver, handle_types=handle_types) + defect
    matrix = f"--interop-matrix={tmp_path / 'matrix.json'}"
    done = run_kit(
        tmp_path, plugin, "--interop-backend=numpy", "-k=strangers_descriptor and dev_null", matrix
    )
    status = pytest.ExitCode.OK if outcome == "driver" else pytest.ExitCode.TESTS_FAILED
    assert done.returncode == status, done.stdout + done.stderr
    assert outcomes(tmp_path) == {"import::strangers_descriptor[dev_null]": outcome}
    assert said in done.stdout


ANY_DRIVER = """
from interop.protocols import conformance as profile
profile.DriverFault.concerns = lambda fault, consumer, handle_type: handle_type in fault.handle_types
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("habit", "outcome"), [("block", "driver"), ("pass", "failed")])
def test_the_fault_declared_for_nvidias_opencl(tmp_path: Path, habit: str, outcome: str) -> None:
    """The software driver that imitates it shows the fault as declared; a driver without it is reported."""
    environment = software.environment("swiftshader", SOFTGPU_CL_USER_EVENTS=habit)
    matrix = f"--interop-matrix={tmp_path / 'matrix.json'}"
    chosen = ("--interop-backend=opencl", "-k=turns_do_not_block")
    done = run_kit(tmp_path, ANY_DRIVER, *chosen, matrix, environment=environment)
    assert outcomes(tmp_path)["link::turns_do_not_block_the_caller[bridged]"] == outcome, done.stdout
    assert outcomes(tmp_path)["link::turns_do_not_block_the_caller[native]"] == "passed"


def test_a_declaration_that_fits_no_case_is_an_error(tmp_path: Path) -> None:
    plugin = PROFILE.format(unsupported={"kernels::no_such_case": "gone"}, expected={})
    done = run_kit(tmp_path, plugin, "--interop-backend=numpy", "--collect-only", "-q")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "kernels::no_such_case" in done.stdout + done.stderr
