"""A travelling wave: computed by any consumer into memory that Vulkan owns, drawn by Vulkan.

python examples/sinewave.py --consumer opencl        (or hip, cuda, numpy: the same program)
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

import interop

SINE = """
KERNEL void sinewave(GLOBAL_MEM float *height, int width, int rows, float t)
{
    int x = GLOBAL_ID(0), y = GLOBAL_ID(1);
    if (x >= width || y >= rows) return;
    float u = 2.0f * x / width - 1.0f, v = 2.0f * y / rows - 1.0f;
    height[y * width + x] = sin(10.0f * u + t) * cos(10.0f * v + t);
}
"""


def main() -> None:
    """Compute and draw, then say what the memory took and save the last picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="opencl", help="which API computes the heights")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", type=int, default=256, help="heights per side of the grid")
    parser.add_argument("--png", default="sinewave.png", help="where the last picture goes")
    options = parser.parse_args()
    size = options.size

    with interop.connect(producer="vulkan", consumer=options.consumer) as link:
        print(link.explain())
        height = link.buffer(shape=(size, size), dtype="float32")
        mesh = link.producer.create_mesh(size, size, width=640, height=480)
        sinewave = link.consumer.compile(SINE).kernel("sinewave")
        for frame in range(options.frames):
            with link.consumer_turn(height) as view:
                sinewave(
                    view, np.int32(size), np.int32(size), np.float32(frame / 60), global_size=(size, size)
                )
            with link.producer_turn(height) as commands:
                commands.draw(mesh, height)
        picture = np.array(mesh.image(link.timeout))
    Image.fromarray(picture[:, :, :3]).save(options.png)
    print(f"{options.frames} frames, {link.path.value}, last one in {options.png}")


if __name__ == "__main__":
    main()
