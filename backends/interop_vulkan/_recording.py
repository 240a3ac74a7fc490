"""Commands recorded for one turn."""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import index
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, TurnError
from interop_vulkan._driver import NULL, VK, WHOLE_SIZE, struct
from interop_vulkan.memory import as_buffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.protocols import Mesh
    from interop_vulkan._context import Context
    from interop_vulkan._lifetime import Child
    from interop_vulkan.kernels import Compute
    from interop_vulkan.memory import Buffer, Part

_EVERYTHING: int = VK.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT
_WRITE: int = VK.VK_ACCESS_MEMORY_WRITE_BIT
ORDER = struct("VkMemoryBarrier", srcAccessMask=_WRITE, dstAccessMask=_WRITE | VK.VK_ACCESS_MEMORY_READ_BIT)
"""After all that was written before, by earlier submissions too."""
_WORDS = range(-(2**31), 2**32)


class Recording:
    """Records the work of one turn. Fulfils :class:`interop.protocols.Commands`.

    Each command runs after the earlier ones that touch the same bytes and sees what they wrote, including
    those of earlier submissions. Fills and copies of different bytes may overlap in time. Sources of copies
    and the like may be any buffer of this producer, or anything whose attribute ``producer_buffer`` is one.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        vk = context.vk
        self._barrier = vk.vkCmdPipelineBarrier
        self._fill, self._copy = vk.vkCmdFillBuffer, vk.vkCmdCopyBuffer
        self._region = struct("VkBufferCopy")
        self._native: Any = NULL
        self._dirty = False
        self.seen_by_host = False
        """Whether the host may read what was recorded to be written."""
        self._ranges: dict[Any, list[tuple[int, int]]] = {}
        """By ``VkBuffer``, the bytes touched since the last barrier, while that is known: disjoint and in order."""
        self.uses: list[Child] = []
        """What must still be open when the recording is submitted."""
        self.submitted: list[Callable[[int], None]] = []
        """Called with the point on the progress timeline, once that is known."""

    def start(self, native: Any, *, ordered: bool) -> None:
        """Begin with a command buffer in the recording state; ``ordered``: after what earlier submissions wrote."""
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
        """The ``VkCommandBuffer``, recording. What is recorded into it by hand needs barriers of its own."""
        return self.next()

    def fill(self, buffer: object, word: int) -> None:
        """Set every whole 32-bit word of a buffer (``vkCmdFillBuffer``)."""
        target = as_buffer(self._context, buffer)
        number = (
            index(word) if hasattr(word, "__index__") else -1 << 32
        )  # a range looks a NumPy scalar up one by one
        if number not in _WORDS or target.size < 4:  # noqa: PLR2004 - the size of a word
            msg = f"fill takes a 32-bit word and at least 4 bytes to fill, got {word} and {target.size} bytes"
            raise InvalidArgument(msg)
        size = target.span if target.span == WHOLE_SIZE else target.size & ~3
        self._fill(self._beside(target), target.native, target.offset, size, number & 0xFFFFFFFF)

    def copy(self, source: object, target: object) -> None:
        """Copy the bytes of one buffer to the start of another (``vkCmdCopyBuffer``)."""
        here, there = as_buffer(self._context, source), as_buffer(self._context, target)
        if here.native == there.native and _overlap(
            (here.offset, here.offset + here.size), (there.offset, there.offset + here.size)
        ):
            raise InvalidArgument("copy needs two different buffers, got the same one twice")
        if there.size < here.size:
            msg = f"copy of {here.size} bytes needs a target of at least that size, got {there.size} bytes"
            raise InvalidArgument(msg)
        self._region.srcOffset, self._region.dstOffset = here.offset, there.offset
        self._region.size = here.size
        self._copy(self._beside(here, there), here.native, there.native, 1, self._region)

    def draw(self, mesh: Mesh, heights: object) -> None:
        """Draw a mesh with the float32 heights in a buffer; see :mod:`interop_vulkan.render`."""
        from interop_vulkan.render import Grid

        if not isinstance(mesh, Grid) or mesh.context is not self._context:
            msg = f"expected a mesh of the producer on {self._context.info.name}, got {mesh!r}"
            raise InvalidArgument(msg)
        mesh.check_open()
        buffer = as_buffer(self._context, heights)
        mesh.record(self.next, buffer)
        self.submitted.append(mesh.drawn)

    def dispatch(
        self, compute: Compute, buffers: Sequence[object], groups: Sequence[int], push: bytes = b""
    ) -> None:
        """Run a compute pipeline over ``groups`` work groups; see :mod:`interop_vulkan.kernels`."""
        if compute.context is not self._context:
            msg = f"expected a compute pipeline of the producer on {self._context.info.name}, got {compute!r}"
            raise InvalidArgument(msg)
        compute.check_open()
        bound = [as_buffer(self._context, buffer) for buffer in buffers]
        compute.record(self.next, bound, groups, push)

    def next(self, *uses: Child) -> Any:
        """Return the command buffer for one more command, ordered after the ones before."""
        self._check_recording()
        if self._dirty or self._ranges:
            self._order()
        self._dirty = self.seen_by_host = True  # whatever it writes
        self.uses.extend(uses)
        return self._native

    def _beside(self, *buffers: Buffer | Part) -> Any:
        """As :meth:`next`, for a command that touches these bytes alone: nothing waits that need not."""
        self._check_recording()
        touched = [(each.native, (each.offset, each.offset + each.size)) for each in buffers]
        ranges = self._ranges
        if self._dirty or any(_meets(span, ranges.get(native, ())) for native, span in touched):
            self._order()
        for native, span in touched:
            insort(ranges.setdefault(native, []), span)
        self.uses.extend(buffers)
        self.seen_by_host |= buffers[-1].seen_by_host  # the one that is written
        return self._native

    def _order(self) -> None:
        self._barrier(self._native, _EVERYTHING, _EVERYTHING, 0, 1, ORDER, 0, NULL, 0, NULL)
        self._dirty = False
        self._ranges.clear()

    def _check_recording(self) -> None:
        if self._native == NULL:
            raise TurnError("these commands are not being recorded; they are valid inside their turn only")


def _meets(span: tuple[int, int], ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether a span overlaps one of many that do not overlap each other: only its neighbours can."""
    at = bisect_left(ranges, span)
    return any(_overlap(span, each) for each in ranges[max(at - 1, 0) : at + 1])


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
