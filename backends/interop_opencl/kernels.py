"""Kernels: portable source through the device's OpenCL C compiler, and launches with converted arguments."""

from __future__ import annotations

import ctypes
import re
import threading
import warnings
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interop.protocols import ArgumentError, CompileError, PreparedCall
from interop.toolkit import KernelBase, LaunchBase, ModuleBase, pick_source, preconverted
from interop_opencl import _driver as cl
from interop_opencl.memory import OpenCLBuffer
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.protocols import Signature, Stream
    from interop_opencl.stream import OpenCLStream

_LAUNCH = "clEnqueueNDRangeKernel"
_POINTER_SIZE = ctypes.sizeof(ctypes.c_void_p)


class OpenCLModule(ModuleBase):
    """A compiled source."""

    def __init__(self, stream: OpenCLStream, program: Any, signatures: Mapping[str, Signature]) -> None:
        natives: list[Any] = [program]
        # close() empties the list: a kernel keeps its arguments, and through them the import and its handle.
        super().__init__(signatures, stream, natives.clear)
        self.driver = stream.driver
        self._natives = natives
        """The program, then its kernels."""
        self.launches: weakref.WeakSet[LaunchBase] = weakref.WeakSet()
        """The launches that release their kernels when this module is closed."""

    def open_kernel(self, signature: Signature) -> OpenCLKernel:
        """Return a kernel of this module."""
        native = self.create(signature.name)
        self._natives.append(native)
        question = self.driver.cl.kernel_work_group_info.WORK_GROUP_SIZE
        asked = native.get_work_group_info, question, self.stream.home.native_device
        limit = self.driver.make("clGetKernelWorkGroupInfo", *asked)
        return OpenCLKernel(self, signature, native.int_ptr, int(limit))

    def create(self, name: str) -> Any:
        """Create a ``cl_kernel`` (``clCreateKernel``)."""
        return self.driver.make("clCreateKernel", self.driver.cl.Kernel, self._natives[0], name)

    def close(self) -> None:
        """Release the program and its kernels (``clReleaseProgram``). A second call does nothing."""
        for launch in list(self.launches):
            launch.kept = None  # the kernel, which keeps its arguments
        self._kernels.clear()
        super().close()


class OpenCLKernel(KernelBase):
    """A ``cl_kernel`` for launches that are not prepared. Its lock makes setting arguments and launching one step."""

    def __init__(self, module: OpenCLModule, signature: Signature, address: int, limit: int) -> None:
        super().__init__(module, signature)
        self.group_limit = limit  # registers may allow smaller groups than the device's largest
        self._address = address
        self._set = module.driver.raw("clSetKernelArg")
        self._lock = threading.Lock()

    def launch(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Any
    ) -> None:
        """Enqueue the kernel (``clEnqueueNDRangeKernel``). Without a group the driver chooses one."""
        queue = self._queue(stream)
        with self._lock:
            self._set_arguments(self._address, args)
            sizes = _extents(grid, group)
            self.module.driver.call(_LAUNCH, queue, self._address, *sizes, 0, None, None)

    def bind(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Any
    ) -> LaunchBase:
        """Set the arguments of a new ``cl_kernel``.

        The kernel keeps its arguments. Their memory is freed when the launch and the memory have been released.
        """
        module: OpenCLModule = self.module
        queue = self._queue(stream)
        native = module.create(self.signature.name)
        self._set_arguments(native.int_ptr, args)
        # ctypes passes its own objects on as they are, so the arguments are converted here.
        dimensions, offset, size, local = _extents(grid, group)
        zero = ctypes.c_uint(0)
        call = (ctypes.c_void_p(queue), ctypes.c_void_p(native.int_ptr), ctypes.c_uint(dimensions), offset)
        prepared = PreparedCall(
            partial(preconverted(module.driver.raw(_LAUNCH)), *call, size, local, zero, None, None),
            partial(cl.check, _LAUNCH),
        )
        used = [module, stream, *(each for each in args if isinstance(each, OpenCLBuffer))]
        launch = LaunchBase(used, prepared, native)
        module.launches.add(launch)
        return launch

    def _queue(self, stream: Stream) -> int:
        own: OpenCLStream = self.module.stream
        return own.address if stream is own else stream_address(stream, own.context)

    def _set_arguments(self, kernel: int, args: Sequence[object]) -> None:
        for index, (parameter, argument) in enumerate(zip(self.signature.parameters, args, strict=True)):
            if parameter.pointer:
                memory = argument.native if isinstance(argument, OpenCLBuffer) else argument
                address = getattr(memory, "int_ptr", None)
                if not isinstance(address, int):
                    where = f"argument ({parameter}) of {self.signature.name}"
                    raise ArgumentError(f"{where} needs an OpenCL buffer, got {argument!r}")
                value: Any = ctypes.byref(ctypes.c_void_p(address))
                size = _POINTER_SIZE
            else:
                value = argument.tobytes()  # type: ignore[attr-defined]
                size = len(value)
            code = self._set(kernel, index, size, value)
            if code:
                cl.check("clSetKernelArg", code, hint=f"argument ({parameter}) of {self.signature.name}")


def _extents(grid: tuple[int, ...], group: tuple[int, ...] | None) -> tuple[int, None, Any, Any]:
    """Return dimensions, offset, grid and group as ``clEnqueueNDRangeKernel`` takes them.

    The grid is rounded up to whole groups, as the other APIs launch.
    """
    array = ctypes.c_size_t * len(grid)
    if group is None:
        return len(grid), None, array(*grid), None
    whole = (-(-extent // size) * size for extent, size in zip(grid, group, strict=True))
    return len(grid), None, array(*whole), array(*group)


def compile_module(stream: OpenCLStream, source: str | Mapping[str, str]) -> OpenCLModule:
    """Compile for the device (``clBuildProgram``)."""
    binding = stream.driver.cl
    own = not isinstance(source, str) and "opencl" in source
    files = ("prelude.cl",) if own else ("prelude.cl", "portable_names.cl")
    prelude = "".join(Path(__file__).with_name(each).read_text(encoding="utf-8") for each in files)
    text, signatures = pick_source("opencl", source, prelude)
    program = binding.Program(stream.home.native, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", binding.CompilerWarning)  # a warning is no error of the caller's
            built = program.build()
    except binding.RuntimeError as error:
        routine = str(getattr(error, "routine", "clBuildProgram"))
        if "build" in routine.lower() or "compile" in routine.lower():
            before = text.count("\n", 0, text.index("#line 1 ")) + 1
            raise CompileError("opencl", _log(str(error), before)) from error
        raise cl.failure(routine, error) from error
    return OpenCLModule(stream, built, signatures)


def _log(text: str, before: int) -> str:
    """Return the compiler's words alone: pyopencl adds its own and the whole source.

    NVIDIA's compiler (580) ignores ``#line``, counts lines of the whole text and names another file than ``kernel``.
    Then the ``before`` lines above the caller's are subtracted.
    """
    lines = text.split("\n")
    start = next((n + 1 for n, line in enumerate(lines) if line.startswith("Build on")), 0)
    end = next((n for n, line in enumerate(lines) if line.startswith("(options:")), len(lines))
    log = "\n".join(lines[start:end]).strip() or text
    return re.sub(r"(?:<kernel>|\S+\.cl):(\d+)", lambda found: f"kernel:{int(found.group(1)) - before}", log)
