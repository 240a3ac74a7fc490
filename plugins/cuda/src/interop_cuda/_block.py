"""Blocks of device memory, and how they outlive their owner while array libraries hold them."""

from __future__ import annotations

import threading
import warnings
import weakref
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from interop.protocols import ClosedError, InteropError
from interop.toolkit import Resource, Pins

if TYPE_CHECKING:
    from interop_cuda._context import Context


class Host(NamedTuple):
    """Pinned memory of the host, in place of an import."""

    address: int
    size: int
    pages: object
    """What keeps it, or None for memory that the caller keeps."""

    @property
    def place(self) -> tuple[int, int]:
        """What is counted in :data:`PINS`."""
        return self.address, self.size


PINS = Pins()
"""What this process has pinned: consumers on one device or several share it."""
_counting = threading.RLock()  # a garbage collection inside may unpin
"""Held while the pins of a block are counted; by no driver's call, so that one is enough for all blocks."""


class Block(Resource):
    """Device memory at an address, and what gives it back.

    Closing it gives it back at once, unless array libraries hold it: then the last of them does.
    """

    __slots__ = ("_address", "_given_up", "_pins")

    def __init__(self, what: str, context: Context, address: int, external: int | Host | None) -> None:
        super().__init__(f"{what} at 0x{address:x}", _release, context.hold(), address, external)
        self._address = address
        self._pins = 0
        self._given_up = False

    @property
    def closed(self) -> bool:
        """Whether it has been given up."""
        return self._given_up

    @property
    def address(self) -> int:
        """First byte. Raises :class:`ClosedError` once it has been given up."""
        self.check_open()
        return self._address

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once it has been given up."""
        if self._given_up:
            raise ClosedError(f"{self._what} was used after close()")

    def close(self) -> None:
        """Give it up. The memory stays mapped while tensors of it live; a second call does nothing."""
        with _counting:
            self._given_up = True
            if self._pins:
                return
        super().close()

    def pin(self) -> Pin:
        """Keep the memory valid until the result is dropped."""
        with _counting:
            self.check_open()
            self._pins += 1
        return Pin(self)

    def unpin(self) -> None:
        """Take one pin back. Raises nothing, as garbage collections call it."""
        with _counting:
            self._pins -= 1
            if self._pins or not self._given_up:
                return
        try:
            super().close()
        except InteropError as error:
            warnings.warn(f"releasing {self._what} failed: {error}", ResourceWarning, stacklevel=2)


class Pin:
    """Keeps a block valid for an array library."""

    __slots__ = ("__weakref__",)

    def __init__(self, block: Block) -> None:
        weakref.finalize(self, block.unpin).atexit = False


def _release(context: Context, address: int, external: int | Host | None) -> None:
    with ExitStack() as every:  # last given first: one failure must not keep the others from being released
        every.callback(context.drop)
        driver = every.enter_context(context.current())
        if isinstance(external, Host):
            unpin = partial(driver.call, "cuMemHostUnregister", external.address)
            every.callback(PINS.drop, external.place, unpin)
            return
        if external is not None:
            every.callback(driver.call, "cuDestroyExternalMemory", external)
        every.callback(driver.call, "cuMemFree_v2", address)
