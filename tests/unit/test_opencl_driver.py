"""The parts of the OpenCL backend that need no driver."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyopencl")

from interop_opencl import _driver, _events, backend

from interop.protocols import DriverError, HandleError, PciAddress

if TYPE_CHECKING:
    from pathlib import Path


class FakeDriver:
    """Counts user events: which live, with what status they ended, which barriers name them."""

    def __init__(self, *, barrier: int = 0) -> None:
        self.made = 0
        self.ended: list[tuple[int, int]] = []
        self.dropped: list[int] = []
        self.counts: dict[int, int] = {}
        self._barrier = barrier

    def raw(self, name: str) -> Any:
        return getattr(self, name)

    def references(self, kind: str) -> tuple[Any, Any]:
        return self.raw(f"clRetain{kind}"), self.raw(f"clRelease{kind}")

    def clCreateUserEvent(self, _context: int, status: Any) -> int:  # noqa: N802
        status._obj.value = 0
        self.made += 1
        self.counts[self.made] = 1
        return self.made

    def clRetainEvent(self, event: int) -> int:  # noqa: N802
        self.counts[event] += 1
        return 0

    def clEnqueueBarrierWithWaitList(self, *_args: object) -> int:  # noqa: N802
        return self._barrier

    def clSetUserEventStatus(self, event: int, status: int) -> int:  # noqa: N802
        self.ended.append((event, status))
        return 0

    def clReleaseEvent(self, event: int) -> int:  # noqa: N802
        self.counts[event] -= 1
        if not self.counts[event]:
            self.dropped.append(event)
        return 0


def gate_of(fake: FakeDriver) -> _events.EventGate:
    driver: Any = fake
    return _events.EventGate(driver, 7, 8)


def test_release_ends_the_holds_up_to_its_value_once() -> None:
    fake = FakeDriver()
    gate = gate_of(fake)
    for value in (1, 2, 3):
        gate.hold(value)
    gate.release(2)
    gate.release(1)
    assert fake.ended == [(1, 0), (2, 0)]
    assert fake.dropped == [1, 2]
    gate.release(3)
    assert fake.dropped == [1, 2, 3]


def test_hold_that_was_released_before_makes_no_event() -> None:
    fake = FakeDriver()
    gate = gate_of(fake)
    gate.release(2)
    gate.hold(2)
    assert fake.made == 0
    gate.hold(3)
    assert fake.made == 1


def test_failed_hold_ends_as_complete() -> None:
    fake = FakeDriver()
    gate = gate_of(fake)
    gate.hold(1)
    gate.release(1, failed=True)
    assert fake.ended == [(1, 0)]


def test_hold_that_cannot_be_enqueued_leaves_no_event() -> None:
    fake = FakeDriver(barrier=-36)
    gate = gate_of(fake)
    with pytest.raises(DriverError) as caught:
        gate.hold(1)
    assert caught.value.name == "CL_INVALID_COMMAND_QUEUE"
    assert fake.dropped == [1]
    gate.release(1)
    assert fake.ended == []


@pytest.mark.parametrize("code", [-30, -38, -64, 999, 1])
def test_codes_of_a_refused_handle_become_one_error_that_keeps_the_code(code: int) -> None:
    with pytest.raises(HandleError, match="no memory of this device") as caught:
        _driver.check("clCreateBufferWithProperties", code, imported="memory")
    assert isinstance(caught.value.__cause__, DriverError)
    assert caught.value.__cause__.code == code


def test_other_codes_of_an_import_are_the_drivers() -> None:
    _driver.check("clCreateBufferWithProperties", 0, imported="memory")
    with pytest.raises(DriverError, match="CL_OUT_OF_RESOURCES"):
        _driver.check("clCreateBufferWithProperties", -5, imported="memory")


def test_pci_address_is_four_numbers_of_the_machine() -> None:
    raw = b"".join(number.to_bytes(4, sys.byteorder) for number in (1, 0xC1, 2, 3))
    assert backend._pci(raw) == PciAddress(1, 0xC1, 2, 3)
    assert backend._pci(raw[:12]) is None
    assert backend._pci(None) is None


def test_zero_identities_name_nothing() -> None:
    assert backend._exactly(bytes(16), 16) is None
    assert backend._exactly(b"\1" * 8, 16) is None
    assert backend._exactly(b"\1" * 16, 16) == b"\1" * 16


def test_the_loader_of_windows_is_the_one_that_pyopencl_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its module does not resolve what it is linked to there, so the file is opened by name."""
    opened: list[str] = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "CDLL", opened.append)
    package = SimpleNamespace(__file__=str(tmp_path / "pyopencl" / "__init__.py"))
    _driver._loader(package)
    libraries = tmp_path / "pyopencl.libs"
    libraries.mkdir()
    (libraries / "opencl-0123.dll").touch()
    _driver._loader(package)
    assert opened == ["OpenCL.dll", str(libraries / "opencl-0123.dll")]


def test_declaring_the_backend_opens_nothing() -> None:
    code = (
        "import sys, interop_opencl.plugin as p; (info,) = p.interop_register_backends();"
        "assert info.name == 'opencl' and info.install_hint;"
        "assert not {'pyopencl', 'numpy', 'ctypes'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
