"""DLPack capsules keep their memory alive, exactly as long as needed."""

from __future__ import annotations

import ctypes
import gc
import weakref

import numpy as np
import pytest
import taker
from hypothesis import given
from hypothesis import strategies as st

from interop import Unsupported
from interop.protocols import DTYPES
from interop.toolkit import dlpack


class Owner:
    """Host memory that speaks DLPack."""

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str = "float32",
        *,
        read_only: bool = False,
        device: dlpack.DeviceType = dlpack.DeviceType.CPU,
    ) -> None:
        self.shape, self.dtype, self.read_only, self.device = shape, DTYPES[dtype], read_only, device
        self.memory = ctypes.create_string_buffer(int(np.prod(shape)) * self.dtype.itemsize)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, *, max_version: tuple[int, int] | None = None, **arguments: object) -> object:
        dlpack.check_dlpack_request(
            (dlpack.DeviceType.CPU, 0), stream=arguments.get("stream"), dl_device=None, copy=None
        )
        return dlpack.to_dlpack(
            self,
            address=ctypes.addressof(self.memory),
            shape=self.shape,
            dtype=self.dtype,
            device=(self.device, 0),
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
    before = dlpack.live_tensors()
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
    assert dlpack.live_tensors() == before


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_capsule_that_nobody_takes_frees_its_memory(version: tuple[int, int] | None) -> None:
    before = dlpack.live_tensors()
    owner = Owner((3,))
    made = owner.__dlpack__(max_version=version)
    assert dlpack.live_tensors() == before + 1
    del made
    assert dlpack.live_tensors() == before


@pytest.mark.parametrize("device", [kind for kind in dlpack.DeviceType if kind is not dlpack.DeviceType.CPU])
def test_a_library_that_refuses_the_device_says_so_and_keeps_nothing(device: dlpack.DeviceType) -> None:
    """NumPy drops the capsule with its exception set: nothing that then runs may lose the one or the other."""
    before = dlpack.live_tensors()
    owner = Owner((3, 4), device=device)
    with pytest.raises((RuntimeError, BufferError), match="Unsupported device"):
        np.from_dlpack(owner)  # type: ignore[arg-type]  # NumPy's stub knows version 0 only
    assert dlpack.live_tensors() == before


def test_an_exception_gets_past_the_death_of_the_last_array() -> None:
    before = dlpack.live_tensors()

    def refuse(array: object) -> None:
        raise KeyError(type(array).__name__)

    with pytest.raises(KeyError, match="ndarray"):
        refuse(np.from_dlpack(Owner((3,))))  # type: ignore[arg-type]  # NumPy's stub knows version 0 only
    gc.collect()
    assert dlpack.live_tensors() == before


@pytest.mark.parametrize("version", [None, (1, 0)])
@pytest.mark.parametrize("offset", [0, 4, 100])
def test_what_a_capsule_says(version: tuple[int, int] | None, offset: int) -> None:
    """Read as a library in C reads it. A handle is passed on as it is: the offset stands beside it."""
    handle = 0x7F00_0000_1234
    made = dlpack.to_dlpack(
        None,
        address=handle,
        byte_offset=offset,
        shape=(2, 3, 4),
        dtype=DTYPES["complex64"],
        device=(dlpack.DeviceType.OPENCL, 3),
        max_version=version,
    )
    with taker.Taken(made) as taken:
        tensor = taken.tensor
        assert (tensor.data, tensor.byte_offset) == (handle, offset)
        assert (tensor.device_type, tensor.device_id) == (4, 3)
        assert (tensor.code, tensor.bits, tensor.lanes) == (5, 64, 1)
        assert tensor.shape[: tensor.ndim] == [2, 3, 4]
        assert tensor.strides[: tensor.ndim] == [12, 4, 1]
        assert taken.flags == 0
        assert dlpack.live_tensors() == 1
    assert dlpack.live_tensors() == 0


def test_read_only_memory_is_refused_where_it_cannot_be_said() -> None:
    owner = Owner((3,), read_only=True)
    with pytest.raises(Unsupported, match="read-only"):
        owner.__dlpack__()
    assert owner.__dlpack__(max_version=(1, 1)) is not None


def test_requests_that_cannot_be_served_are_buffer_errors() -> None:
    device = (dlpack.DeviceType.CUDA, 1)
    asked: list[int] = []
    dlpack.check_dlpack_request(device, stream=7, dl_device=(2, 1), copy=False, order=asked.append)
    dlpack.check_dlpack_request(device, stream=-1, dl_device=None, copy=None, order=asked.append)
    assert asked == [7]
    for bad in ({"copy": True}, {"dl_device": (2, 0)}, {"stream": 5}):
        with pytest.raises(BufferError):
            dlpack.check_dlpack_request(device, **{"stream": None, "dl_device": None, "copy": None, **bad})  # type: ignore[arg-type]
