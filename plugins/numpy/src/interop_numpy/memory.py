"""Views of host memory as NumPy arrays."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - this module is imported by load() only

from interop.protocols import InvalidArgument
from interop.toolkit import HostView

if TYPE_CHECKING:
    from numpy.typing import NDArray


class HostArray(HostView):
    """A range of host memory as an array of one shape and type."""

    __slots__ = ()

    @property
    def native(self) -> NDArray[Any]:
        """A NumPy array that shares the memory and keeps it mapped."""
        self.check_open()
        mapping, start = self.memory.place(self.first)
        # frombuffer keeps the mapping locked for as long as the array lives. np.ndarray(buffer=...) does not, and
        # touching its memory after close would end the process (NumPy 2.x).
        return np.frombuffer(mapping, np.dtype(self.dtype.name), prod(self.shape), start).reshape(self.shape)

    def __dlpack__(self, **options: Any) -> Any:
        """Export the memory to another array library; it stays mapped until that library has freed its tensor."""
        return self.native.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return (1, 0): the host."""
        kind, index = self.native.__dlpack_device__()
        return int(kind), index

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        """Let ``numpy.asarray(view)`` share the memory."""
        array = self.native
        if dtype is None or dtype == array.dtype:
            return array.copy() if copy else array
        if copy is False:
            raise InvalidArgument(f"a view of {array.dtype} cannot become {dtype} without a copy")
        return array.astype(dtype)
