"""The tensors program with a library that never gives a tensor back: to see that it is found."""

from __future__ import annotations

import sys
from typing import Any


def run() -> None:
    """Go through two orders, then exit as the program does."""
    import tensors  # of tests/device

    kept: list[Any] = []

    class Leaky(tensors.NumPy):
        def take(self, view: Any) -> Any:
            kept.append(super().take(view))
            return kept[-1]

    tensors.LIBRARIES["numpy"] = Leaky
    sys.argv = ["tensors.py", "--frames=1", "--every=60"]
    sys.exit(tensors.main())
