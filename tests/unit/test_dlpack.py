"""DLPack capsules keep their memory alive, exactly as long as needed."""

from __future__ import annotations

import ctypes
import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import Unsupported, dlpack
from interop.dtypes import DTYPES


class Owner:
    """Host memory that speaks DLPack."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "float32", *, read_only: bool = False) -> None:
        self.shape, self.dtype, self.read_only = shape, DTYPES[dtype], read_only
        self.memory = ctypes.create_string_buffer(int(np.prod(shape)) * self.dtype.itemsize)

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.DeviceType.CPU, 0

    def __dlpack__(self, *, max_version: tuple[int, int] | None = None, **arguments: object) -> object:
        dlpack.check_request(
            (dlpack.DeviceType.CPU, 0), stream=arguments.get("stream"), dl_device=None, copy=None
        )
        return dlpack.capsule(
            self,
            address=ctypes.addressof(self.memory),
            shape=self.shape,
            dtype=self.dtype,
            device=(dlpack.DeviceType.CPU, 0),
            read_only=self.read_only,
            max_version=max_version,
        )


NUMERIC = [name for name in DTYPES if name != "bool"]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), st.sampled_from(NUMERIC))
def test_numpy_sees_the_same_bytes_shape_and_type(shape: tuple[int, ...], dtype: str) -> None:
    owner = Owner(shape, dtype)
    array = np.from_dlpack(owner)  # type: ignore[arg-type]  # NumPy's stub knows version 0 only
    assert array.shape == shape
    assert array.dtype.name == dtype
    array.view(np.uint8)[...] = 7
    assert bytes(owner.memory.raw) == b"\7" * array.nbytes


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_the_array_outlives_its_owner(version: tuple[int, int] | None) -> None:
    before = dlpack.alive()
    owner = Owner((3, 4))
    gone = weakref.ref(owner)
    array = np.from_dlpack(owner)  # type: ignore[arg-type]  # NumPy's stub knows version 0 only
    part = array[1]
    del owner, array
    gc.collect()
    assert gone() is not None
    part[:] = 5
    del part
    gc.collect()
    assert gone() is None
    assert dlpack.alive() == before


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_capsule_that_nobody_takes_frees_its_memory(version: tuple[int, int] | None) -> None:
    before = dlpack.alive()
    owner = Owner((3,))
    made = owner.__dlpack__(max_version=version)
    assert dlpack.alive() == before + 1
    del made
    assert dlpack.alive() == before


def test_read_only_memory_is_refused_where_it_cannot_be_said() -> None:
    owner = Owner((3,), read_only=True)
    with pytest.raises(Unsupported, match="read-only"):
        owner.__dlpack__()
    assert owner.__dlpack__(max_version=(1, 1)) is not None


def test_requests_that_cannot_be_served_are_buffer_errors() -> None:
    device = (dlpack.DeviceType.CUDA, 1)
    asked: list[int] = []
    dlpack.check_request(device, stream=7, dl_device=(2, 1), copy=False, order=asked.append)
    dlpack.check_request(device, stream=-1, dl_device=None, copy=None, order=asked.append)
    assert asked == [7]
    for bad in ({"copy": True}, {"dl_device": (2, 0)}, {"stream": 5}):
        with pytest.raises(BufferError):
            dlpack.check_request(device, **{"stream": None, "dl_device": None, "copy": None, **bad})  # type: ignore[arg-type]
