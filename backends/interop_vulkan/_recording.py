"""The commands of one turn."""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import index
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, TurnError
from interop_vulkan._barriers import EVERYTHING, ORDER
from interop_vulkan._driver import NULL, WHOLE_SIZE, struct
from interop_vulkan.memory import as_buffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.protocols import ComputePipeline, Mesh
    from interop_vulkan._child import Child
    from interop_vulkan._context import Context
    from interop_vulkan.memory import Part, VulkanBuffer

_WORDS = range(-(2**31), 2**32)


class Recording:
    """Records the work of one turn. Fulfils :class:`interop.protocols.GpuCommands`.

    Each command runs after the earlier commands on the same bytes and sees what they wrote, those of earlier
    submissions too. Fills and copies of different bytes may overlap in time. A buffer argument is a buffer of this
    producer, or an object whose attribute ``producer_buffer`` is one.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        vk = context.vk
        self._barrier = vk.vkCmdPipelineBarrier
        self._fill, self._copy = vk.vkCmdFillBuffer, vk.vkCmdCopyBuffer
        self._region = struct("VkBufferCopy")
        self._native: Any = NULL
        self._dirty = False
        self.seen_by_host = False
        """Whether the host may read bytes that the recording writes."""
        self._ranges: dict[Any, list[tuple[int, int]]] = {}
        """Bytes used since the last barrier, by ``VkBuffer``: disjoint and sorted ranges."""
        self.uses: list[Child] = []
        """Objects that must be open when the recording is submitted."""
        self.submitted: list[Callable[[int], None]] = []
        """Callbacks that get the submission's value on the progress timeline."""

    def start(self, native: Any, *, ordered: bool) -> None:
        """Begin with a command buffer in the recording state.

        ``ordered`` tells that a barrier after earlier submissions has been recorded already.
        """
        self._native = native
        self._dirty = not ordered
        self.seen_by_host = False
        if self._ranges:
            self._ranges.clear()
        if self.submitted:
            self.submitted.clear()

    def stop(self) -> None:
        """End the recording; further commands raise :class:`TurnError`."""
        self._native = NULL
        if self.uses:
            self.uses.clear()

    @property
    def native(self) -> Any:
        """The ``VkCommandBuffer`` in the recording state. Commands recorded by hand need barriers of their own."""
        return self.next()

    def fill(self, buffer: object, word: int) -> None:
        """Set every whole 32-bit word of a buffer (``vkCmdFillBuffer``)."""
        target = as_buffer(self.context, buffer)
        number = (
            index(word) if hasattr(word, "__index__") else -1 << 32
        )  # `in range` compares a NumPy scalar with each number
        if number not in _WORDS or target.size < 4:  # noqa: PLR2004 - the size of a word
            msg = f"fill needs a 32-bit word and a buffer of 4 bytes or more, got {word} and {target.size} bytes"
            raise InvalidArgument(msg)
        size = target.span if target.span == WHOLE_SIZE else target.size & ~3
        self._fill(self._beside(target), target.native, target.offset, size, number & 0xFFFFFFFF)

    def copy(self, source: object, target: object) -> None:
        """Copy all bytes of ``source`` to the start of ``target`` (``vkCmdCopyBuffer``)."""
        here, there = as_buffer(self.context, source), as_buffer(self.context, target)
        if here.native == there.native and _overlap(
            (here.offset, here.offset + here.size), (there.offset, there.offset + here.size)
        ):
            raise InvalidArgument(
                "copy needs two different buffers or parts, got the same bytes as source and target"
            )
        if there.size < here.size:
            msg = f"the target of a copy of {here.size} bytes must have that size or more, got {there.size} bytes"
            raise InvalidArgument(msg)
        self._region.srcOffset, self._region.dstOffset = here.offset, there.offset
        self._region.size = here.size
        self._copy(self._beside(here, there), here.native, there.native, 1, self._region)

    def draw(self, mesh: Mesh, heights: object) -> None:
        """Draw a mesh; see :meth:`interop.protocols.MeshCommands.draw`."""
        from interop_vulkan.render import Grid  # loaded by programs that draw

        if not isinstance(mesh, Grid) or mesh.context is not self.context:
            msg = f"mesh must be a mesh of the producer on {self.context.info.name}, got {mesh!r}"
            raise InvalidArgument(msg)
        mesh.check_open()
        mesh.record(self.next, as_buffer(self.context, heights))
        self.submitted.append(mesh.drawn)

    def dispatch(
        self, compute: ComputePipeline, buffers: Sequence[object], groups: Sequence[int], push: bytes = b""
    ) -> None:
        """Run a compute pipeline; see :meth:`interop.protocols.ComputeCommands.dispatch`."""
        from interop_vulkan.kernels import Compute  # loaded by programs that compute

        if not isinstance(compute, Compute) or compute.context is not self.context:
            msg = f"compute must be a pipeline of the producer on {self.context.info.name}, got {compute!r}"
            raise InvalidArgument(msg)
        compute.check_open()
        compute.record(self.next, [as_buffer(self.context, buffer) for buffer in buffers], groups, push)

    def next(self, *uses: Child) -> Any:
        """Return the command buffer for one more command, after a barrier to the commands before it."""
        self._check_recording()
        if self._dirty or self._ranges:
            self._order()
        self._dirty = self.seen_by_host = True  # the command may write anything
        self.uses.extend(uses)
        return self._native

    def _beside(self, *buffers: VulkanBuffer | Part) -> Any:
        """Return the command buffer for a command on these bytes alone. A barrier is recorded only if they overlap."""
        self._check_recording()
        touched = [(each.native, (each.offset, each.offset + each.size)) for each in buffers]
        ranges = self._ranges
        if self._dirty or any(_meets(span, ranges.get(native, ())) for native, span in touched):
            self._order()
        for native, span in touched:
            insort(ranges.setdefault(native, []), span)
        self.uses.extend(buffers)
        self.seen_by_host |= buffers[-1].seen_by_host  # the last buffer is written
        return self._native

    def _order(self) -> None:
        self._barrier(self._native, EVERYTHING, EVERYTHING, 0, 1, ORDER, 0, NULL, 0, NULL)
        self._dirty = False
        self._ranges.clear()

    def _check_recording(self) -> None:
        if self._native == NULL:
            raise TurnError("the turn of these commands has ended; commands are valid inside their turn only")


def _meets(span: tuple[int, int], ranges: Sequence[tuple[int, int]]) -> bool:
    """Return whether a span overlaps one of many disjoint, sorted spans. Only its neighbours can."""
    at = bisect_left(ranges, span)
    return any(_overlap(span, each) for each in ranges[max(at - 1, 0) : at + 1])


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def as_recording(context: Context, given: object) -> Recording:
    """Return ``given`` if it is a recording on this device. Raises :class:`InvalidArgument` otherwise."""
    if isinstance(given, Recording) and given.context is context:
        return given
    raise InvalidArgument(f"commands must be those of the producer on {context.info.name}, got {given!r}")
