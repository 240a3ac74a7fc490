"""Several links at a time on this machine's devices: one buffer for all consumers, and a link for each thread.

python tests/device/links.py --consumers opencl,cuda
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))


def main() -> int:
    """Run each case and say what was wrong with it; 1 when anything was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumers", default="opencl", help="their names, with commas")
    parser.add_argument("--frames", type=int, default=960, help="a multiple of 8")
    options = parser.parse_args()
    consumers = options.consumers.split(",")
    many_links = importlib.import_module("many_links")
    failed = 0
    for sync in ("auto", "blocking"):
        cases = {
            f"one buffer for all, {sync}": (
                many_links.fan_out,
                {"consumers": [*consumers, consumers[0]], "count": options.frames, "path": None},
            )
        }
        for producer in ("shared", "adopted", "own"):
            said = {"consumers": consumers * 2, "producer": producer, "count": options.frames}
            cases[f"a link for each thread, producer {producer}, {sync}"] = (
                many_links.links_of_threads,
                said,
            )
        for name, (function, arguments) in cases.items():
            found = function(sync=sync, **arguments)
            wrong = [*found["wrong"], *found["left"]]
            failed += bool(wrong)
            print(f"{'FAIL' if wrong else 'ok  '} {name}", *wrong[:10], sep="\n     ", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
