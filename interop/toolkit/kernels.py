"""Modules, kernels and launches: what those of all APIs check and keep in the same way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from interop.protocols import PreparedCall
from interop.toolkit.kernel_source import check_arguments, check_grid, unknown_kernel
from interop.toolkit.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.protocols import Launch, Signature, Stream


class Checked(Protocol):
    """An object that a launch needs open."""

    def check_open(self) -> None:
        """Raise :class:`ClosedError` if the object has been closed."""


class LaunchBase:
    """A kernel with its arguments, grid and stream bound. Fulfils :class:`interop.protocols.Launch`."""

    __slots__ = ("__weakref__", "_prepared", "_used", "kept")

    def __init__(self, used: Sequence[Checked], prepared: PreparedCall, kept: object = None) -> None:
        """Run ``prepared`` as long as all of ``used`` is open: the module, the stream and memory arguments."""
        self.kept = kept
        """What the driver uses during the call."""
        self._used = used
        self._prepared = prepared

    def check_open(self) -> None:
        """Raise :class:`ClosedError` if the module, the stream or a memory argument has been closed."""
        for each in self._used:
            each.check_open()

    def prepare_call(self) -> PreparedCall:
        """Return the driver call alone."""
        return self._prepared

    def __call__(self) -> None:
        """Check that everything is open, then enqueue the kernel."""
        self.check_open()
        call, fail, begin, _ = self._prepared
        if begin is not None:
            begin()
        code = call()
        if code:
            fail(code)


class EagerLaunch(LaunchBase):
    """A launch that is a function of Python. Raises instead of returning a status."""

    __slots__ = ()

    def __init__(self, used: Sequence[Checked], run: Callable[[], object]) -> None:
        def call() -> int:
            run()
            return 0

        super().__init__(used, PreparedCall(call, int))


class ModuleBase(Resource, ABC):
    """A compiled source whose kernels are found by name and kept. Fulfils :class:`interop.protocols.Module`."""

    may_be_dropped = True

    def __init__(
        self,
        signatures: Mapping[str, Signature],
        stream: Stream,
        release: Callable[..., None] | None = None,
        *args: object,
        group_limit: int = 1024,
    ) -> None:
        """Keep the kernels of a source.

        Args:
            signatures: The kernels, by name.
            stream: Stream of launches that name no other.
            release: Called once with ``args``; see :class:`interop.toolkit.Resource`.
            *args: Arguments of ``release``.
            group_limit: Work items of the largest group of the device.
        """
        super().__init__(f"module of {', '.join(signatures)}", release or _nothing, *args)
        self.signatures = signatures
        self.stream: Any = stream
        self.group_limit = group_limit
        self._kernels: dict[str, Any] = {}

    def kernel(self, name: str) -> Any:
        """Return a kernel by name. Raises :class:`ArgumentError`, listing the names that exist."""
        self.check_open()
        found = self._kernels.get(name)
        if found is None:
            signature = self.signatures.get(name)
            if signature is None:
                raise unknown_kernel(name, self.signatures)
            found = self._kernels[name] = self.open_kernel(signature)
        return found

    @abstractmethod
    def open_kernel(self, signature: Signature) -> KernelBase:
        """Return a kernel of this module."""


class KernelBase(ABC):
    """A kernel whose arguments are checked before they are bound. Fulfils :class:`interop.protocols.Kernel`."""

    def __init__(self, module: Any, signature: Signature) -> None:
        """``module`` is the kernel's :class:`ModuleBase`."""
        self.module = module
        self.signature = signature
        self.group_limit: int = module.group_limit
        """Work items of the largest group."""

    def __call__(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> None:
        """Enqueue the kernel; see :meth:`interop.protocols.Kernel.__call__`."""
        sizes = self.checked(args, global_size, local_size)
        self.launch(args, *sizes, self.module.stream if stream is None else stream)

    def launch(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Any
    ) -> None:
        """Enqueue the kernel once; the arguments are as in :meth:`bind`."""
        self.bind(args, grid, group, stream)()

    def prepare(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> Launch:
        """Check and bind the arguments once, to be launched again and again."""
        return self.bind(
            args,
            *self.checked(args, global_size, local_size),
            self.module.stream if stream is None else stream,
        )

    def checked(
        self, args: Sequence[object], global_size: int | Sequence[int], local_size: int | Sequence[int] | None
    ) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """Check that the module is open, the arguments and the grid; return the grid and the group."""
        self.module.check_open()
        check_arguments(self.signature, args)
        return check_grid(self.signature.name, global_size, local_size, self.group_limit)

    @abstractmethod
    def bind(
        self, args: Sequence[object], grid: tuple[int, ...], group: tuple[int, ...] | None, stream: Any
    ) -> Launch:
        """Return the launch.

        Args:
            args: Have passed :func:`interop.toolkit.check_arguments`.
            grid: Work items in one to three dimensions.
            group: Work items of a group, in as many dimensions; None where the caller leaves that to the backend.
            stream: The caller's stream, or the module's.

        Raises:
            ArgumentError: Memory of another API.
            InvalidArgument: A stream of another API.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.signature}>"


def three_extents(extents: Sequence[int]) -> tuple[int, ...]:
    """Return one to three extents as three."""
    return (*extents, *[1] * (3 - len(extents)))


def _nothing() -> None:
    """Release nothing."""
