"""A whole backend in one module: kernels through cffi, on the memory of a software Vulkan driver.

Written along docs/how-to/add-a-backend.md as the smallest thing that passes the conformance kit. Work is done when it
is enqueued, so there is nothing to hold and nobody to notify, and links use the blocking strategy. The entry point
``cffi = "cffi_backend"`` of the group ``interop`` makes it known.
"""

from __future__ import annotations

import contextlib
import mmap
import subprocess
import tempfile
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from interop.backend import BackendInfo, Capabilities, Role
from interop.device import DeviceIdentity, DeviceInfo, host_identity
from interop.dtypes import DType, check_shape
from interop.errors import ArgumentError, ClosedError, CompileError, HandleError, InvalidArgument, Unsupported
from interop.handles import FdFate, Handle, HandleType, lend
from interop.hookspecs import hookimpl
from interop.kernels import Signature, check_arguments, check_grid, pick_source, unknown_kernel
from interop.lifetime import Children, Owned
from interop.memory import MemoryDescriptor, check_import, check_range
from interop.views import BYTES, host_bytes, resolve

PRELUDE = """
#include <stdbool.h>
#include <stdint.h>
#include <tgmath.h>
typedef unsigned char uchar; typedef unsigned short ushort; typedef unsigned long ulong; typedef unsigned uint;
static _Thread_local unsigned long item[3], grid[3], group[3];
#define KERNEL static
#define DEVICE_FUNCTION static inline
#define GLOBAL_MEM
#define CONSTANT_MEM const
#define GLOBAL_ID(d) item[d]
#define GLOBAL_SIZE(d) grid[d]
#define LOCAL_SIZE(d) group[d]
#define LOCAL_ID(d) (item[d] % group[d])
#define GROUP_ID(d) (item[d] / group[d])
#define NUM_GROUPS(d) ((grid[d] + group[d] - 1) / group[d])
typedef unsigned long size_t;
"""
RUN = "void run_{name}(void **given, unsigned long *extents)"
LOOP = """
{{
    for (int d = 0; d < 3; d++) {{ grid[d] = extents[d]; group[d] = extents[3 + d]; }}
    for (item[2] = 0; item[2] < grid[2]; item[2]++) for (item[1] = 0; item[1] < grid[1]; item[1]++)
        for (item[0] = 0; item[0] < grid[0]; item[0]++) {name}({arguments});
}}
"""


class Stream(Owned):
    native = None

    def flush(self) -> None:
        self.check_open()

    def synchronize(self, timeout: float) -> None:  # noqa: ARG002 - all that was enqueued is done
        self.check_open()

    def hold(self, *_: object, **__: object) -> NoReturn:
        raise Unsupported("holding a stream", "work is done when it is enqueued")

    release = notify = hold


class Memory(Owned):
    def __init__(self, mapping: mmap.mmap, descriptor: MemoryDescriptor) -> None:
        super().__init__("cffi memory", _unmap, mapping)
        self.mapping, self.descriptor = mapping, descriptor

    def map_buffer(
        self,
        *,
        offset: int = 0,
        size: int | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: DType | None = None,
    ) -> Buffer:
        self.check_open()
        return Buffer(self, *resolve(self.descriptor, offset=offset, size=size, shape=shape, dtype=dtype))

    def acquire(self, stream: Any) -> None:  # one processor: nothing to hand over
        stream.check_open()

    release = acquire


def _unmap(mapping: mmap.mmap) -> None:
    with contextlib.suppress(BufferError):  # a view's native object is in use: the last one unmaps
        mapping.close()


class Buffer:
    def __init__(
        self, memory: Memory, start: int, shape: tuple[int, ...], dtype: DType, *, owner: bool = False
    ) -> None:
        self.memory, self.start, self.shape, self.dtype, self.owner = memory, start, shape, dtype, owner
        self.nbytes, self.closed = prod(shape) * dtype.itemsize, False

    @property
    def native(self) -> memoryview:
        if self.closed or self.memory.closed:
            raise ClosedError("the view or its memory was closed")
        return memoryview(self.memory.mapping)[self.start : self.start + self.nbytes]

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> Buffer:
        shape, nbytes = check_shape(shape, dtype)
        check_range(offset, nbytes, self.nbytes)
        if (self.start + offset) % dtype.itemsize:
            raise InvalidArgument(f"offset {offset} does not align {dtype}")
        return Buffer(self.memory, self.start + offset, shape, dtype)

    def read(self, target: Any, *, timeout: float | None = None) -> None:  # noqa: ARG002 - nothing to wait for
        memoryview(host_bytes(target, self.nbytes, writable=True))[:] = self.native

    def write(self, source: Any, *, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        self.native[:] = memoryview(host_bytes(source, self.nbytes, writable=False))

    def close(self) -> None:
        self.closed = True
        if self.owner:
            self.memory.close()


class Module(Owned):
    may_be_dropped = True

    def __init__(self, cffi: Any, source: Any, stream: Stream) -> None:
        super().__init__("cffi module", lambda: None)
        text, self.signatures = pick_source("cffi", source, PRELUDE)
        if "LOCAL_BARRIER" in text:
            raise Unsupported("LOCAL_BARRIER", "work items run one after the other")
        self.ffi, self.stream = cffi.FFI(), stream
        for name, signature in self.signatures.items():
            types = ("void *" if each.pointer else each.c_type for each in signature.parameters)
            given = ", ".join(f"*({c_type} *)given[{at}]" for at, c_type in enumerate(types))
            text += f"\n{RUN.format(name=name)}{LOOP.format(name=name, arguments=given)}"
            self.ffi.cdef(f"{RUN.format(name=name)};")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "kernels.c")
            path.write_text(text, encoding="utf-8")
            command: list[str | Path] = [
                "cc",
                "-O2",
                "-w",
                "-fPIC",
                "-shared",
                "-ffp-contract=off",
                path,
                "-o",
                f"{path}.so",
                "-lm",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            if done.returncode:
                raise CompileError("cffi", done.stderr)
            self.library = self.ffi.dlopen(f"{path}.so")

    def kernel(self, name: str) -> Kernel:
        self.check_open()
        if name not in self.signatures:
            raise unknown_kernel(name, self.signatures)
        return Kernel(self, self.signatures[name])


class Kernel:
    def __init__(self, module: Module, signature: Signature) -> None:
        self.module, self.signature = module, signature

    def __call__(self, *args: object, **grid: Any) -> None:
        self.prepare(*args, **grid)()

    def prepare(self, *args: object, global_size: Any, local_size: Any = None, stream: Any = None) -> Any:
        check_arguments(self.signature, args)
        sizes, groups = check_grid(self.signature.name, global_size, local_size, 1024)
        ffi, run = self.module.ffi, getattr(self.module.library, f"run_{self.signature.name}")
        extents = [*sizes, *[1] * (3 - len(sizes)), *(groups or ()), *[1] * (3 - len(groups or ()))]
        cells = [
            self._cell(argument, pointer=parameter.pointer)
            for parameter, argument in zip(self.signature.parameters, args, strict=True)
        ]

        def launch() -> None:
            self.module.check_open()
            (stream or self.module.stream).check_open()
            for view in args:
                _ = view.native if isinstance(view, Buffer) else None  # raises once it was closed
            run([ffi.cast("void *", cell) for cell, _ in cells], extents)

        return launch

    def _cell(self, argument: Any, *, pointer: bool) -> tuple[Any, object]:
        """Return memory that holds the argument as C reads it, and what must live as long."""
        ffi = self.module.ffi
        if not pointer:
            return ffi.from_buffer(bytearray(argument.tobytes())), None
        memory = argument.native if isinstance(argument, Buffer) else argument
        if not isinstance(memory, memoryview) or memory.readonly:
            raise ArgumentError(f"{self.signature.name} needs a view of this backend, got {argument!r}")
        address = ffi.from_buffer(memory)
        return ffi.new("void *[1]", [address]), address


class Consumer(Owned):
    def __init__(self, cffi: Any, device: DeviceInfo) -> None:
        self.children = Children()
        super().__init__("cffi consumer", self.children.close)
        self.cffi, self.device = cffi, device
        self.stream = self.create_stream()

    def create_stream(self) -> Stream:
        self.check_open()
        return self.children.add(Stream("cffi stream", lambda: None))

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Memory:
        from interop_numpy.memory import payload_range  # what software drivers put behind an opaque fd

        self.check_open()
        check_import(handle, descriptor, self.device.capabilities.memory_import)
        start, size = payload_range(handle.value)
        if start or size < descriptor.allocation_size:
            raise HandleError(
                f"{size} bytes at {start} are not the {descriptor.allocation_size} that were promised"
            )
        with lend(handle, FdFate.KEPT) as fd:
            return self.children.add(Memory(mmap.mmap(fd, descriptor.allocation_size), descriptor))

    def import_semaphore(self, handle: Handle, descriptor: Any) -> NoReturn:  # noqa: ARG002 - there is none
        raise Unsupported(f"import of a {descriptor.kind} semaphore", "a processor has none")

    def allocate(self, size: int) -> Buffer:
        self.check_open()
        check_range(0, size, size)
        descriptor = MemoryDescriptor(allocation_size=size, size=size, handle_type=HandleType.HOST_ALLOCATION)
        return Buffer(
            self.children.add(Memory(mmap.mmap(-1, size), descriptor)), 0, (size,), BYTES, owner=True
        )

    def compile(self, source: Any) -> Module:
        self.check_open()
        return self.children.add(Module(self.cffi, source, self.stream))


class Backend:
    name = "cffi"

    def __init__(self) -> None:
        import cffi  # type: ignore[import-untyped]  # an ImportError becomes BackendUnavailable with the hint

        self.cffi = cffi

    def versions(self) -> dict[str, str]:
        return {"cffi": self.cffi.__version__}

    def devices(self) -> list[DeviceInfo]:
        capabilities = Capabilities(
            memory_import=frozenset({HandleType.OPAQUE_FD}), notes=("work is done when it is enqueued",)
        )
        identity = DeviceIdentity(host=host_identity())
        name = "cffi (host processor)"
        return [
            DeviceInfo(
                backend="cffi",
                index=0,
                name=name,
                identity=identity,
                capabilities=capabilities,
                software=True,
                driver="cffi",
            )
        ]

    def open_consumer(self, device: DeviceInfo) -> Consumer:
        return Consumer(self.cffi, device)


@hookimpl
def interop_register_backends() -> list[BackendInfo]:
    """Declare the backend; nothing is loaded yet."""
    return [
        BackendInfo(
            name="cffi",
            roles=frozenset({Role.CONSUMER}),
            load=Backend,
            install_hint="pip install cffi interop-numpy",
        )
    ]


@hookimpl
def interop_conformance_profile(backend: str) -> Any:
    """Name the cases about what it does not have."""
    if backend != "cffi":
        return None
    from interop.testing import ConformanceProfile  # only in a run of the kit

    return ConformanceProfile(unsupported={"kernels::local_memory*": "work items run one after the other"})
