"""A buffer of slangpy, and a consumer that computes in it: slangpy's own Vulkan device is adopted.

pip install slangpy; python examples/own_slangpy.py --consumer opencl        (or hip, cuda: the same program)
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import argparse

import interop_vulkan
import numpy as np
import slangpy

import interop
from interop import Handle, HandleType

WORDS = 1 << 16
TWICE = """
KERNEL void twice(GLOBAL_MEM unsigned int *words)
{
    words[GLOBAL_ID(0)] *= 2u;
}
"""


def main() -> None:
    """Upload by slangpy, double by the consumer, download by slangpy, and look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="opencl", help="which API computes")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--adapter", type=int, default=0, help="number of slangpy's adapter")
    options = parser.parse_args()

    kind = slangpy.DeviceType.vulkan
    adapter = slangpy.Device.enumerate_adapters(kind)[options.adapter]
    device = slangpy.Device(type=kind, adapter_luid=adapter.luid)
    usage = slangpy.BufferUsage
    theirs = device.create_buffer(
        element_count=WORDS,
        struct_size=4,
        usage=usage.shared | usage.unordered_access | usage.copy_source | usage.copy_destination,
    )
    instance, physical, opened = device.native_handles

    with (
        interop_vulkan.adopt(
            instance=instance,
            physical_device=physical,
            device=opened,
            queue_family=0,  # slangpy takes the first queue of the first family that draws and computes
            api_version=(1, 2),
            features=["timelineSemaphore"],
        ) as producer,
        interop.connect(producer=producer, consumer=options.consumer) as link,
    ):
        print(link.explain())
        # slangpy exports the memory once, keeps the descriptor, and closes it with the buffer: lend a duplicate.
        descriptor = Handle(theirs.shared_handle.value, HandleType.OPAQUE_FD)
        adopted = producer.adopt_buffer(theirs.native_handle, descriptor, size=theirs.size)
        descriptor.detach()
        words = link.adopt(adopted, WORDS, "uint32")
        twice = link.consumer.compile(TWICE).kernel("twice")
        for frame in range(options.frames):
            sent = np.arange(frame, frame + WORDS, dtype=np.uint32)
            with link.queue_turn(words):
                encoder = device.create_command_encoder()
                encoder.upload_buffer_data(theirs, 0, sent)
                device.submit_command_buffer(encoder.finish())
            with link.consumer_turn(words) as view:
                twice(view, global_size=WORDS)
            with link.queue_turn(words):
                producer.wait_idle(
                    link.timeout
                )  # slangpy waits with Python's lock held, which a bridge needs
                seen = theirs.to_numpy().view(np.uint32)
            assert (seen == 2 * sent).all(), f"frame {frame}: {seen[:4]}"
        words.close()
        adopted.close()
        print(f"{options.frames} frames, {link.path.value}, all right")
    device.close()


if __name__ == "__main__":
    main()
