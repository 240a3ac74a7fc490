"""Prepared submissions to the queue.

Everything that stays the same from turn to turn is built once. A submission has up to three command buffers. The head
acquires buffers from the other API. Then comes the caller's recording. The tail releases buffers and makes results
visible to the host. Head and tail are recorded when the submission is prepared.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from interop.protocols import ClosedError, DriverError, InvalidArgument, SemaphoreKind, TurnError, WaitTimeout
from interop_vulkan._barriers import EVERYTHING, ORDER, TO_HOST, SubmitShape, transfer
from interop_vulkan._child import Child
from interop_vulkan._driver import NULL, QUEUE_FAMILY_EXTERNAL, VK, array, check, struct
from interop_vulkan._recording import Recording
from interop_vulkan._signal_inlet import SignalInlet
from interop_vulkan.memory import as_buffer
from interop_vulkan.semaphore import VulkanSemaphore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop_vulkan._context import Context
    from interop_vulkan.memory import Part, VulkanBuffer

RING = 64
"""Recordings of a submission that may be in flight at a time. The next one waits for the oldest."""
EASY = 16
"""Recordings in flight before the driver is asked whether the oldest has ended. It is not asked each turn."""
DEFAULT_TIMEOUT = 10.0
"""Seconds that a recording waits for the oldest by default."""

_PRIMARY: int = VK.VK_COMMAND_BUFFER_LEVEL_PRIMARY
_REPEATED = struct("VkCommandBufferBeginInfo", flags=VK.VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT)
_ONCE = struct("VkCommandBufferBeginInfo", flags=VK.VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT)


class PreparedSubmission(Child):
    """A prepared queue submission. Fulfils :class:`interop.protocols.Submission`.

    One thread at a time uses it. Different threads may use different submissions.
    """

    def __init__(
        self,
        context: Context,
        acquire: Sequence[VulkanBuffer | Part],
        release: Sequence[VulkanBuffer | Part],
        wait: VulkanSemaphore | None,
        signal: VulkanSemaphore | None,
        timeout: float,
    ) -> None:
        vk = context.vk
        # Set before the context knows this object: an interrupt may come at any point, and the context then closes it.
        self._commands = Recording(context)
        self._recording: Any = None
        with contextlib.ExitStack() as undo:
            resettable = VK.VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT
            pool = struct("VkCommandPoolCreateInfo", flags=resettable, queueFamilyIndex=context.family)
            # Destroying the pool frees the command buffers too.
            self._pool = context.create("CommandPool", pool, undo)
            self._takes = transfer(acquire, QUEUE_FAMILY_EXTERNAL, context.family, ORDER) if acquire else None
            self._gives = transfer(release, context.family, QUEUE_FAMILY_EXTERNAL, TO_HOST)
            head = self._record(context, self._takes) if self._takes else None
            tail = self._record(context, self._gives)
            super().__init__(context, "submission", undo.pop_all().close)
        self._wait, self._signal = wait, signal
        self._timeout = timeout
        self._release = release
        self._waits_value = wait is not None and wait.kind is SemaphoreKind.TIMELINE
        self._signals_value = signal is not None and signal.kind is SemaphoreKind.TIMELINE
        self._wait_values = array("uint64_t", 1)
        self._signal_values = array("uint64_t", 2)
        self._one_shots = [each for each in (wait, signal) if each is not None and each.one_shot]
        self._waits = array("VkSemaphore", 1)
        if wait is not None and not isinstance(
            wait, SignalInlet
        ):  # an inlet has another semaphore for each wait
            self._waits[0] = wait.native
        # Progress comes last. SwiftShader signals in this order, and a thread that sees progress relies on the rest.
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
            "pWaitDstStageMask": [EVERYTHING],
            "signalSemaphoreCount": len(signals),
            "pSignalSemaphores": signals,
        }
        self._full = SubmitShape(head, tail, recorded=True, **shared)
        self._bare = SubmitShape(head, tail if release else None, recorded=False, **shared)
        self._alone = SubmitShape(None, None, recorded=True, **shared)
        self._begin, self._end = vk.vkBeginCommandBuffer, vk.vkEndCommandBuffer
        self._queue_submit = vk.vkQueueSubmit
        self._free: list[Any] = []
        self._flying: deque[tuple[int, Any]] = deque()
        self._reached = 0
        self._missing = ""
        self._repeat = False
        self._kept: tuple[Callable[[int], None], ...] | None = None
        """Callbacks of the recording that further submits repeat. None without such a recording."""
        self._children = [each for each in (*acquire, *release, wait, signal) if each is not None]
        for child in self._children:
            child.add_dependent(self)

    def _record(self, context: Context, transfer: tuple[Any, ...]) -> Any:
        """Record a head or a tail and return its command buffer."""
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
        """Start recording. Blocks while :data:`RING` recordings are in flight.

        Args:
            repeat: Every further :meth:`submit` submits this recording again, even while it is in flight. A
                submission has one such recording and none after it. The recording includes the transfers, because a
                device needs some µs to start another command buffer.

        Raises:
            TurnError: A recording is open, or the submission repeats one.
            WaitTimeout: The oldest recording has not ended after the timeout of :meth:`Producer.prepare`.
        """
        if self._missing or not self.alive:
            self._check_usable()
        if self._recording is not None:
            raise TurnError(
                "this submission is being recorded already; submit or abandon the recording first"
            )
        if self._kept is not None:
            raise TurnError("this submission repeats its first recording; prepare another submission")
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
                if not self.context.timeline.wait(value, self._timeout):
                    raise WaitTimeout(f"the oldest of {RING} submissions in flight", self._timeout)
                self._reached = value
            if self._reached >= value:
                self._flying.popleft()
                return native
        return self._allocate(self.context)

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> int:
        """Submit (``vkQueueSubmit``).

        Args:
            wait_value: Timeline value to wait for; ignored for a binary semaphore.
            signal_value: Timeline value to signal, above the last one; ignored for a binary semaphore.

        Returns:
            The progress timeline's value at the end of the submission.

        Raises:
            TurnError: A value is impossible. The recording stays open.
            ClosedError: A recorded object was closed. The recording stays open.
            DriverError: The driver refuses. The recording is lost and nothing was submitted.
        """
        if self._missing or not self.alive:
            self._check_usable()
        signal, context = self._signal, self.context
        if self._waits_value:
            if not 0 <= wait_value < 2**64:
                msg = f"wait_value must be from 0 to 2**64 - 1, got {wait_value}"
                raise TurnError(msg)
            self._wait_values[0] = wait_value
        if self._signals_value and signal is not None:
            if not signal.last_signal < signal_value < 2**64:
                msg = f"signal_value must be above the last signal ({signal.last_signal}), got {signal_value}"
                raise TurnError(msg)
            self._signal_values[0] = signal_value
        if self._one_shots:
            self._check_one_shots()
        native, commands = self._recording, self._commands
        shape = self._bare if self._kept is None else self._alone
        if native is not None:
            shape = self._end_recording(native)
        timeline = context.timeline
        last_signal = signal.last_signal if signal is not None else 0
        with context.lock:
            value = timeline.submitted + 1
            self._progress_slot[0] = value
            if native is not None and not self._repeat:
                self._flying.append((value, native))
            # Set before the call: Ctrl-C is raised when the driver returns, and the work is in flight then.
            if self._signals_value and signal is not None:
                signal.last_signal = signal_value
            timeline.submitted = value
            result = self._queue_submit(context.queue, 1, shape.info, NULL)
            if result:
                timeline.submitted = value - 1
                self._take_back(native, last_signal)
                check("vkQueueSubmit", result)
        for semaphore in self._one_shots:
            semaphore.submitted(value, signal=semaphore is signal)
        if native is None:
            for note in self._kept or ():
                note(value)
            return value
        notes: tuple[Callable[[int], None], ...] = ()
        if commands.submitted:
            notes = tuple(commands.submitted)
            commands.submitted.clear()
        if self._repeat:
            self._kept = notes
        for note in notes:
            note(value)
        return value

    def _take_back(self, native: Any, last_signal: int) -> None:
        """Undo the notes about a submission that the driver refused."""
        if self._signal is not None:
            self._signal.last_signal = last_signal
        if native is not None:
            if not self._repeat:
                self._flying.pop()
            self._free.append(native)

    def _check_one_shots(self) -> None:
        """Check the one-shot semaphores, and set the ``VkSemaphore`` to wait for. Raises :class:`TurnError`."""
        signal = self._signal
        if signal is not None and signal.one_shot and signal.signalled:
            raise TurnError(
                "the semaphore still holds its last signal; export that before the next submission"
            )
        if isinstance(self._wait, SignalInlet):
            self._waits[0] = self._wait.native

    def _end_recording(self, native: Any) -> SubmitShape:
        """End the recording and return its ``VkSubmitInfo``."""
        commands = self._commands
        for child in commands.uses:
            child.check_open()
            if self._repeat:  # closing it ends the repetition
                child.add_dependent(self)
        shape = self._alone if self._repeat else self._full
        shape.buffers[shape.slot] = native
        if self._repeat:
            self._give(native, to_host=commands.seen_by_host)
        commands.stop()
        self._recording = None
        code = self._end(native)
        if code:
            self._free.append(native)
            check("vkEndCommandBuffer", code)
        return shape

    def _give(self, native: Any, *, to_host: bool) -> None:
        """Record the tail of a repeated recording. The host needs a barrier only if it may read the result."""
        context, gives = self.context, self._gives
        if not to_host:
            if not self._release:
                return
            gives = transfer(self._release, context.family, QUEUE_FAMILY_EXTERNAL, NULL)
        context.vk.vkCmdPipelineBarrier(native, *gives)

    def abandon(self) -> None:
        """Discard the recording. Without a recording nothing happens."""
        native = self._recording
        if native is not None:
            self._commands.stop()
            self._recording = None
            self._free.append(native)
            if not self.closed:
                check("vkResetCommandBuffer", self.context.vk.vkResetCommandBuffer(native, 0))

    def forget(self, child: Child) -> None:
        """Refuse every later use: ``child`` belongs to the submission and was closed."""
        self._missing = f"the {child.what} was closed; it belongs to this submission"

    def _check_usable(self) -> None:
        self.check_open()
        if self._missing:
            raise ClosedError(self._missing)

    def close(self) -> None:
        """Free the submission as soon as no submitted work uses it. A second call does nothing."""
        self._commands.stop()
        self._recording = None
        super().close()


def prepare(
    context: Context,
    acquire: Sequence[object] = (),
    release: Sequence[object] = (),
    wait: object = None,
    signal: object = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> PreparedSubmission:
    """Prepare a submission; see :meth:`interop.protocols.Producer.prepare`."""
    if isinstance(signal, SignalInlet):
        raise InvalidArgument("signal must not be a semaphore that imports signals; pass it as wait")
    signalled = _semaphore(context, "signal", signal)
    if signalled is not None and signalled.native == context.timeline.semaphore:
        raise InvalidArgument("signal must not be the progress timeline; every submission signals that one")
    return PreparedSubmission(
        context,
        [as_buffer(context, each) for each in acquire],
        [as_buffer(context, each) for each in release],
        _semaphore(context, "wait", wait),
        signalled,
        timeout,
    )


def _semaphore(context: Context, argument: str, given: object) -> VulkanSemaphore | None:
    if given is None:
        return None
    if not isinstance(given, VulkanSemaphore) or given.context is not context:
        msg = f"{argument} must be a semaphore of the producer on {context.info.name}, got {given!r}"
        raise InvalidArgument(msg)
    given.check_open()
    return given
