"""Many frames through one consumer, every one verified, with what the process holds before and after.

    python tests/device/soak.py --consumer opencl --frames 100000

Each frame the producer fills a buffer with the frame's number, the consumer adds one to every word, and the
producer copies the result to host memory, where it is compared byte for byte. From the tenth part of the
frames to the last, the resident memory of the process and, on an NVIDIA GPU, the memory of the device must not
grow; at the end no descriptor, no thread and no device memory may be left behind. Prints one JSON object;
exits with 1 when a frame was wrong or something has grown or stayed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from device_memory import GRANULE, DeviceMemory

import interop
from interop import registry
from interop.protocols import is_driver
from interop.testing import leaks
from interop.testing._pair import Pair

BATCH = 64  # frames in flight before the host looks at them
WORDS = 16 * 1024  # 64 KiB
RESIDENT_KIB = 4096
"""Growth that is no leak: caches of the allocator and of the drivers. 100 bytes a frame are more, in 50,000."""
KEPT_BY_NVIDIAS_OPENCL = 130
"""Bytes a hand-over (580.159, on an H200), in a loop by hand in C++ that makes no event."""
DEVICE_BYTES = 4 * GRANULE
"""As above; another process on the same GPU counts too, so measure on an idle one."""
ADD = """
KERNEL void add_one(GLOBAL_MEM unsigned int *words, int count)
{
    int i = GLOBAL_ID(0);
    if (i < count) words[i] += 1u;
}
"""


def resident_kib() -> int:
    """Return the resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def run(consumer: str, frames: int, sync: Any, memory: DeviceMemory | None) -> dict[str, Any]:
    """Run the frames on one link and return the figures."""
    with interop.connect("vulkan", consumer, sync=sync) as link:
        buffer = link.buffer(WORDS, "uint32")
        results = [link.producer.create_buffer(buffer.nbytes, host_visible=True) for _ in range(BATCH)]
        seen = [np.frombuffer(result.host_view(), np.uint32, WORDS) for result in results]
        kernel = link.consumer.compile(ADD).kernel("add_one")
        count = np.int32(WORDS)
        wrong = 0
        start = time.monotonic()
        early = early_on_device = late = 0
        for first in range(0, frames, BATCH):
            batch = range(first, min(first + BATCH, frames))
            for frame in batch:
                with link.producer_turn(buffer) as commands:
                    commands.fill(buffer, frame)
                with link.consumer_turn(buffer) as view:
                    kernel(view, count, global_size=WORDS)
                with link.producer_turn(buffer) as commands:
                    commands.copy(buffer, results[frame - first])
            link.synchronize()
            wrong += sum(not bool((seen[frame - first] == frame + 1).all()) for frame in batch)
            late = resident_kib()
            if not early and first >= frames // 10:
                early, early_on_device = late, memory.used() if memory is not None else 0
        seconds = time.monotonic() - start
        device_growth = memory.used() - early_on_device if memory is not None else None
        explanation = link.explain()
        del seen
        for result in results:
            result.close()
    return {
        "consumer": consumer,
        "sync": sync,
        "frames": frames,
        "wrong": wrong,
        "frames_per_second": frames / seconds,
        "resident_growth_kib": late - early,
        "device_growth_bytes": device_growth,
        "explanation": explanation,
    }


def main() -> int:
    """Warm the drivers up with a short run, then run, and compare what is held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="opencl")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--sync", default="auto")
    options = parser.parse_args()
    pair = Pair.find(registry.default(), "vulkan", options.consumer)
    kept = KEPT_BY_NVIDIAS_OPENCL if is_driver(pair.consumer, "^NVIDIA CUDA") else 0
    memory = DeviceMemory.find(pair.producer.identity.uuid)
    for _ in range(2):
        run(options.consumer, 2 * BATCH, options.sync, memory)
    before, used = leaks.snapshot(), memory.used() if memory is not None else 0
    figures = run(options.consumer, options.frames, options.sync, memory)
    left = leaks.leaked_since(before)
    if memory is not None:
        stayed = memory.used() - used
        left += [f"{stayed} bytes of device memory"] if stayed > DEVICE_BYTES else []
        memory.close()
    figures["left_behind"] = left
    print(json.dumps(figures, indent=2))
    return 1 if figures["wrong"] or left or grown(figures, kept) else 0


def grown(figures: dict[str, Any], kept_a_frame: int = 0) -> bool:
    """Whether the memory of the process or of the device was not flat; says so.

    ``kept_a_frame``: bytes of the process that the driver keeps for each frame.
    """
    resident = RESIDENT_KIB + kept_a_frame * figures["frames"] // 1024
    found = [
        f"{name} is {figures[name]}, more than {limit}"
        for name, limit in (("resident_growth_kib", resident), ("device_growth_bytes", DEVICE_BYTES))
        if (figures[name] or 0) > limit
    ]
    for line in found:
        print(line, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
