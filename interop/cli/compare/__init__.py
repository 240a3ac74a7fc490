"""The measurements and the picture of ``interop compare``."""

from __future__ import annotations

__all__ = []
