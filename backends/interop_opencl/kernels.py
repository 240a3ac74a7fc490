"""Kernels: portable source through the device's OpenCL C compiler, and launches with prepared arguments."""

from __future__ import annotations

import ctypes
import re
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from interop.protocols import ArgumentError, CompileError
from interop.toolkit import Resource, check_arguments, check_grid, pick_source, unknown_kernel
from interop_opencl._driver import check, failure
from interop_opencl._launch import OpenCLLaunch
from interop_opencl.memory import OpenCLBuffer
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.protocols import Signature, Stream
    from interop_opencl._driver import Driver
    from interop_opencl.stream import OpenCLStream

PRELUDE = """\
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#ifdef cl_khr_fp16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
#define KERNEL __kernel
#define DEVICE_FUNCTION static
#define GLOBAL_MEM __global
#define CONSTANT_MEM __constant
#define LOCAL_MEM __local
#define LOCAL_BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define GLOBAL_ID(d) ((uint)get_global_id(d))
#define LOCAL_ID(d) ((uint)get_local_id(d))
#define GROUP_ID(d) ((uint)get_group_id(d))
#define GLOBAL_SIZE(d) ((uint)get_global_size(d))
#define LOCAL_SIZE(d) ((uint)get_local_size(d))
#define NUM_GROUPS(d) ((uint)get_num_groups(d))
"""

# C99's names that OpenCL C lacks; only for portable source.
PORTABLE_NAMES = """\
typedef char int8_t;
typedef uchar uint8_t;
typedef short int16_t;
typedef ushort uint16_t;
typedef int int32_t;
typedef uint uint32_t;
typedef long int64_t;
typedef ulong uint64_t;
"""

_POINTER_SIZE = ctypes.sizeof(ctypes.c_void_p)


class OpenCLModule(Resource):
    """A compiled source."""

    __slots__ = ("_driver", "_kernels", "_launches", "_natives", "_program", "_signatures", "_stream")

    may_be_dropped = True

    def __init__(
        self, driver: Driver, stream: OpenCLStream, program: Any, signatures: Mapping[str, Signature]
    ) -> None:
        natives: list[Any] = [program]
        # Emptied by close: a kernel keeps its arguments, and through them the import and its handle.
        super().__init__("OpenCL program", natives.clear)
        self._natives = natives
        self._driver = driver
        self._stream = stream
        self._program: Any = program
        self._signatures = signatures
        self._kernels: dict[str, OpenCLKernel] = {}
        self._launches: weakref.WeakSet[OpenCLLaunch] = weakref.WeakSet()

    @property
    def driver(self) -> Driver:
        """The loader that it was compiled through."""
        return self._driver

    @property
    def stream(self) -> OpenCLStream:
        """The queue of launches that name no other."""
        return self._stream

    def kernel(self, name: str) -> OpenCLKernel:
        """Return a kernel by name (``clCreateKernel``)."""
        self.check_open()
        found = self._kernels.get(name)
        if found is None:
            signature = self._signatures.get(name)
            if signature is None:
                raise unknown_kernel(name, self._signatures)
            native, limit = self.create(name)
            self._natives.append(native)
            found = self._kernels[name] = OpenCLKernel(self, native.int_ptr, signature, limit)
        return found

    def create(self, name: str) -> tuple[Any, int]:
        """Make a ``cl_kernel`` (``clCreateKernel``); return it and the work items of its largest group."""
        cl = self._driver.cl
        try:
            native = cl.Kernel(self._program, name)
            question = cl.kernel_work_group_info.WORK_GROUP_SIZE
            return native, int(native.get_work_group_info(question, self._program.devices[0]))
        except cl.Error as error:
            raise failure("clCreateKernel", error) from error

    def keep(self, launch: OpenCLLaunch) -> OpenCLLaunch:
        """Have a launch give its kernel up when this is closed; return it."""
        self._launches.add(launch)
        return launch

    def close(self) -> None:
        """Give program and kernels up (``clReleaseProgram``). A second call does nothing."""
        for launch in list(self._launches):
            launch.give_up()
        self._kernels.clear()
        self._program = None
        super().close()


class OpenCLKernel:
    """A kernel whose arguments are set only when they change."""

    __slots__ = (
        "_address",
        "_checked",
        "_grids",
        "_launch",
        "_limit",
        "_lock",
        "_module",
        "_scalars",
        "_set",
        "_shown",
        "_signature",
    )

    def __init__(self, module: OpenCLModule, address: int, signature: Signature, limit: int) -> None:
        self._module = module
        self._limit = limit  # registers may allow smaller groups than the device's largest
        self._address = address
        self._signature = signature
        self._set = module.driver.raw("clSetKernelArg")
        self._launch = module.driver.raw("clEnqueueNDRangeKernel")
        self._scalars = module.driver.scalar
        self._lock = threading.Lock()
        self._shown: list[object] = [None] * len(signature.parameters)
        self._checked: set[tuple[type, ...]] = set()
        self._grids: dict[object, tuple[int, Any, Any]] = {}

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
        """Enqueue the kernel (``clEnqueueNDRangeKernel``); without a group the driver chooses one."""
        queue = self._check(args, stream)
        dimensions, grid, group = self._extents(global_size, local_size)
        with self._lock:  # a cl_kernel holds its arguments, so setting and launching belong together
            for index, argument in enumerate(args):
                self._set_argument(index, argument)
            code = self._launch(queue, self._address, dimensions, None, grid, group, 0, None, None)
        check("clEnqueueNDRangeKernel", code)

    def prepare(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> OpenCLLaunch:
        """Set the arguments of a ``cl_kernel`` of its own, to be launched again and again.

        The kernel keeps its arguments: their memory goes when the launch and the memory have been let go of.
        """
        queue = self._check(args, stream)
        extents = self._extents(global_size, local_size)
        module = self._module
        native, limit = module.create(self._signature.name)
        own = OpenCLKernel(module, native.int_ptr, self._signature, limit)
        for index, argument in enumerate(args):
            own._set_argument(index, argument)
        return module.keep(OpenCLLaunch(module, native, queue, extents, args))

    def _check(self, args: tuple[object, ...], stream: Stream | None) -> int:
        """Check the arguments of a launch and return the address of its queue."""
        module = self._module
        module.check_open()
        types = tuple(map(type, args))
        if types not in self._checked:
            check_arguments(self._signature, args)
            # A NumPy scalar's type tells its element type; a 0-d array's does not.
            if all(kind is OpenCLBuffer or issubclass(kind, self._scalars) for kind in types):
                self._checked.add(types)
        return module.stream.address if stream is None else stream_address(stream, module.stream.context)

    def _extents(
        self, global_size: int | Sequence[int], local_size: int | Sequence[int] | None
    ) -> tuple[int, Any, Any]:
        key = None
        if isinstance(global_size, (int, tuple)) and isinstance(local_size, (int, tuple, type(None))):
            key = (global_size, local_size)
            found = self._grids.get(key)
            if found is not None:
                return found
        grid, group = check_grid(self._signature.name, global_size, local_size, self._limit)
        if group is not None:  # whole groups, as the other APIs launch
            grid = tuple(-(-extent // size) * size for extent, size in zip(grid, group, strict=True))
        array = ctypes.c_size_t * len(grid)
        made = (len(grid), array(*grid), array(*group) if group is not None else None)
        if key is not None and len(self._grids) < 64:  # noqa: PLR2004 - enough for any program, bounded for all
            self._grids[key] = made
        return made

    def _set_argument(self, index: int, argument: object) -> None:
        parameter = self._signature.parameters[index]
        shown: object
        if parameter.pointer:
            if isinstance(argument, OpenCLBuffer):
                address, shown = argument.native.int_ptr, argument.key
                # Not by address: a new buffer may have a closed one's, and drivers keep more than that.
                if self._shown[index] is shown:
                    return
            else:
                address, shown = getattr(argument, "int_ptr", None), None
            if not isinstance(address, int):
                where = f"argument ({parameter}) of {self._signature.name}"
                raise ArgumentError(f"{where} needs an OpenCL buffer, got {argument!r}")
            value: Any = ctypes.byref(ctypes.c_void_p(address))
            size = _POINTER_SIZE
        else:
            raw: bytes = argument.tobytes()  # type: ignore[attr-defined]
            if self._shown[index] == raw:
                return
            value, size, shown = raw, len(raw), raw
        code = self._set(self._address, index, size, value)
        check("clSetKernelArg", code, hint=f"argument ({parameter}) of {self._signature.name}")
        self._shown[index] = shown

    def __repr__(self) -> str:
        return f"<OpenCLKernel {self._signature}>"


def compile_module(
    driver: Driver, context: Any, stream: OpenCLStream, source: str | Mapping[str, str]
) -> OpenCLModule:
    """Compile for the device (``clBuildProgram``)."""
    own = not isinstance(source, str) and "opencl" in source
    text, signatures = pick_source("opencl", source, PRELUDE if own else PRELUDE + PORTABLE_NAMES)
    program = driver.cl.Program(context, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", driver.cl.CompilerWarning
            )  # a warning is not an error of the caller's
            built = program.build()
    except driver.cl.RuntimeError as error:
        routine = str(getattr(error, "routine", "clBuildProgram"))
        if "build" in routine.lower() or "compile" in routine.lower():
            before = text.count("\n", 0, text.index("#line 1 ")) + 1
            raise CompileError("opencl", _log(str(error), before)) from error
        raise failure(routine, error) from error
    return OpenCLModule(driver, stream, built, signatures)


def _log(text: str, before: int) -> str:
    """Keep the compiler's words: pyopencl adds its own and the whole of the source.

    A compiler that goes by the whole text whatever ``#line`` says (NVIDIA's, 580) names another file than the
    ``kernel`` of that directive; then the ``before`` lines that stand before the caller's are taken off.
    """
    lines = text.split("\n")
    start = next((n + 1 for n, line in enumerate(lines) if line.startswith("Build on")), 0)
    end = next((n for n, line in enumerate(lines) if line.startswith("(options:")), len(lines))
    log = "\n".join(lines[start:end]).strip() or text
    return re.sub(r"(?:<kernel>|\S+\.cl):(\d+)", lambda found: f"kernel:{int(found.group(1)) - before}", log)
