"""The conformance kit: what every backend must do, as tests that its author runs.

::

    pytest -p interop.testing.plugin --pyargs interop.testing.conformance --interop-backend=NAME

Needs pytest and NumPy; nothing else of interop imports this package.
"""

from __future__ import annotations

from interop.testing.leaks import Resources

__all__ = ["Resources"]
