"""Ask this machine's OpenCL driver what the specification leaves open, and print the answers as JSON.

    python tests/device/probes.py

Each question runs in a process of its own. Nothing is judged: docs/explanation/driver-behaviour.md says what is
known of which driver.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import fresh
import opencl_probes

QUESTIONS = (
    opencl_probes.lists,
    opencl_probes.kernel_without_acquire,
    opencl_probes.timeline_as_binary,
    opencl_probes.two_devices,
)


def main() -> None:
    """Ask everything."""
    answers: dict[str, object] = {}
    for question in QUESTIONS:
        done = fresh.attempt(question, {}, timeout=60)
        answers[question.__name__] = done.result if done.status == 0 else {"exit status": done.status}
    print(json.dumps(answers, indent=2))


if __name__ == "__main__":
    main()
