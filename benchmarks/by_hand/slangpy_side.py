"""slangpy's own ways between Vulkan and CUDA, for ``peers.py``, which runs this as a process of its own.

    python benchmarks/by_hand/slangpy_side.py --sizes 65536,16777216 --frames 200 --out slangpy.jsonl

Vulkan is slangpy's device, made with ``enable_cuda_interop=True``; CUDA is PyTorch's, as slangpy has it. A frame is
filled by Vulkan, handed to CUDA and given back, and the caller waits for its end, in two ways:

- *shared buffer*: made with ``BufferUsage.shared`` and mapped for CUDA by ``Buffer.to_torch``, without a copy.
  ``sync_to_device`` lets CUDA's stream wait for what slangpy has submitted, and ``sync_to_cuda`` lets what it
  submits next wait for the stream: one timeline semaphore for both.
- *tensor*: a function of a module is called with a tensor as its result. slangpy makes a shared buffer in each
  call, copies the tensor there and back on CUDA, and waits for the semaphore in between.

The program by hand runs beside them, in turns, as the reference. Each line of the file is JSON: ``way`` with
``nbytes`` and ``times`` in microseconds, or with the ``reason`` why it is not there. Before a way is timed, CUDA
must have read what slangpy wrote.

A process of its own is needed: with a buffer, slangpy 0.43.1 closes the number of the descriptor that it exported.
CUDA has closed that at the import, so the number may be somebody else's by then; and on a driver that exports no
timeline semaphores its fence ends the process by SIGSEGV.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interop.cli._timing import wall
from interop.cli.bench._measure import Contestant, race
from interop.cli.bench._programs import frame_of, load

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
REFERENCE = "by hand, beside slangpy"
SHARED, TENSOR = "slangpy, shared buffer", "slangpy, tensor"
SOURCE = "int fill(int value) { return value; }"
BEFORE, AFTER = 3, 7
"""What a tensor holds before and after the first frame."""


class Peer:
    """slangpy's device, and PyTorch's stream on the same GPU."""

    def __init__(self, uuid: str, cuda: int) -> None:
        """Open both: the Vulkan device with this uuid in hexadecimal, or the first where it is empty.

        Raises what slangpy and PyTorch raise, and LookupError when the device is not among slangpy's.
        """
        import slangpy  # here, so that its absence is a reason like any other

        kind = slangpy.DeviceType.vulkan
        adapters = slangpy.Device.enumerate_adapters(kind)
        found = [each for each in adapters if not uuid or bytes(each.luid).hex() == uuid]
        if not found:
            names = ", ".join(f"{each.name} {bytes(each.luid).hex()}" for each in adapters) or "none at all"
            raise LookupError(f"no Vulkan device of slangpy's has the uuid {uuid!r}: there is {names}")
        self.slangpy: Any = slangpy
        # On Linux slangpy's "luid" is the uuid, by which it finds the GPU among CUDA's, too. Nothing else here checks
        # calls or looks for changed files, so neither does slangpy, which is faster than its defaults.
        self.device = slangpy.Device(
            type=kind,
            adapter_luid=found[0].luid,
            enable_cuda_interop=True,
            enable_rhi_validation=False,
            enable_hot_reload=False,
            compiler_options={"include_paths": [slangpy.SHADER_PATH]},
        )
        try:
            import torch

            torch.cuda.set_device(cuda)
            self.torch: Any = torch
            self.stream = torch.cuda.current_stream()
        except BaseException:
            self.device.close()
            raise

    def shared_buffer(self, size: int) -> Callable[[], object]:
        """Return a frame in a buffer that both sides see; the calls are in the order of the program by hand."""
        device, stream, number = self.device, self.stream, self.stream.cuda_stream
        usage = self.slangpy.BufferUsage
        buffer = device.create_buffer(size=size, usage=usage.shared | usage.unordered_access)
        tensor = buffer.to_torch(self.slangpy.DataType.uint8, [size])

        def frame() -> None:
            device.sync_to_device(number)
            device.sync_to_cuda(number)
            encoder = device.create_command_encoder()
            encoder.clear_buffer(buffer)
            submitted = device.submit_command_buffer(encoder.finish())
            device.wait_for_submit(submitted)
            stream.synchronize()

        tensor.fill_(BEFORE)
        frame()
        device.sync_to_device(number)
        self._expect(tensor, 0)
        return frame

    def tensor(self, size: int) -> Callable[[], object]:
        """Return a frame in a tensor that slangpy copies."""
        if self.slangpy.is_torch_bridge_using_fallback():
            self.slangpy.set_allow_torch_fallback(True)
        module = self.slangpy.Module(self.device.load_module_from_source(f"frame_{size}", SOURCE))
        fill, stream = module.fill, self.stream
        tensor = self.torch.full((size // 4,), BEFORE, dtype=self.torch.int32, device="cuda")

        def frame() -> None:
            fill(AFTER, _result=tensor)
            stream.synchronize()

        frame()
        self._expect(tensor, AFTER)
        return frame

    def _expect(self, tensor: Any, value: int) -> None:
        least, most = int(tensor.min()), int(tensor.max())
        if (least, most) != (value, value):
            raise RuntimeError(f"CUDA reads {least} to {most} where slangpy wrote {value}")

    def close(self) -> None:
        """Wait for both sides and free slangpy's."""
        self.stream.synchronize()
        self.device.close()


def reason(error: Exception) -> str:
    """Return an error's own words in a line: slangpy's go on with places in its source."""
    words = str(error).strip().splitlines() or ["without a word"]
    return f"{type(error).__name__}: {words[0]}"


def timed(peer: Peer, program: Any, size: int, frames: int, tell: Callable[..., None]) -> None:
    """Time all ways at one size, in turns; what they hold is free when this returns."""
    without = ", without slangpy-torch" if peer.slangpy.is_torch_bridge_using_fallback() else ""
    ways = {SHARED: peer.shared_buffer, TENSOR + without: peer.tensor}
    runs: dict[str, Contestant] = {}
    with ExitStack() as stack:
        for way, make in ways.items():
            try:
                runs[way] = Contestant(make(size), lambda: None, wall)
            except Exception as error:  # noqa: BLE001 - slangpy's errors have no common base
                tell(way=way, reason=reason(error))
        if program is not None:
            runs[REFERENCE] = Contestant(frame_of(program, size, stack), lambda: None, wall)
        race(list(runs.values()), frames)
        for way, run in runs.items():
            tell(way=way, nbytes=size, times=run.times)


def measure(options: argparse.Namespace, tell: Callable[..., None]) -> None:
    """Open everything, time it at all sizes, and ``tell`` each result."""
    with ExitStack() as stack:
        try:
            peer = Peer(options.uuid, options.cuda)
        except Exception as error:  # noqa: BLE001 - slangpy's and PyTorch's errors have no common base
            tell(way="slangpy", reason=reason(error))
            return
        stack.callback(peer.close)
        tell(versions={"slangpy": metadata.version("slangpy"), "torch": peer.torch.__version__})
        program = None
        try:
            made = load(HERE, "cuda")
            program = made(options.vulkan, options.cuda, timeline=options.timeline, pointers=False)
            stack.callback(program.close)
        except Exception as error:  # noqa: BLE001 - nor have the bindings'
            tell(way=REFERENCE, reason=reason(error))
        for size in map(int, options.sizes.split(",")):
            timed(peer, program, size, options.frames, tell)


def main() -> int:
    """Measure, one line for each result as it comes: what was told stays told if slangpy ends the process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="65536", help="bytes, comma-separated")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument(
        "--uuid", default="", help="of the Vulkan device, in hexadecimal; the first by default"
    )
    parser.add_argument("--vulkan", type=int, default=0, help="number of the Vulkan device by hand")
    parser.add_argument("--cuda", type=int, default=0, help="number of the CUDA device")
    parser.add_argument(
        "--timeline", action="store_true", help="timeline semaphores by hand, not binary ones"
    )
    parser.add_argument("--out", type=Path, help="a file for the results; standard output by default")
    options = parser.parse_args()
    with ExitStack() as stack:
        sink = stack.enter_context(options.out.open("w", encoding="utf-8")) if options.out else sys.stdout

        def tell(**result: Any) -> None:
            print(json.dumps(result), file=sink, flush=True)

        measure(options, tell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
