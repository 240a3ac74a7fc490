"""What is said on machines where CUDA cannot be used, and what loading must not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from interop_cuda.plugin import interop_register_backends
from stand_in import search

from interop.protocols import API_VERSION, Role

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Python = Callable[..., subprocess.CompletedProcess[str]]

LOAD = """
from interop.protocols import BackendUnavailable
from interop_cuda.backend import CudaBackend
try:
    CudaBackend().devices()
except BackendUnavailable as error:
    print(error.backend, "|", error.reason, "|", error.install_hint)
"""

NO_LIBRARY = (
    """
import ctypes

class Library(ctypes.CDLL):
    def __init__(self, name, *rest, **options):
        if name == "libcuda.so.1":  # so that the case is the same on machines that have a driver
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        super().__init__(name, *rest, **options)

ctypes.CDLL = Library
"""
    + LOAD
)


NO_BINDING = """
import sys
from interop.protocols import Unsupported
from interop_cuda.backend import CudaBackend
backend = CudaBackend()
consumer = backend.open_consumer(backend.devices()[0])
assert not [name for name in sys.modules if name.startswith("cuda.bindings")]
sys.modules["cuda.bindings.nvrtc"] = None  # as where it is not installed
assert "cannot be imported" in backend.versions()["NVRTC"]
try:
    consumer.compile("KERNEL void nothing() {}")
except Unsupported as error:
    print(error)
consumer.close()
"""


def test_declaration() -> None:
    (info,) = interop_register_backends()
    assert (info.name, info.api_version) == ("cuda", API_VERSION)
    assert info.roles == frozenset({Role.CONSUMER})
    assert "interop-cuda" in info.install_hint


def test_the_declaration_loads_no_binding(python: Python) -> None:
    code = (
        "import interop_cuda.plugin, sys; print(sorted(m for m in sys.modules if m.split('.')[0] == 'cuda'))"
    )
    assert python("-c", code).stdout == "[]\n"


def test_no_library(python: Python) -> None:
    done = python("-c", NO_LIBRARY)
    assert done.returncode == 0, done.stderr
    backend, reason, hint = done.stdout.split(" | ")
    assert backend == "cuda"
    assert "cannot open shared object file" in reason
    assert "interop-cuda" in hint


def test_the_binding_is_imported_by_who_compiles(python: Python, stand_in: Path) -> None:
    done = python("-c", NO_BINDING, LD_LIBRARY_PATH=search(stand_in))
    assert done.returncode == 0, done.stderr
    assert "interop-cuda" in done.stdout


@pytest.mark.parametrize(
    ("answer", "reason", "hint"),
    [
        ("100", "100 CUDA_ERROR_NO_DEVICE", "nvidia-smi"),
        ("34", "34 CUDA_ERROR_STUB_LIBRARY", "stub"),
        ("803", "803", "reboot"),
        ("999", "999 CUDA_ERROR_UNKNOWN", "pip install"),
        ("12345", "12345", "pip install"),
    ],
)
def test_driver_that_does_not_start(
    python: Python, stand_in: Path, answer: str, reason: str, hint: str
) -> None:
    done = python("-c", LOAD, LD_LIBRARY_PATH=search(stand_in), FAKE_CUDA_INIT=answer)
    assert done.returncode == 0, done.stderr
    backend, words, advice = done.stdout.split(" | ")
    assert backend == "cuda"
    assert f"cuInit returned {reason}" in words
    assert hint in advice
