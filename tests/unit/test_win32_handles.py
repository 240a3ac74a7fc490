"""Handles of Windows: who closes them, how they are duplicated, which numbers are none. Over a recorded kernel32."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
import windows

from interop import ClosedError, Handle, HandleError, HandleType
from interop.protocols import FdFate, lend

if TYPE_CHECKING:
    from collections.abc import Iterator

NT, KMT = HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[windows.Kernel32]:
    """A process of Windows, which has no handle open at the end."""
    made = windows.pretend(monkeypatch)
    yield made
    assert made.open == {}


def test_an_nt_handle_is_closed_once(kernel: windows.Kernel32) -> None:
    number = kernel.make("memory")
    handle = Handle.adopt(number, NT)
    assert handle.value == number > 2**32
    handle.close()
    handle.close()
    assert kernel.closed == [number]
    with pytest.raises(ClosedError):
        _ = handle.value


def test_a_duplicate_is_a_reference_of_its_own_and_not_inherited(kernel: windows.Kernel32) -> None:
    with Handle.adopt(kernel.make("memory"), NT) as handle:
        other = handle.dup()
        assert other.value != handle.value
    assert kernel.open == {other.value: "memory"}
    other.close()
    assert kernel.inherited == [False]


def test_detaching_closes_nothing(kernel: windows.Kernel32) -> None:
    number = Handle.adopt(kernel.make("memory"), NT).detach()
    assert kernel.open.pop(number) == "memory"
    assert kernel.closed == []


def test_one_that_is_dropped_is_reported_and_closed(kernel: windows.Kernel32) -> None:
    handle = Handle.adopt(kernel.make("memory"), NT)
    with pytest.warns(ResourceWarning, match="unclosed opaque_win32"):
        del handle
    assert len(kernel.closed) == 1


def test_one_that_somebody_else_closed_is_reported(kernel: windows.Kernel32) -> None:
    handle = Handle.adopt(kernel.make("memory"), NT)
    kernel.open.clear()
    with pytest.warns(ResourceWarning, match=r"CloseHandle failed: error 6 \(what Windows says of 6\)"):
        handle.close()


def test_one_that_is_not_open_is_refused(kernel: windows.Kernel32) -> None:
    with pytest.raises(HandleError, match="GetHandleInformation failed: error 6"):
        Handle.adopt(0x1234, NT)
    handle = Handle.adopt(kernel.make("memory"), NT)
    kernel.open.clear()
    with pytest.raises(HandleError, match="DuplicateHandle failed: error 6"):
        handle.dup()
    handle.detach()


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("kind", [NT, KMT])
@pytest.mark.parametrize("value", [0, -1, -64, 2**64 - 1, 2**64, 2**80])
def test_numbers_that_are_no_handles(kind: HandleType, value: int) -> None:
    with pytest.raises(HandleError, match="neither 0 nor INVALID_HANDLE_VALUE"):
        Handle.adopt(value, kind)


@pytest.mark.usefixtures("kernel")
def test_a_descriptor_is_nothing_on_windows() -> None:
    for kind in (HandleType.OPAQUE_FD, HandleType.DMA_BUF):
        with pytest.raises(HandleError, match="do not exist on Windows"):
            Handle.adopt(3, kind)


@pytest.mark.parametrize("kind", [NT, KMT])
def test_a_handle_of_windows_is_nothing_elsewhere(kind: HandleType) -> None:
    with pytest.raises(HandleError, match="exist on Windows only"):
        Handle.adopt(0x1234, kind)


def test_a_global_handle_is_never_closed_nor_duplicated(kernel: windows.Kernel32) -> None:
    with Handle.adopt(0xC0000040, KMT) as handle, handle.dup() as other:
        assert other.value == handle.value == 0xC0000040
    with pytest.raises(ClosedError):
        _ = handle.value
    del handle, other
    assert kernel.closed == []


@pytest.mark.parametrize("fate", FdFate)
def test_no_import_takes_an_nt_handle_over(kernel: windows.Kernel32, fate: FdFate) -> None:
    """The driver has a reference of its own, so after success ours is closed, once, whatever it does with fds."""
    number = kernel.make("memory")
    handle = Handle.adopt(number, NT)
    with lend(handle, fate) as lent:
        assert lent == number  # no duplicate is needed: the number stays ours
        assert kernel.closed == []
    assert handle.closed
    assert kernel.closed == [number]


@pytest.mark.parametrize("fate", FdFate)
@pytest.mark.parametrize("kind", [NT, KMT])
def test_a_failed_import_leaves_it_open(kernel: windows.Kernel32, fate: FdFate, kind: HandleType) -> None:
    number = kernel.make("memory") if kind is NT else 0xC0000040
    with Handle.adopt(number, kind) as handle:
        with pytest.raises(KeyError), lend(handle, fate):
            raise KeyError
        assert handle.value == number
        assert kernel.closed == []
    assert kernel.closed == [number] * (kind is NT)


def test_the_package_imports_where_posix_is_missing() -> None:
    """Every module of the core and of the backends but the binding's own: no fcntl, no fork, no Unix socket."""
    code = """
        import importlib.metadata, os, pkgutil, shutil, socket, subprocess, sys  # which know this system
        for name in ("fcntl", "resource", "pwd", "grp", "termios"):
            sys.modules[name] = None
        for place, names in (
            (os, "register_at_fork fork memfd_create O_CLOEXEC geteuid"),
            (socket, "AF_UNIX SOCK_SEQPACKET SCM_RIGHTS SO_PEERCRED send_fds recv_fds"),
        ):
            for name in names.split():
                if hasattr(place, name):
                    delattr(place, name)
        sys.platform = "win32"
        import interop
        skipped = {"interop.cli", "interop.cli.compare", "interop.cli.bench", "interop.testing", "interop.ipc"}
        for found in pkgutil.walk_packages(interop.__path__, "interop."):
            if not any(found.name == name or found.name.startswith(name + ".") for name in skipped):
                importlib.import_module(found.name)
        for name in ("vulkan", "opencl", "hip"):
            importlib.import_module(f"interop_{name}.plugin").interop_register_backends()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
