"""A comparison in which the consumers compute something slightly else."""

from __future__ import annotations

from typing import Any

from interop.cli.compare import measure


def compare(consumer: str, wrong: str) -> dict[str, Any]:
    """Run ``interop compare``'s measurement with one expression of its kernel replaced by ``wrong``."""
    kernel = measure.WAVE
    measure.WAVE = kernel.replace("cos(10.0f * v + t)", wrong)
    changed = kernel != measure.WAVE
    settings = measure.CompareSettings(frames=3, grid=32)
    result = measure.compare_consumer(consumer, settings, lambda phase, frames: None)  # noqa: ARG005 - nobody watches
    return {
        "changed": changed,
        "correct": result.correct,
        "verified": result.verified_frames,
        "error": result.max_abs_error,
        "reason": result.reason,
    }
