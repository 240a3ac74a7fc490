"""Check that the C side knows the drivers' private layouts: ``python -m interop_softgpu.selftest``.

SwiftShader's semaphores and memory and lavapipe's memory are no public interface: a new version may move
them. Every line printed is something that was seen to work through both sides; the first that does not
ends the program with status 1. Waits are bounded.
"""

# ruff: noqa: T201 - a command: printing is its output
from __future__ import annotations

import os
import sys
import time

from interop_softgpu.activate import activate
from interop_softgpu.native import PayloadError, Payloads, Status
from interop_softgpu.vulkan_objects import VulkanDevice

SIZE = 1 << 20
WAIT_S = 0.2
PATTERN = bytes(range(256)) * 4


class LayoutChanged(RuntimeError):
    """A driver's private layout is not the one that payload.c knows."""


def expect(truth: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Print the name of a passed check; raise :class:`LayoutChanged` for a failed one."""
    if not truth:
        raise LayoutChanged(what)
    print(f"  ok: {what}")


def check_semaphore(device: VulkanDevice, payloads: Payloads) -> None:
    """Signal and wait on each side, and see it on the other."""
    semaphore, fd = device.semaphore()
    payload = payloads.open(fd)
    os.close(fd)
    try:
        expect(not payload.signalled, "a new Vulkan semaphore reads as unsignalled")
        fence = device.submit(signal=semaphore)
        expect(device.finished(fence, 5.0), "a submission that signals it ends")
        device.destroy_fence(fence)
        expect(payload.signalled, "the payload shows Vulkan's signal")
        expect(payload.wait(5.0) is Status.OK, "the payload's wait takes it")
        expect(not payload.signalled, "and leaves it unsignalled")
        fence = device.submit(wait=semaphore)
        expect(not device.finished(fence, 0.1), "a Vulkan wait blocks on the unsignalled payload")
        payload.signal()
        expect(device.finished(fence, 5.0), "the payload's signal wakes Vulkan's wait")
        device.destroy_fence(fence)
        expect(not payload.signalled, "which takes the signal")
        begin = time.monotonic()
        expect(payload.wait(WAIT_S) is Status.TIMEOUT, "a wait without a signal times out")
        waited = time.monotonic() - begin
        expect(0.9 * WAIT_S < waited < 10 * WAIT_S, "after the time that it was given")
    finally:
        payload.close()
        device.destroy_semaphore(semaphore)


def check_own_semaphore(device: VulkanDevice, payloads: Payloads) -> None:
    """Let Vulkan import a payload that was made here."""
    payload, fd = payloads.create()
    semaphore = device.import_semaphore(fd)
    try:
        fence = device.submit(signal=semaphore)
        expect(device.finished(fence, 5.0), "Vulkan signals a semaphore that was made here")
        device.destroy_fence(fence)
        expect(payload.wait(5.0) is Status.OK, "and its payload is signalled")
    finally:
        device.destroy_semaphore(semaphore)
        payload.close()


def check_memory(device: VulkanDevice, payloads: Payloads) -> None:
    """Write on each side, and read it on the other."""
    memory = device.memory(SIZE)
    fd = memory.fd()
    payload = payloads.map(fd, SIZE)
    os.close(fd)
    try:
        expect(payload.size >= SIZE, f"{SIZE} bytes of Vulkan memory are {payload.size} bytes here")
        memory.view[: len(PATTERN)] = PATTERN
        memory.view[SIZE - len(PATTERN) :] = PATTERN
        expect(bytes(payload.view[: len(PATTERN)]) == PATTERN, "Vulkan's first bytes are the payload's first")
        expect(bytes(payload.view[SIZE - len(PATTERN) : SIZE]) == PATTERN, "and its last bytes the last")
        payload.view[: len(PATTERN)] = PATTERN[::-1]
        expect(bytes(memory.view[: len(PATTERN)]) == PATTERN[::-1], "Vulkan reads what the payload was given")
    finally:
        payload.close()
        memory.close()


def main() -> int:
    """Check the Vulkan CPU driver that the environment, or else :func:`activate`, selects."""
    print(activate())
    title, checks = "semaphores and memory", [check_semaphore, check_own_semaphore, check_memory]
    try:
        try:
            device = VulkanDevice()
        except LookupError as error:
            print(f"semaphores not checked: {error}")
            device, title, checks = VulkanDevice(semaphores=False), "memory", [check_memory]
        with device:
            print(f"{title}: {device.name}")
            payloads = Payloads()
            for check in checks:
                check(device, payloads)
    except (LayoutChanged, PayloadError) as error:
        print(f"NOT so: {error}\nThe driver's private layout changed; see payload.c.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
