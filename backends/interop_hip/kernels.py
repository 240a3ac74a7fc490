"""Kernels: portable source through hiprtc, and launches with prepared arguments."""

from __future__ import annotations

import ctypes
import threading
from contextlib import ExitStack
from operator import is_
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols import ArgumentError, CompileError
from interop.toolkit import Deferred, Resource, check_arguments, check_grid, pick_source, unknown_kernel
from interop_hip._driver import text_of
from interop_hip._launch import HipLaunch
from interop_hip.memory import HipBuffer
from interop_hip.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.protocols import Parameter, Signature, Stream
    from interop_hip._driver import Driver
    from interop_hip.stream import HipStream

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

# C's and OpenCL's names that C++ lacks; only for portable source, as HIP sources bring headers of their own.
PORTABLE_NAMES = """\
#define restrict __restrict__
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
"""

_COMPILATION_FAILED = 6
_DEFAULT_GROUPS = {1: (256,), 2: (16, 16), 3: (8, 8, 4)}
Resolved = tuple[tuple[int, ...], int, list[bytes]]
_STRUCTURE_BYTES = 4096  # the most that a launch can take
_ADDRESSES = 2**64
_PLAIN = frozenset({int, tuple, type(None)})  # sizes that are not changed behind a launch's back


@runtime_checkable
class _Scalar(Protocol):
    """What this module needs of a NumPy scalar."""

    def tobytes(self) -> bytes: ...


@runtime_checkable
class _DeviceArray(Protocol):
    """An array of PyTorch, CuPy, Numba or another package, on the device."""

    @property
    def __cuda_array_interface__(self) -> dict[str, object]: ...


@runtime_checkable
class _Pointer(Protocol):
    """A pointer of hip-python."""

    def as_c_void_p(self) -> object: ...

    def __int__(self) -> int: ...


class HipModule(Resource):
    """A compiled source, loaded on one device."""

    __slots__ = ("_address", "_driver", "_kernels", "_limit", "_signatures", "_stream")

    may_be_dropped = True

    def __init__(
        self, driver: Driver, stream: HipStream, address: int, signatures: Mapping[str, Signature], limit: int
    ) -> None:
        super().__init__(f"HIP module 0x{address:x}", _release, driver, stream.device, address)
        self._driver = driver
        self._stream = stream
        self._address = address
        self._signatures = signatures
        self._limit = limit
        self._kernels: dict[str, HipKernel] = {}

    @property
    def driver(self) -> Driver:
        """The runtime that it is loaded in."""
        return self._driver

    @property
    def stream(self) -> HipStream:
        """The stream of launches that name no other."""
        return self._stream

    @property
    def limit(self) -> int:
        """Work items in the largest group of the device."""
        return self._limit

    def kernel(self, name: str) -> HipKernel:
        """Return a kernel by name (``hipModuleGetFunction``)."""
        self.check_open()
        found = self._kernels.get(name)
        if found is None:
            signature = self._signatures.get(name)
            if signature is None:
                raise unknown_kernel(name, self._signatures)
            self._driver.select(self._stream.device)
            address = self._driver.create("hipModuleGetFunction", self._address, name.encode())
            found = self._kernels[name] = HipKernel(self, address, signature)
        return found


class HipKernel:
    """A kernel with its argument block, which is built once and refilled by each launch."""

    __slots__ = (
        "_address",
        "_checked",
        "_last",
        "_launch",
        "_lock",
        "_module",
        "_places",
        "_pointers",
        "_signature",
    )

    def __init__(self, module: HipModule, address: int, signature: Signature) -> None:
        self._module = module
        self._address = address
        self._signature = signature
        self._lock = threading.Lock()
        self._places = [_place(parameter) for parameter in signature.parameters]
        self._pointers = (ctypes.c_void_p * max(1, len(self._places)))(*map(ctypes.addressof, self._places))
        self._launch = module.driver.raw("hipModuleLaunchKernel")
        self._checked: set[tuple[type, ...]] = set()
        self._last: tuple[tuple[object, ...], object, list[HipBuffer], Resolved]
        self._last = ((None,), None, [], ((), 0, []))

    @property
    def signature(self) -> Signature:
        """Name and parameters."""
        return self._signature

    def __call__(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> None:
        """Enqueue the kernel (``hipModuleLaunchKernel``), the grid rounded up to whole groups."""
        extents, address, values = self._resolve(args, global_size, local_size, stream)
        self._module.driver.use(self._module.stream.device)
        with self._lock:  # the runtime copies the arguments during the call
            for place, value in zip(self._places, values, strict=True):
                ctypes.memmove(place, value, len(value))
            code = self._launch(self._address, *extents, 0, address, self._pointers, None)
        self._module.driver.check("hipModuleLaunchKernel", code)

    def prepare(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> HipLaunch:
        """Build an argument block of its own, to be launched again and again."""
        extents, address, values = self._resolve(args, global_size, local_size, stream)
        return HipLaunch(self._module, self._address, (*extents, 0, address), values, args)

    def _resolve(
        self,
        args: tuple[object, ...],
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None,
        stream: Stream | None,
    ) -> Resolved:
        """Return blocks and threads in three dimensions each, the stream's address and the arguments' bytes."""
        module = self._module
        module.check_open()
        grids = (global_size, local_size, stream)
        last_args, last_grids, memory, resolved = self._last
        plain = type(global_size) in _PLAIN and type(local_size) in _PLAIN  # arrays do not compare as wholes
        if plain and len(args) == len(last_args) and all(map(is_, args, last_args)) and grids == last_grids:
            for view in memory:
                view.check_open()
            if stream is None or stream is module.stream:
                module.stream.check_open()
                return resolved
        types = tuple(map(type, args))
        if types not in self._checked:
            check_arguments(self._signature, args)
            if _types_decide(self._signature, types):
                self._checked.add(types)
        grid, group = check_grid(self._signature.name, global_size, local_size, module.limit)
        if group is None:
            group = _DEFAULT_GROUPS[len(grid)]
        blocks = [-(-extent // per_group) for extent, per_group in zip(grid, group, strict=True)]
        missing = [1] * (3 - len(grid))
        address = module.stream.native if stream is None else stream_address(stream, module.stream.device)
        values = [
            _value(self._signature, parameter, argument)
            for parameter, argument in zip(self._signature.parameters, args, strict=True)
        ]
        resolved = (*blocks, *missing, *group, *missing), address, values
        if plain and types in self._checked:
            memory = [each for each in args if isinstance(each, HipBuffer)]
            self._last = args, grids, memory, resolved  # for a turn that does again what it did
        return resolved

    def __repr__(self) -> str:
        return f"<HipKernel {self._signature}>"


def _place(parameter: Parameter) -> ctypes.Array[ctypes.c_char]:
    if parameter.pointer:
        size = ctypes.sizeof(ctypes.c_void_p)
    else:
        size = parameter.dtype.itemsize if parameter.dtype else _STRUCTURE_BYTES
    return ctypes.create_string_buffer(size)


def _types_decide(signature: Signature, types: tuple[type, ...]) -> bool:
    """Whether arguments of these Python types always fit, so that they need no second check."""
    return all(
        kind in (HipBuffer, int)
        if parameter.pointer
        else parameter.dtype is not None
        and kind.__module__ == "numpy"
        and kind.__name__ == parameter.dtype.name
        for parameter, kind in zip(signature.parameters, types, strict=True)
    )


def _value(signature: Signature, parameter: Parameter, argument: object) -> bytes:
    """Return the bytes of one argument, or raise :class:`ArgumentError` naming the parameter."""
    if parameter.pointer:
        address = argument.native if isinstance(argument, HipBuffer) else _address_of(argument)
        if address is None or not 0 <= address < _ADDRESSES:
            msg = f"argument ({parameter}) of {signature.name} needs HIP memory, got {argument!r}"
            raise ArgumentError(msg)
        return address.to_bytes(8, "little")
    scalar: _Scalar = argument  # type: ignore[assignment]  # check_arguments saw to that
    value = scalar.tobytes()
    if len(value) > _STRUCTURE_BYTES:
        msg = f"argument ({parameter}) of {signature.name} has {len(value)} bytes, more than a launch takes"
        raise ArgumentError(msg)
    return value


def _address_of(argument: object) -> int | None:
    """Return the address in whatever holds one: an int, hip-python's pointers, arrays of other packages."""
    if isinstance(argument, int):
        return argument
    if isinstance(argument, _DeviceArray):
        data = argument.__cuda_array_interface__.get("data")
        return data[0] if isinstance(data, tuple) and isinstance(data[0], int) else None
    return int(argument) if isinstance(argument, _Pointer) else None


def _release(driver: Driver, device: int, address: int) -> None:
    with driver.releasing(device):
        driver.call("hipModuleUnload", address)


def compile_module(
    driver: Driver, stream: HipStream, source: str | Mapping[str, str], *, arch: str, limit: int
) -> HipModule:
    """Compile for the device and load (``hiprtcCompileProgram``, ``hipModuleLoadData``)."""
    own = not isinstance(source, str) and "hip" in source
    text, signatures = pick_source("hip", source, PRELUDE if own else PRELUDE + PORTABLE_NAMES)
    driver.select(stream.device)
    code = _compile(driver, text, arch)
    with Deferred():
        address = driver.create("hipModuleLoadData", code)
        return HipModule(driver, stream, address, signatures, limit)


def _compile(driver: Driver, text: str, arch: str) -> bytearray:
    # Only AMD's compiler has to be told; other runtimes compile for the device that is current.
    options = [f"--offload-arch={arch}".encode()] if arch.startswith("gfx") else []
    with ExitStack() as undo:
        with Deferred():
            program = driver.rtc("hiprtcCreateProgram", text.encode(), b"kernel", 0, None, None)
            undo.callback(driver.rtc, "hiprtcDestroyProgram", program.createRef())
        failure = driver.rtc_status("hiprtcCompileProgram", program, len(options), options)
        if failure == _COMPILATION_FAILED:
            log = bytearray(max(1, driver.rtc("hiprtcGetProgramLogSize", program)))
            driver.rtc("hiprtcGetProgramLog", program, log)
            raise CompileError("hip", text_of(log))
        driver.check_rtc("hiprtcCompileProgram", failure)
        code = bytearray(driver.rtc("hiprtcGetCodeSize", program))
        driver.rtc("hiprtcGetCode", program, code)
    return code
