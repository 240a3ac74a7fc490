"""What this tree costs in Python beside an older revision: bytecode instructions of turns, batches, imports, frames.

    python benchmarks/against.py REVISION --consumers hip,opencl,numpy --limit 1.0

``git worktree`` checks the revision out into a temporary folder. The same programs then run on both trees, in fresh
processes with the same drivers, bindings and entry points. ``--limit`` fails when a ratio of instructions is above it.
"""

from __future__ import annotations

import argparse
import json
import os
import site
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from costs import MODULES
from rich.console import Console
from rich.table import Table

from interop import registry

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parents[1]


def measure(tree: Path, consumer: str) -> dict[str, float]:
    """Run the programs on a tree, in fresh processes that find the tree's packages before installed ones."""
    folders = [tree, tree / "backends", *sorted(tree.glob("plugins/*/src")), *site.getsitepackages()]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONDONTWRITEBYTECODE": "",  # compiled by the first process, loaded by the last
        "INTEROP_SOFTGPU": "off",  # the parent has set the drivers' variables
    }
    found: dict[str, float] = {}
    for program in ("every", "first", "first"):
        command = [sys.executable, "-S", str(ROOT / "benchmarks/costs.py"), program, consumer]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        found |= json.loads(done.stdout)
    return found


@contextmanager
def checkout(revision: str) -> Generator[Path]:
    """Yield a folder with the tree of a revision; removed afterwards."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory(prefix="interop-against-") as folder:
        tree = Path(folder, "tree")
        subprocess.run([*git, "add", "--quiet", "--detach", tree, revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)


def main() -> int:
    """Print a table for each consumer. 1 when a ratio of instructions is above the limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", help="the older revision, as git takes it")
    parser.add_argument("--consumers", default="hip,opencl,numpy")
    parser.add_argument("--limit", type=float, default=float("inf"))
    options = parser.parse_args()
    registry.default().prepare_environment()
    console, missed = Console(), False
    with checkout(options.revision) as old:
        for consumer in options.consumers.split(","):
            before, now = measure(old, consumer), measure(ROOT, consumer)
            table = Table("bytecode instructions", options.revision, "this tree", "ratio", title=consumer)
            for what, count in before.items():
                ratio = now[what] / count
                table.add_row(what, f"{count:,.0f}", f"{now[what]:,.0f}", f"{ratio:.3f}")
                missed |= what != MODULES and ratio > options.limit
            console.print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
