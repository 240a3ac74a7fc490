"""Kernels of CUDA-like runtimes: the vocabulary as CUDA C++, and launches with converted arguments."""

from __future__ import annotations

import ctypes
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import ArgumentError, PreparedCall
from interop.toolkit.device_memory import DeviceView
from interop.toolkit.device_streams import stream_address
from interop.toolkit.drivers import preconverted
from interop.toolkit.kernels import KernelBase, LaunchBase, ModuleBase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.protocols import Parameter, Signature, Stream
    from interop.toolkit.device_streams import DeviceStream
    from interop.toolkit.runtimes import DeviceRuntime

PRELUDE = """\
#define KERNEL extern "C" __global__
#define DEVICE_FUNCTION static __device__
#define GLOBAL_MEM
#define CONSTANT_MEM const
#define LOCAL_MEM __shared__
#define LOCAL_BARRIER __syncthreads()
static __device__ inline unsigned int interop_axis(unsigned int d, unsigned int x, unsigned int y,
                                                   unsigned int z, unsigned int beyond)
{
    return d == 0 ? x : d == 1 ? y : d == 2 ? z : beyond;
}
#define LOCAL_ID(d) interop_axis((d), threadIdx.x, threadIdx.y, threadIdx.z, 0u)
#define GROUP_ID(d) interop_axis((d), blockIdx.x, blockIdx.y, blockIdx.z, 0u)
#define LOCAL_SIZE(d) interop_axis((d), blockDim.x, blockDim.y, blockDim.z, 1u)
#define NUM_GROUPS(d) interop_axis((d), gridDim.x, gridDim.y, gridDim.z, 1u)
static __device__ inline unsigned int interop_global_id(unsigned int d)
{
    return GROUP_ID(d) * LOCAL_SIZE(d) + LOCAL_ID(d);
}
static __device__ inline unsigned int interop_global_size(unsigned int d)
{
    return NUM_GROUPS(d) * LOCAL_SIZE(d);
}
#define GLOBAL_ID(d) interop_global_id(d)
#define GLOBAL_SIZE(d) interop_global_size(d)
"""
PORTABLE_NAMES = """\
#define restrict __restrict__
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
"""
"""Names of C and OpenCL that C++ lacks. Only for portable source, as sources of the API bring their own headers."""

_DEFAULT_GROUPS = {1: (256,), 2: (16, 16), 3: (8, 8, 4)}
_STRUCTURE_BYTES = 4096  # the most that a launch takes
_ADDRESSES = 2**64


class DeviceModule(ModuleBase):
    """A compiled source, loaded on one device."""

    def __init__(
        self, stream: DeviceStream, signatures: Mapping[str, Signature], limit: int, address: int
    ) -> None:
        """Take ownership of a loaded module of the driver."""
        runtime = stream.runtime
        super().__init__(signatures, stream, _unload, runtime.hold(), address, group_limit=limit)
        self.runtime = runtime
        self._address = address

    def open_kernel(self, signature: Signature) -> DeviceKernel:
        """Find a kernel in the module (``cuModuleGetFunction``, ``hipModuleGetFunction``)."""
        runtime = self.runtime
        with runtime.current:
            address = runtime.make(runtime.get_function, self._address, signature.name.encode())
        return DeviceKernel(self, address, signature)


def _unload(runtime: DeviceRuntime, address: int) -> None:
    with runtime.releasing():
        runtime.call(runtime.unload_module, address)


class _Block:
    """An argument block: a place for each argument, and the pointers to them that a launch takes."""

    __slots__ = ("places", "pointers")

    def __init__(self, places: list[ctypes.Array[ctypes.c_char]]) -> None:
        self.places = places
        self.pointers = (ctypes.c_void_p * max(1, len(places)))(*map(ctypes.addressof, places))


class DeviceKernel(KernelBase):
    """A kernel with an argument block, which each call refills."""

    def __init__(self, module: Any, address: int, signature: Signature) -> None:
        super().__init__(module, signature)
        runtime: DeviceRuntime = module.runtime
        self._runtime = runtime
        self._address = address
        self._lock = threading.Lock()
        self._block = _Block([_place(parameter) for parameter in signature.parameters])
        self._launch = runtime.raw(runtime.launch)

    def launch(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Any
    ) -> None:
        """Enqueue the kernel. The grid is rounded up to whole groups."""
        numbers, values = self._convert(args, grid, group, stream)
        runtime = self._runtime
        runtime.prepare_launch()
        block = self._block
        with self._lock:  # the driver copies the arguments during the call
            for place, value in zip(block.places, values, strict=True):
                ctypes.memmove(place, value, len(value))
            code = self._launch(self._address, *numbers, block.pointers, None)
        if code:
            runtime.check(runtime.launch, code)

    def bind(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Any
    ) -> LaunchBase:
        """Return a launch with an argument block of its own."""
        numbers, values = self._convert(args, grid, group, stream)
        block = _Block([ctypes.create_string_buffer(value, len(value)) for value in values])
        *extents, address = numbers
        runtime = self._runtime
        call = partial(
            preconverted(self._launch),
            ctypes.c_void_p(self._address),
            *map(ctypes.c_uint, extents),
            ctypes.c_void_p(address),
            block.pointers,
            None,
        )
        prepared = PreparedCall(call, partial(runtime.check, runtime.launch), runtime.prepare_launch)
        views = (each for each in args if isinstance(each, DeviceView))
        return LaunchBase([self.module, stream, *views], prepared, block)

    def _convert(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Stream
    ) -> tuple[tuple[int, ...], list[bytes]]:
        """Return blocks, threads, shared bytes and the stream's address; and the arguments' bytes."""
        if group is None:
            group = _DEFAULT_GROUPS[len(grid)]
        blocks = [-(-extent // per_group) for extent, per_group in zip(grid, group, strict=True)]
        missing = [1] * (3 - len(grid))
        address = stream_address(stream, self._runtime)
        values = [
            self._value(parameter, argument)
            for parameter, argument in zip(self.signature.parameters, args, strict=True)
        ]
        return (*blocks, *missing, *group, *missing, 0, address), values

    def _value(self, parameter: Parameter, argument: Any) -> bytes:
        """Return the bytes of one argument, or raise :class:`ArgumentError` naming the parameter."""
        if parameter.pointer:
            address = argument.native if isinstance(argument, DeviceView) else self._address_of(argument)
            if address is None or not 0 <= address < _ADDRESSES:
                wanted = f"{self._runtime.api} memory"
                raise ArgumentError(
                    f"argument ({parameter}) of {self.signature.name} needs {wanted}, got {argument!r}"
                )
            return address.to_bytes(8, "little")
        value: bytes = argument.tobytes()  # a NumPy scalar: check_arguments has seen to that
        if len(value) > _STRUCTURE_BYTES:
            raise ArgumentError(
                f"argument ({parameter}) of {self.signature.name} has {len(value)} bytes, a launch takes 4096"
            )
        return value

    def _address_of(self, argument: Any) -> int | None:
        """Return the address in an int, a pointer of the binding, or an array of another package."""
        if isinstance(argument, int):
            return argument
        interface = getattr(argument, "__cuda_array_interface__", None)
        if interface is not None:
            data = interface.get("data")
            return data[0] if isinstance(data, tuple) and isinstance(data[0], int) else None
        package = type(argument).__module__.partition(".")[0]
        return int(argument) if package in self._runtime.pointers else None


def _place(parameter: Parameter) -> ctypes.Array[ctypes.c_char]:
    if parameter.pointer:
        size = ctypes.sizeof(ctypes.c_void_p)
    else:
        size = parameter.dtype.itemsize if parameter.dtype else _STRUCTURE_BYTES
    return ctypes.create_string_buffer(size)
