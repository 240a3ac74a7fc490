"""``interop`` and ``python -m interop``: the command line, or what of it works without its packages."""

from __future__ import annotations

import sys

_OPTIONAL = frozenset({"click", "numpy", "PIL", "rich", "typer"})
"""What the extra ``cli`` brings."""


def main() -> None:
    """Run the command line. Where its packages are missing, ``doctor`` still reports, and the rest says what to do."""
    try:
        from interop.cli._app import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _OPTIONAL:
            raise
        sys.exit(_bare(error.name))
    run()


def _bare(missing: str) -> int:
    hint = f"the command line needs {missing}: pip install 'gpu-interop[cli]'"
    if sys.argv[1:] != ["doctor"]:
        sys.stderr.write(f"{hint}; without it there is 'interop doctor', without options\n")
        return 2
    from interop.cli._doctor import examine, lines

    for line in lines(examine()):
        sys.stdout.write("  " * line.depth + line.head + line.text + "\n")
    sys.stdout.write(f"{hint}\n")
    return 0
