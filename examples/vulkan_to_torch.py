"""Vulkan computes a wave, PyTorch fades it out towards the edges, Vulkan draws it: one memory, no copy.

python examples/vulkan_to_torch.py [CONSUMER]        (default: cuda where PyTorch sees a GPU, else numpy)
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import interop

try:
    import torch  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError:
    sys.exit("this example needs PyTorch; see https://pytorch.org/get-started for your machine")

SIZE = 256  # heights per side of the grid
WAVE = Path(__file__).with_name("shaders").joinpath("wave.comp.spv").read_bytes()

consumer = sys.argv[1] if len(sys.argv) > 1 else "cuda" if torch.cuda.is_available() else "numpy"
with interop.connect("vulkan", consumer, path="zero-copy") as link:
    height = link.buffer(shape=(SIZE, SIZE), dtype="float32")
    wave = link.producer.create_compute(WAVE, buffers=1, push_constant_bytes=4)
    mesh = link.producer.create_mesh(SIZE, SIZE, width=640, height=480)
    with link.producer_turn(height) as commands:
        size = np.uint32(SIZE).tobytes()
        commands.dispatch(wave, [height], (SIZE // 16, SIZE // 16), size)
    with link.consumer_turn(height) as view:
        link.consumer.stream.synchronize(link.timeout)  # a CPU tensor knows no stream that could wait instead
        tensor = torch.from_dlpack(view)  # the shared memory itself
        window = torch.hann_window(SIZE, device=tensor.device)
        tensor *= torch.outer(window, window)
        if tensor.is_cuda:
            torch.cuda.synchronize()  # the turn ends when PyTorch is done
    with link.producer_turn(height) as commands:
        commands.draw(mesh, height)
    Image.fromarray(np.array(mesh.image(link.timeout))[:, :, :3]).save("vulkan_to_torch.png")
    print(f"{link.path.value} to {tensor.device} by {consumer}; the picture is in vulkan_to_torch.png")
