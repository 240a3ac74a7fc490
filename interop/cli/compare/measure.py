"""The work that is compared, and its measurement for one consumer.

Each frame a consumer computes a travelling sine wave into memory that the producer owns; the producer draws
it and copies it to host memory, where it is held against NumPy. Speed is measured in runs of their own, with
nothing but the hand-overs, the kernel and an empty submission in them.
"""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from interop.cli._doctor import why
from interop.cli._timing import importer, reach, times
from interop.links import connect
from interop.protocols import InteropError, MeshProducer, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from interop.links import Buffer, Link
    from interop.protocols import GpuProducer, Kernel, MappedBuffer

    Advance = Callable[[str, int], None]
    Heights = npt.NDArray[np.float32]

WAVE = """
KERNEL void sinewave(GLOBAL_MEM float *height, int width, int rows, float t)
{
    int x = GLOBAL_ID(0), y = GLOBAL_ID(1);
    if (x >= width || y >= rows) return;
    float u = 2.0f * x / width - 1.0f, v = 2.0f * y / rows - 1.0f;
    height[y * width + x] = sin(10.0f * u + t) * cos(10.0f * v + t);
}
"""
FRAMES_PER_SECOND = 60.0
TOLERANCE = 2e-5
"""Largest difference from NumPy in double precision that counts as verified: float32 arguments reach 20, so
rounding them alone moves the sine by 2e-6."""
_KEPT = 12  # frames kept for the picture and for the comparison between consumers
_WARM_UP = 20
_WIDTH, _HEIGHT = 320, 240  # pixels of each picture


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSettings:
    """What to run."""

    producer: str = "vulkan"
    frames: int = 600
    grid: int = 256
    sync: str = "auto"
    path: str | None = None
    """The only memory path to accept; None accepts any."""
    handle_type: str | None = None
    """The only external handle type to accept; None accepts any."""
    timeout: float = 10.0
    """Seconds after which any wait gives up."""
    producer_device: str | None = None
    """The producer's device: index, or part of its name, uuid or PCI address."""
    consumer_device: str | None = None
    """The consumers' device, given likewise."""


@dataclass(slots=True, kw_only=True)
class Result:
    """What one consumer did. Figures are ``None`` where it was not available."""

    consumer: str
    available: bool = False
    reason: str = ""
    producer_device: str = ""
    device: str = ""
    software: bool = False
    device_match: str | None = None
    handle_type: str | None = None
    path: str | None = None
    to_consumer: str | None = None
    to_producer: str | None = None
    explanation: str = ""
    frames: int = 0
    verified_frames: int = 0
    max_abs_error: float | None = None
    import_us: float | None = None
    round_trip_median_us: float | None = None
    round_trip_p99_us: float | None = None
    frames_per_second: float | None = None
    staged_frames_per_second: float | None = None
    heights: dict[int, Heights] = field(default_factory=dict[int, "Heights"])
    pictures: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict[int, "npt.NDArray[np.uint8]"])

    @property
    def correct(self) -> bool:
        """Whether nothing that ran came out wrong. What is not available did not run."""
        return not self.available or (not self.reason and self.verified_frames == self.frames)


def wave(grid: int, t: float) -> npt.NDArray[np.float64]:
    """Return what every consumer should compute at time ``t``, in double precision."""
    axis = 2.0 * np.arange(grid) / grid - 1.0
    t32 = float(np.float32(t))
    return np.asarray(np.cos(10.0 * axis + t32)[:, None] * np.sin(10.0 * axis + t32)[None, :])


def kept_frames(frames: int) -> frozenset[int]:
    """Choose the frames that are kept for the picture and the comparison, spread evenly."""
    count = min(frames, _KEPT)
    return frozenset(int(index) for index in np.linspace(0, frames - 1, count))


def compare_consumer(consumer: str, settings: CompareSettings, advance: Advance) -> Result:
    """Measure one consumer. ``advance(phase, frames)`` is called as frames are done.

    A consumer that cannot be used here gives a result with the reason; one that fails while it runs gives a
    result that is available and not :attr:`Result.correct`.
    """
    result = Result(consumer=consumer)
    try:
        link = _connect(consumer, settings)
    except InteropError as error:
        result.reason = why(error)
        return result
    result.available = True
    try:
        with link:
            _describe(result, link)
            _verify(result, link, settings, advance)
            if link.plan.handle_type is not None:
                result.import_us = statistics.median(times(*importer(link, 4 * settings.grid**2)))
            spent, _ = _run(link, settings, settings.frames, advance, waits=True)
            result.round_trip_median_us = statistics.median(spent) * 1e6
            result.round_trip_p99_us = float(np.percentile(spent, 99)) * 1e6
            _, seconds = _run(link, settings, settings.frames, advance, waits=False)
            result.frames_per_second = settings.frames / seconds
        frames = max(1, settings.frames // 4)
        with _connect(consumer, settings, sync="auto", path="staged", handle_type=None) as link:
            _, seconds = _run(link, settings, frames, advance, waits=False)
            result.staged_frames_per_second = frames / seconds
    except InteropError as error:
        result.reason = f"{type(error).__name__}: {error}"
    return result


def _connect(consumer: str, settings: CompareSettings, **options: Any) -> Link:
    """Connect as the settings say; ``options`` replace single ones."""

    def choice(text: str | None) -> int | str | None:
        return int(text) if text is not None and text.isdecimal() else text

    asked: dict[str, Any] = {
        "producer_device": choice(settings.producer_device),
        "consumer_device": choice(settings.consumer_device),
        "sync": settings.sync,
        "path": settings.path,
        "handle_type": settings.handle_type,
        "timeout": settings.timeout,
    }
    return connect(settings.producer, consumer, **asked | options)


def _describe(result: Result, link: Link) -> None:
    plan = link.plan
    result.producer_device = plan.producer.name
    result.device = plan.consumer.name
    result.software = plan.consumer.software
    result.device_match = plan.match.value if plan.match else None
    result.handle_type = plan.handle_type.value if plan.handle_type else None
    result.path = plan.path.value
    result.to_consumer = plan.to_consumer.strategy.value
    result.to_producer = plan.to_producer.strategy.value
    result.explanation = link.explain()


def _prepare(link: Link, settings: CompareSettings) -> tuple[Buffer, Callable[[MappedBuffer, int], None]]:
    """Return a buffer of heights and a function that computes one frame into its view."""
    grid = settings.grid
    heights = link.buffer((grid, grid), "float32")
    kernel: Kernel = link.consumer.compile(WAVE).kernel("sinewave")
    extent = np.int32(grid)

    def compute(view: MappedBuffer, frame: int) -> None:
        kernel(view, extent, extent, np.float32(frame / FRAMES_PER_SECOND), global_size=(grid, grid))

    return heights, compute


def _verify(result: Result, link: Link, settings: CompareSettings, advance: Advance) -> None:
    """Hold every frame against NumPy. Raises :class:`Unsupported` where the producer draws no meshes."""
    if not isinstance(link.producer, MeshProducer):
        raise Unsupported("drawing", f"the {link.plan.producer.backend} producer has no create_mesh")
    link = cast("Link[GpuProducer]", link)
    grid = settings.grid
    heights, compute = _prepare(link, settings)
    mesh = link.producer.create_mesh(grid, grid, width=_WIDTH, height=_HEIGHT)
    readback = link.producer.create_buffer(heights.nbytes, host_visible=True)
    seen = np.frombuffer(readback.host_view(), np.float32, grid * grid).reshape(grid, grid)
    turn = link.producer_turn(heights)
    kept = kept_frames(settings.frames)
    worst = 0.0
    for frame in range(settings.frames):
        with link.consumer_turn(heights) as view:
            compute(view, frame)
        with turn as commands:
            commands.draw(mesh, heights)
            commands.copy(heights, readback)
        reach(link, turn.progress)
        error = float(np.max(np.abs(seen - wave(grid, frame / FRAMES_PER_SECOND))))
        worst = max(worst, error) if error == error else float("inf")  # noqa: PLR0124 - NaN is wrong, not small
        result.frames += 1
        result.verified_frames += error <= TOLERANCE
        if frame in kept:
            result.heights[frame] = seen.copy()
            result.pictures[frame] = np.array(mesh.image(link.timeout), dtype=np.uint8)
        advance("verify", 1)
    result.max_abs_error = worst
    del seen
    mesh.close()
    readback.close()


def _run(
    link: Link, settings: CompareSettings, frames: int, advance: Advance, *, waits: bool
) -> tuple[list[float], float]:
    """Run frames after a warm-up; return the seconds of each, and of all.

    A frame lasts from taking the consumer's turn to the producer's submission. With ``waits`` it lasts until the
    producer is done; without, nobody waits for single frames.
    """
    heights, compute = _prepare(link, settings)
    consumer_turn, producer_turn = link.consumer_turn(heights), link.producer_turn(heights)
    spent: list[float] = []
    begun = 0.0
    for frame in range(-_WARM_UP, frames):
        if frame == 0:
            link.synchronize()
            begun = time.perf_counter()
        start = time.perf_counter()
        with consumer_turn as view:
            compute(view, frame)
        with producer_turn:
            pass
        if waits:
            reach(link, producer_turn.progress)
        if frame >= 0:
            spent.append(time.perf_counter() - start)
            advance("round trip" if waits else "throughput", 1)
    link.synchronize()
    return spent, time.perf_counter() - begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far the results of two consumers are apart."""

    a: str
    b: str
    max_abs_difference: float
    frames: int
    speed_ratio: float | None
    """Frames per second of ``a`` over those of ``b``."""

    def __str__(self) -> str:
        apart = f"{self.max_abs_difference:.1e}"
        said = f"{self.a} and {self.b} differ by at most {apart} over {self.frames} frames"
        ratio = self.speed_ratio
        if ratio is None:
            return said
        faster, factor = (self.a, ratio) if ratio >= 1 else (self.b, 1 / ratio)
        return f"{said}; {faster} is {factor:.2f} times as fast"


def agreements(results: Sequence[Result]) -> list[Agreement]:
    """Compare each pair of consumers over the frames that were kept of both."""
    found: list[Agreement] = []
    for left, right in itertools.combinations(results, 2):
        common = sorted(left.heights.keys() & right.heights.keys())
        if not common:
            continue
        worst = max(float(np.max(np.abs(left.heights[frame] - right.heights[frame]))) for frame in common)
        ratio = None
        if left.frames_per_second and right.frames_per_second:
            ratio = left.frames_per_second / right.frames_per_second
        pair = {"a": left.consumer, "b": right.consumer}
        found.append(Agreement(**pair, max_abs_difference=worst, frames=len(common), speed_ratio=ratio))
    return found
