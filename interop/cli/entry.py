"""The entry point of ``interop`` and ``python -m interop``."""

from __future__ import annotations

import sys

_OPTIONAL = frozenset({"click", "numpy", "PIL", "rich"})
"""Packages of the extra ``cli``."""


def main() -> None:
    """Run the command line.

    Without the packages of the extra ``cli``, ``interop doctor`` still reports. Every other command says what to
    install.
    """
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
