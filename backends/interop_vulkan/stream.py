"""The queue: prepared submissions, and the commands recorded for them.

What does not change from turn to turn is built once. A submission consists of up to three command buffers:
a head that takes buffers over from the other API, the caller's recording, and a tail that gives buffers
away and makes results visible to the host. Head and tail are recorded when the submission is prepared.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from interop.protocols import ClosedError, DriverError, InvalidArgument, SemaphoreKind, TurnError, WaitTimeout
from interop_vulkan._driver import NULL, QUEUE_FAMILY_EXTERNAL, VK, array, check, struct
from interop_vulkan._lifetime import Child
from interop_vulkan._recording import ORDER, Recording
from interop_vulkan.memory import as_buffer
from interop_vulkan.semaphore import Inlet, Semaphore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop_vulkan._context import Context
    from interop_vulkan.memory import Buffer, Part

RING = 64
"""Recordings that may be in flight at a time; the next one waits for the oldest."""
EASY = 16
"""Recordings that are made before the driver is asked whether the oldest has ended: it is not asked each turn."""
RING_TIMEOUT = 10.0
"""Seconds to wait for it."""

_EVERYTHING: int = VK.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT
_READ: int = VK.VK_ACCESS_MEMORY_READ_BIT
_WRITE: int = VK.VK_ACCESS_MEMORY_WRITE_BIT
_PRIMARY: int = VK.VK_COMMAND_BUFFER_LEVEL_PRIMARY
_RESETTABLE: int = VK.VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT
_REPEATED = struct("VkCommandBufferBeginInfo", flags=VK.VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT)
_ONCE = struct("VkCommandBufferBeginInfo", flags=VK.VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT)
_TO_HOST = struct("VkMemoryBarrier", srcAccessMask=_WRITE, dstAccessMask=VK.VK_ACCESS_HOST_READ_BIT)


class _Shape:
    """A ``VkSubmitInfo`` over some command buffers; ``slot`` is where the recording goes, or -1."""

    def __init__(self, head: Any, tail: Any, *, recorded: bool, **shared: Any) -> None:
        buffers = [each for each in (head, NULL if recorded else None, tail) if each is not None]
        self.slot = buffers.index(NULL) if recorded else -1
        self.buffers = array("VkCommandBuffer", buffers)
        self.info = struct(
            "VkSubmitInfo", commandBufferCount=len(buffers), pCommandBuffers=self.buffers, **shared
        )


def _transfer(buffers: Sequence[Buffer | Part], source: int, target: int, memory: Any) -> tuple[Any, ...]:
    """Return what ``vkCmdPipelineBarrier`` needs to transfer ownership, with a barrier for all other memory.

    Each barrier costs an NVIDIA GPU some 4 µs (an H200; ``benchmarks/ring.py``), so one does both.
    """
    giving = target == QUEUE_FAMILY_EXTERNAL
    barriers = [
        struct(
            "VkBufferMemoryBarrier",
            srcAccessMask=_WRITE if giving else 0,  # the other half of each belongs to the other API
            dstAccessMask=0 if giving else _READ | _WRITE,
            srcQueueFamilyIndex=source,
            dstQueueFamilyIndex=target,
            buffer=buffer.native,
            offset=buffer.offset,
            size=buffer.span,
        )
        for buffer in buffers
    ]
    packed = array("VkBufferMemoryBarrier", [each[0] for each in barriers])
    # All commands on both sides, so that a transfer chains with the semaphores around it.
    stages = _EVERYTHING | (VK.VK_PIPELINE_STAGE_HOST_BIT if memory is _TO_HOST else 0)
    return (_EVERYTHING, stages, 0, int(memory != NULL), memory, len(barriers), packed, 0, NULL)


class PreparedSubmission(Child):
    """One prepared shape of queue submission. Fulfils :class:`interop.protocols.Submission`.

    For one thread at a time; different submissions may be used by different threads.
    """

    def __init__(
        self,
        context: Context,
        acquire: Sequence[Buffer | Part],
        release: Sequence[Buffer | Part],
        wait: Semaphore | None,
        signal: Semaphore | None,
    ) -> None:
        vk = context.vk
        # Before the context knows of this, which may close it from then on: an interrupt can come at any point.
        self._commands = Recording(context)
        self._recording: Any = None
        with contextlib.ExitStack() as undo:
            pool = struct("VkCommandPoolCreateInfo", flags=_RESETTABLE, queueFamilyIndex=context.family)
            self._pool = context.create("vkCreateCommandPool", "VkCommandPool", pool)
            context.undo(undo, "vkDestroyCommandPool", self._pool)  # frees its command buffers too
            self._takes = (
                _transfer(acquire, QUEUE_FAMILY_EXTERNAL, context.family, ORDER) if acquire else None
            )
            self._gives = _transfer(release, context.family, QUEUE_FAMILY_EXTERNAL, _TO_HOST)
            head = self._record(context, self._takes) if self._takes else None
            tail = self._record(context, self._gives)
            super().__init__(context, "submission", undo.pop_all().close)
        self._wait, self._signal = wait, signal
        self._release = release
        self._waits_value = wait is not None and wait.kind is SemaphoreKind.TIMELINE
        self._signals_value = signal is not None and signal.kind is SemaphoreKind.TIMELINE
        self._wait_values = array("uint64_t", 1)
        self._signal_values = array("uint64_t", 2)
        self._one_shots = [each for each in (wait, signal) if each is not None and each.one_shot]
        self._waits = array("VkSemaphore", 1)
        if wait is not None and not isinstance(wait, Inlet):  # which has another one for each wait
            self._waits[0] = wait.native
        # Progress comes last: SwiftShader signals in this order, and who sees progress may count on the rest.
        signals = [*([signal.native] if signal else []), context.timeline.semaphore]
        self._progress_slot = self._signal_values + (len(signals) - 1)
        values = struct(
            "VkTimelineSemaphoreSubmitInfo",
            waitSemaphoreValueCount=int(wait is not None),
            pWaitSemaphoreValues=self._wait_values,
            signalSemaphoreValueCount=len(signals),
            pSignalSemaphoreValues=self._signal_values,
        )
        shared = {
            "pNext": values,
            "waitSemaphoreCount": int(wait is not None),
            "pWaitSemaphores": self._waits,
            "pWaitDstStageMask": [_EVERYTHING],
            "signalSemaphoreCount": len(signals),
            "pSignalSemaphores": signals,
        }
        self._full = _Shape(head, tail, recorded=True, **shared)
        self._bare = _Shape(head, tail if release else None, recorded=False, **shared)
        self._alone = _Shape(None, None, recorded=True, **shared)
        self._begin, self._end = vk.vkBeginCommandBuffer, vk.vkEndCommandBuffer
        self._queue_submit = vk.vkQueueSubmit
        self._free: list[Any] = []
        self._flying: deque[tuple[int, Any]] = deque()
        self._reached = 0
        self._missing = ""
        self._repeat = False
        self._kept: tuple[Callable[[int], None], ...] | None = None
        """Of a recording that further submits repeat: who is told of each. None without one."""
        self._children = [each for each in (*acquire, *release, wait, signal) if each is not None]
        for child in self._children:
            child.add_dependent(self)

    def _record(self, context: Context, transfer: tuple[Any, ...]) -> Any:
        """Record a head or a tail."""
        native = self._allocate(context)
        vk = context.vk
        check("vkBeginCommandBuffer", vk.vkBeginCommandBuffer(native, _REPEATED))
        vk.vkCmdPipelineBarrier(native, *transfer)
        check("vkEndCommandBuffer", vk.vkEndCommandBuffer(native))
        return native

    def _allocate(self, context: Context) -> Any:
        info = struct(
            "VkCommandBufferAllocateInfo", commandPool=self._pool, level=_PRIMARY, commandBufferCount=1
        )
        return context.vk.create("vkAllocateCommandBuffers", "VkCommandBuffer", context.device, info)

    def begin(self, *, repeat: bool = False) -> Recording:
        """Start recording. Waits, for a bounded time, when :data:`RING` recordings are still in flight.

        With ``repeat`` the recording is submitted again by every further :meth:`submit`, also while it is in
        flight; there can be one such recording and nothing after it. It is one command buffer, transfers
        included, since the device needs some µs to go on with the next one.
        """
        if self._missing or not self.alive:
            self._check_usable()
        if self._recording is not None:
            raise TurnError("this submission is being recorded already")
        if self._kept is not None:
            raise TurnError("this submission repeats what was recorded; prepare another one")
        flying = self._flying
        at_hand = not self._free and flying and flying[0][0] <= self._reached
        native = flying.popleft()[1] if at_hand else self._unused()
        self._repeat = repeat
        try:
            code = self._begin(native, _REPEATED if repeat else _ONCE)
            if code:
                check("vkBeginCommandBuffer", code)
        except DriverError:
            self._free.append(native)
            raise
        self._recording = native
        if repeat and self._takes:
            self.context.vk.vkCmdPipelineBarrier(native, *self._takes)
        self._commands.start(native, ordered=self._takes is not None)
        return self._commands

    def _unused(self) -> Any:
        """Return a command buffer that is not in flight."""
        if self._free:
            return self._free.pop()
        flying = len(self._flying)
        if flying:
            value, native = self._flying[0]
            if self._reached < value and flying >= EASY:
                self._reached = self.context.timeline.counter()
            if self._reached < value and flying >= RING:
                if not self.context.timeline.wait(value, RING_TIMEOUT):
                    raise WaitTimeout(f"the oldest of {RING} submissions in flight", RING_TIMEOUT)
                self._reached = value
            if self._reached >= value:
                self._flying.popleft()
                return native
        return self._allocate(self.context)

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> int:
        """Submit (``vkQueueSubmit``) and return the point on the progress timeline that ends it.

        Raises :class:`TurnError` for a signal value that is not above the last one, :class:`ClosedError`
        when something recorded was closed meanwhile; both leave the recording as it was. Raises
        :class:`DriverError` when the driver refuses: the recording is gone and nothing was submitted.
        """
        if self._missing or not self.alive:
            self._check_usable()
        signal, context = self._signal, self.context
        if self._waits_value:
            if not 0 <= wait_value < 2**64:
                msg = f"a timeline is waited for with 0 to 2**64 - 1, got {wait_value}"
                raise TurnError(msg)
            self._wait_values[0] = wait_value
        if self._signals_value and signal is not None:
            if not signal.last_signal < signal_value < 2**64:
                msg = (
                    f"a timeline needs a signal above its last one ({signal.last_signal}), got {signal_value}"
                )
                raise TurnError(msg)
            self._signal_values[0] = signal_value
        if self._one_shots:
            self._check_one_shots()
        native, commands = self._recording, self._commands
        shape = self._bare if self._kept is None else self._alone
        if native is not None:
            shape = self._end_recording(native)
        timeline = context.timeline
        with context.lock:
            value = timeline.submitted + 1
            self._progress_slot[0] = value
            # Before the call: a Ctrl-C during it is raised as it returns, and what it submitted is then in flight.
            timeline.submitted = value
            result = self._queue_submit(context.queue, 1, shape.info, NULL)
            if result:
                timeline.submitted = value - 1
                check("vkQueueSubmit", result)
        if self._signals_value and signal is not None:
            signal.last_signal = signal_value
        for semaphore in self._one_shots:
            semaphore.submitted(value, signal=semaphore is signal)
        if native is None:
            for note in self._kept or ():
                note(value)
            return value
        self._free.pop()
        notes: tuple[Callable[[int], None], ...] = ()
        if commands.submitted:
            notes = tuple(commands.submitted)
            commands.submitted.clear()
        if self._repeat:
            self._kept = notes
        else:
            self._flying.append((value, native))
        for note in notes:
            note(value)
        return value

    def _check_one_shots(self) -> None:
        """Raise :class:`TurnError` for a signal that has no room, or a wait for nothing; choose what is waited for."""
        signal = self._signal
        if signal is not None and signal.one_shot and signal.signalled:
            raise TurnError("export the last signal before the next one: a binary semaphore has room for one")
        if isinstance(self._wait, Inlet):
            self._waits[0] = self._wait.native

    def _end_recording(self, native: Any) -> _Shape:
        """End the recording; return the shape that it goes into."""
        commands = self._commands
        for child in commands.uses:
            child.check_open()
            if self._repeat:  # once it is closed, nothing may be submitted any more
                child.add_dependent(self)
        shape = self._alone if self._repeat else self._full
        shape.buffers[shape.slot] = native
        if self._repeat:
            self._give(native, to_host=commands.seen_by_host)
        commands.stop()
        self._recording = None
        self._free.append(native)  # until it is in flight it counts as free, whatever comes
        code = self._end(native)
        if code:
            check("vkEndCommandBuffer", code)
        return shape

    def _give(self, native: Any, *, to_host: bool) -> None:
        """Record the end of what is repeated: as a tail does, and for the host where it has something to see."""
        context, gives = self.context, self._gives
        if not to_host:
            if not self._release:
                return
            gives = _transfer(self._release, context.family, QUEUE_FAMILY_EXTERNAL, NULL)
        context.vk.vkCmdPipelineBarrier(native, *gives)

    def abandon(self) -> None:
        """Throw a recording away; without one nothing happens."""
        native = self._recording
        if native is not None:
            self._commands.stop()
            self._recording = None
            self._free.append(native)
            if not self.closed:
                check("vkResetCommandBuffer", self.context.vk.vkResetCommandBuffer(native, 0))

    def forget(self, child: Child) -> None:
        """Refuse from now on: ``child``, which this was prepared with, is closed."""
        self._missing = f"the {child.what} that this submission was prepared with is closed"

    def _check_usable(self) -> None:
        self.check_open()
        if self._missing:
            raise ClosedError(self._missing)

    def close(self) -> None:
        """Free what was prepared, as soon as no submitted work uses it. A second call does nothing."""
        self._commands.stop()
        self._recording = None
        super().close()


def prepare(
    context: Context, acquire: Sequence[object], release: Sequence[object], wait: object, signal: object
) -> PreparedSubmission:
    """Prepare a submission; see :meth:`interop.protocols.Producer.prepare`."""
    context.check_open()
    context.sweep()
    for each in (wait, signal):
        if each is not None and (not isinstance(each, Semaphore) or each.context is not context):
            msg = f"expected a semaphore of the producer on {context.info.name}, got {each!r}"
            raise InvalidArgument(msg)
        if isinstance(each, Semaphore):
            each.check_open()
    if isinstance(signal, Inlet):
        raise InvalidArgument("a semaphore that takes signals in is waited for, not signalled")
    if isinstance(signal, Semaphore) and signal.native == context.timeline.semaphore:
        raise InvalidArgument("the progress timeline is signalled by every submission, not on demand")
    return PreparedSubmission(
        context,
        [as_buffer(context, each) for each in acquire],
        [as_buffer(context, each) for each in release],
        wait if isinstance(wait, Semaphore) else None,
        signal if isinstance(signal, Semaphore) else None,
    )
