"""The HIP backend's parts that need no driver, and what happens where there is none."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interop_hip import _runtime as _gate
from interop_hip import plugin
from interop_hip._driver import Driver
from interop_hip.backend import is_serial, radv_uuid

from interop.protocols import ArgumentError, BackendUnavailable, DriverError, PciAddress, Role, Unsupported
from interop.toolkit import (
    ALL_HOLDS,
    CallbackGate,
    DeviceKernel,
    DeviceStream,
    decode,
    parse_kernels,
    pick_source,
)
from interop.toolkit.device_kernels import PORTABLE_NAMES, PRELUDE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

hip: Any = pytest.importorskip("rocm.bindings.hip", reason="hip-python is not installed")


def run(code: str, **environment: str) -> str:
    """Run Python code in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOAD = """
from interop.protocols import BackendUnavailable
from interop_hip import plugin
[info] = plugin.interop_register_backends()
try:
    info.load().devices()
except (BackendUnavailable, ImportError) as error:
    print(type(error).__name__, error)
"""


def test_the_plugin_declares_a_consumer_and_imports_no_binding() -> None:
    [info] = plugin.interop_register_backends()
    assert (info.name, info.roles) == ("hip", frozenset({Role.CONSUMER}))
    assert info.install_hint
    assert run("import sys, interop_hip.plugin; print('rocm' in sys.modules)") == "False"


def test_without_hip_python() -> None:
    assert run("import sys; sys.modules['rocm'] = None" + LOAD).startswith("ModuleNotFoundError")


def test_without_a_runtime(tmp_path: Path) -> None:
    said = run(LOAD, ROCM_PATH=str(tmp_path), LD_LIBRARY_PATH="")
    assert said.startswith("BackendUnavailable")
    assert "libamdhip64" in said
    assert "pip install" in said


class SlowToOpen:
    """A compiler's library that must be opened by one thread alone, and by a call that nothing depends on."""

    def __init__(self) -> None:
        self.opening = 0
        self.opened = False
        self.faults: list[str] = []

    def hiprtcVersion(self) -> tuple[int, int, int]:  # noqa: N802 - the name of the API
        """Take a while."""
        self.opening += 1
        if self.opening > 1:
            self.faults.append("opened by two threads at once")
        threading.Event().wait(0.05)
        self.opening -= 1
        self.opened = True
        return 0, 9, 0

    def hiprtcCreateProgram(self) -> tuple[int, str]:  # noqa: N802 - the name of the API
        """Work only with an open library."""
        if not self.opened:
            self.faults.append("called before the library was open")
        return 0, "program"


def test_threads_that_compile_first_open_the_compiler_one_by_one() -> None:
    library = SlowToOpen()
    drivers = [Driver.__new__(Driver) for _ in range(2)]
    for made in drivers:
        made.hiprtc = library
        made._compiler_open = False
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda made=made: found.append(made.rtc("hiprtcCreateProgram")))
        for made in drivers * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (library.faults, found) == ([], ["program"] * 6)


@pytest.fixture
def driver() -> Driver:
    """A driver whose library exports nothing of HIP: enough for the translation of errors."""
    made = Driver.__new__(Driver)
    made.hip = hip
    made.library = ctypes.CDLL(None)
    made._functions = {}
    return made


def test_success_is_no_error(driver: Driver) -> None:
    driver.check("hipFree", 0)


@pytest.mark.parametrize("code", [100, 101])
def test_no_device_is_unavailable(driver: Driver, code: int) -> None:
    with pytest.raises(BackendUnavailable, match=r"hipError(NoDevice|InvalidDevice)") as caught:
        driver.check("hipGetDeviceCount", code)
    assert caught.value.install_hint


def test_not_supported_is_unsupported(driver: Driver) -> None:
    with pytest.raises(Unsupported, match="hipErrorNotSupported") as caught:
        driver.check("hipImportExternalSemaphore", 801)
    assert caught.value.capability == "hipImportExternalSemaphore"


def test_other_codes_keep_the_drivers_words_and_get_their_hint(driver: Driver) -> None:
    with pytest.raises(DriverError, match="not memory of this driver") as caught:
        driver.check("hipImportExternalMemory", 2, {2: "not memory of this driver"})
    error = caught.value
    assert (error.function, error.code, error.name) == ("hipImportExternalMemory", 2, "hipErrorOutOfMemory")
    with pytest.raises(DriverError) as caught:
        driver.check("hipMalloc", 1, {2: "not memory of this driver"})
    assert caught.value.hint == ""


def test_codes_that_the_binding_does_not_know(driver: Driver) -> None:
    with pytest.raises(DriverError) as caught:
        driver.check("hipMalloc", 98765)
    assert (caught.value.code, caught.value.name) == (98765, "")


def test_functions_that_the_library_does_not_have(driver: Driver) -> None:
    assert not driver.exports("hipMemcpyAsync")
    with pytest.raises(Unsupported, match="hipMemcpyAsync"):
        driver.raw("hipMemcpyAsync")


def test_text() -> None:
    assert decode(b"gfx1100\0\0\0garbage") == "gfx1100"
    assert decode(bytearray(b"plain")) == "plain"


def passes(words: tuple[int, int], value: int) -> bool:
    """Whether a hold of ``value`` passes, by HIP's comparison."""
    index, number = _gate.gate_point(value)
    return words[index] >= number


VALUES = st.integers(1, 6 * _gate.SPAN)
NEAR = st.integers(1, 1000)


@given(released=VALUES, back=st.integers(0, _gate.SPAN // 2 - 1))
def test_released_holds_pass(released: int, back: int) -> None:
    assert passes(_gate.gate_words(released), max(1, released - back))


@given(released=VALUES, ahead=st.integers(1, _gate.SPAN // 2))
def test_later_holds_do_not_pass(released: int, ahead: int) -> None:
    assert not passes(_gate.gate_words(released), released + ahead)


@given(lap=st.integers(1, 5), before=NEAR, after=NEAR)
def test_holds_on_both_sides_of_a_lap(lap: int, before: int, after: int) -> None:
    edge = lap * _gate.SPAN
    assert passes(_gate.gate_words(edge + after), edge - before)
    assert not passes(_gate.gate_words(edge - before), edge + after)


@given(value=VALUES)
def test_words_stay_below_cudas_turning_point(value: int) -> None:
    index, number = _gate.gate_point(value)
    assert index in (0, 1)
    assert all(0 <= word < 2**31 for word in (number, *_gate.gate_words(value)))


def test_radv_uuid_is_the_pci_address_in_four_words() -> None:
    made = radv_uuid(PciAddress.parse("0001:c3:02.5"))
    assert made.hex() == "01000000c30000000200000005000000"


@pytest.mark.parametrize(
    ("uuid", "serial"),
    [(b"50f79b00deadBEEF", True), (b"SwiftShaderUUID\0", False), (bytes(range(16)), False)],
)
def test_serials_are_told_from_uuids(uuid: bytes, *, serial: bool) -> None:
    assert is_serial(uuid) is serial


def test_the_prelude_has_every_word_of_the_vocabulary() -> None:
    plain = ("KERNEL", "DEVICE_FUNCTION", "GLOBAL_MEM", "CONSTANT_MEM", "LOCAL_MEM", "LOCAL_BARRIER")
    asked = ("GLOBAL_ID(", "LOCAL_ID(", "GROUP_ID(", "GLOBAL_SIZE(", "LOCAL_SIZE(", "NUM_GROUPS(")
    for word in plain + asked:
        assert f"#define {word}" in PRELUDE


def test_own_source_gets_no_portable_names() -> None:
    text, _ = pick_source("hip", {"hip": "KERNEL void f(int n) {}", "portable": "no"}, PRELUDE)
    assert "restrict" not in text
    assert "restrict" in PORTABLE_NAMES


class FakeRuntime:
    """Records launches: what reaches the driver, without one."""

    launch = "hipModuleLaunchKernel"
    api = "HIP"
    pointers = frozenset({"rocm"})

    def __init__(self) -> None:
        self.launches: list[tuple[Sequence[int], list[bytes]]] = []
        self.sizes: list[int] = []

    def raw(self, name: str) -> Any:
        assert name == "hipModuleLaunchKernel"
        return self._launch

    def _launch(self, _function: int, *rest: Any) -> int:
        pointers = rest[8]
        values = [ctypes.string_at(where, size) for where, size in zip(pointers, self.sizes, strict=False)]
        self.launches.append((rest[:8], values))
        return 0

    def prepare_launch(self) -> None: ...


class FakeStream(DeviceStream):
    """A stream of the runtime above."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        self._address = 7
        self.alive = True


class FakeModule:
    """A module of the runtime above."""

    group_limit = 1024

    def __init__(self) -> None:
        self.runtime = FakeRuntime()
        self.stream = FakeStream(self.runtime)

    def check_open(self) -> None: ...


def kernel(parameters: str, sizes: list[int]) -> tuple[DeviceKernel, FakeRuntime]:
    module = FakeModule()
    module.runtime.sizes = sizes
    signature = parse_kernels(f"KERNEL void f({parameters}) {{ }}")["f"]
    return DeviceKernel(module, 1, signature), module.runtime


def test_grids_are_rounded_up_to_whole_groups() -> None:
    call, runtime = kernel("int n", [4])
    call(np.int32(1), global_size=1000)
    call(np.int32(1), global_size=(33, 17))
    call(np.int32(1), global_size=(9, 9, 9))
    call(np.int32(1), global_size=10, local_size=3)
    shapes = [tuple(shape) for shape, _ in runtime.launches]
    assert shapes == [
        (4, 1, 1, 256, 1, 1, 0, 7),
        (3, 2, 1, 16, 16, 1, 0, 7),
        (2, 2, 3, 8, 8, 4, 0, 7),
        (4, 1, 1, 3, 1, 1, 0, 7),
    ]


def test_arguments_reach_the_runtime_as_their_bytes() -> None:
    call, runtime = kernel("GLOBAL_MEM float *p, float x, unsigned char b, double d, long n", [8, 4, 1, 8, 8])
    values = (np.float32(1.5), np.uint8(250), np.float64(-0.1), np.int64(-(2**40)))
    for _ in range(2):
        call(0x1234567890, *values, global_size=1)
    expected = [(0x1234567890).to_bytes(8, "little"), *(value.tobytes() for value in values)]
    assert [got for _, got in runtime.launches] == [expected, expected]


def test_a_second_launch_still_refuses_other_types() -> None:
    call, runtime = kernel("GLOBAL_MEM float *p, float x", [8, 4])
    call(64, np.float32(1), global_size=1)
    for bad in ((64, np.float64(1)), (64, 1.0), (np.float32(1), np.float32(1)), (64,), ("64", np.float32(1))):
        with pytest.raises(ArgumentError):
            call(*bad, global_size=1)
    with pytest.raises(ArgumentError, match="p"):
        call(-1, np.float32(1), global_size=1)
    with pytest.raises(ArgumentError, match="p"):
        call(object(), np.float32(1), global_size=1)
    assert len(runtime.launches) == 1


def test_sizes_in_an_array_may_change_between_launches() -> None:
    call, runtime = kernel("GLOBAL_MEM float *p", [8])
    sizes = np.array([256, 1])
    for rows in (1, 32):
        sizes[1] = rows
        call(64, global_size=sizes)  # type: ignore[arg-type]  # NumPy's numbers do for a sequence
    call(64, global_size=(256, 32))
    call(64, global_size=sizes)  # type: ignore[arg-type]
    assert [launch[0][:2] for launch in runtime.launches] == [(16, 1), (16, 2), (16, 2), (16, 2)]


def test_arrays_of_other_packages_are_taken_by_address() -> None:
    class Array:
        __cuda_array_interface__ = {"data": (4096, False), "shape": (1,), "typestr": "<f4", "version": 3}  # noqa: RUF012

    call, runtime = kernel("GLOBAL_MEM float *p", [8])
    call(Array(), global_size=1)
    assert runtime.launches[0][1] == [(4096).to_bytes(8, "little")]


def test_the_callback_gate_opens_in_order() -> None:
    class Queue:
        """Runs what is enqueued on a thread, in order, as a stream does."""

        def __init__(self) -> None:
            self.jobs: list[tuple[Any, int]] = []

        def enqueue(self, callback: Any, value: int) -> None:
            self.jobs.append((callback, value))

    queue = Queue()
    gate = CallbackGate(queue.enqueue)
    passed: list[int] = []
    for value in (1, 2, 3):
        gate.hold(value)

    def work() -> None:
        for callback, value in queue.jobs:
            callback(value)
            passed.append(value)

    thread = threading.Thread(target=work)
    thread.start()
    gate.release(2)
    gate.release(1)  # a smaller value takes nothing back
    thread.join(0.2)
    assert passed == [1, 2]
    gate.release(ALL_HOLDS)
    thread.join(5)
    assert passed == [1, 2, 3]
