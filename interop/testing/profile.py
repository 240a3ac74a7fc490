"""What a backend's author declares about the cases that do not pass."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformanceProfile:
    """Cases that a backend cannot pass, and cases that it does not pass yet; each with its reason.

    Returned by the hook ``interop_conformance_profile``. Keys are case names as the kit prints them, for
    instance ``"kernels::local_memory_and_barrier"``; ``*`` stands for anything, brackets for themselves. A
    key that fits no case is an error, so that a renamed case does not leave a dead declaration.
    """

    unsupported: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Permanent: the API has no such thing. The case is not run; the reason is printed."""
    expected_failures: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Temporary: the case is run and must fail. One that passes fails the run until it is taken off here."""


def find(case: str, declared: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the key that covers ``case`` and its reason, or ``None``."""
    for key, reason in declared.items():
        if fnmatch.fnmatchcase(case, key.replace("[", "[[]")):
            return key, reason
    return None
