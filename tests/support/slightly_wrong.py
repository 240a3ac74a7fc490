"""A comparison in which the consumers compute something slightly else."""

from __future__ import annotations

from typing import Any

from interop.cli.compare import _measure as measure


def compare(consumer: str, wrong: str) -> dict[str, Any]:
    """Run ``interop compare``'s measurement with one expression of its kernel replaced by ``wrong``."""
    kernel = measure.WAVE
    measure.WAVE = kernel.replace("cos(10.0f * v + t)", wrong)
    changed = kernel != measure.WAVE
    settings = measure.Settings(frames=3, grid=32)
    result = measure.run(consumer, settings, lambda phase, frames: None)  # noqa: ARG005 - nobody watches
    return {
        "changed": changed,
        "correct": result.correct,
        "verified": result.verified_frames,
        "error": result.max_abs_error,
        "reason": result.reason,
    }
