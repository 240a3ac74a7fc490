"""``python -m interop``: the command line."""

from __future__ import annotations

from interop.cli import main

if __name__ == "__main__":
    main()
