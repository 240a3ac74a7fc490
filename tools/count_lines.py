"""Lines of code per room and backend: without docstrings, comments and blank lines.

    python tools/count_lines.py                     the working tree
    python tools/count_lines.py --against REVISION  beside an older revision
    python tools/count_lines.py --modules           each module of the core, longest first

Counts the installed code: ``interop/`` without its conformance cases, ``backends/`` and ``plugins/*/src``.
"""

from __future__ import annotations

import argparse
import ast
import io
import statistics
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
_IGNORED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def lines_of_code(source: str) -> int:
    """Return the number of lines that hold code; docstrings and strings that stand alone are no code."""
    texts: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            texts |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _IGNORED:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - texts)


def place_of(name: str) -> str | None:
    """Return the row that a file counts for, or None for a file that is not counted."""
    parts = PurePosixPath(name).parts
    if not name.endswith(".py"):
        return None
    if parts[0] == "interop":
        if "conformance" in parts:
            return None
        return f"interop/{parts[1]}" if len(parts) > 2 else "interop"  # noqa: PLR2004 - a folder below interop
    if parts[0] == "backends":
        return parts[1]
    if parts[0] == "plugins" and len(parts) > 3 and parts[2] == "src":  # noqa: PLR2004 - plugins/NAME/src/PACKAGE
        return parts[3]
    return None


def tree(revision: str | None) -> dict[str, int]:
    """Return the lines of code of each counted file, of the working tree or of a revision."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout

    if revision is None:
        listed = git("ls-files", "--cached", "--others", "--exclude-standard", "*.py").splitlines()
        names = [name for name in listed if (ROOT / name).exists()]
    else:
        names = git("ls-tree", "-r", "--name-only", revision).splitlines()
    found: dict[str, int] = {}
    for name in names:
        if place_of(name) is not None:
            text = (
                (ROOT / name).read_text(encoding="utf-8")
                if revision is None
                else git("show", f"{revision}:{name}")
            )
            found[name] = lines_of_code(text)
    return found


def rows(files: dict[str, int]) -> Counter[str]:
    """Add the files up by place, with the sums that limits are set for."""
    sums: Counter[str] = Counter()
    for name, lines in files.items():
        place = place_of(name)
        assert place is not None
        sums[place] += lines
        if place.startswith("interop/") or place == "interop":
            sums["interop, all rooms"] += lines
        sums["all"] += lines
    return sums


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="REVISION", help="show a second column for this revision")
    parser.add_argument("--modules", action="store_true", help="list the modules of the core, longest first")
    options = parser.parse_args()
    files = tree(None)
    core = {
        name: lines
        for name, lines in files.items()
        if name.startswith("interop/") and not name.endswith("__init__.py")
    }
    if options.modules:
        for name, lines in sorted(core.items(), key=lambda item: -item[1]):
            print(f"{lines:6}  {name}")
        return 0
    now, before = rows(files), rows(tree(options.against)) if options.against else Counter[str]()
    head = f"{'':24}{options.against[:12]:>14}{'now':>10}" if options.against else f"{'':24}{'lines':>10}"
    print(head)
    for place in sorted(now | before, key=lambda name: (name == "all", name)):
        figures = (
            f"{before[place] or '-':>14}{now[place] or '-':>10}" if options.against else f"{now[place]:>10}"
        )
        print(f"{place:24}{figures}")
    middle = statistics.median(core.values())
    print(f"core modules: {len(core)}, median {middle:g}, longest {max(core.values())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
