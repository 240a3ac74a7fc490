"""The errors of interop, one tree. :mod:`interop.ipc` adds ``PeerError`` and its kinds.

::

    InteropError
    ├── RegistryError            a plugin is broken, misnamed, or registered twice
    ├── BackendUnavailable       not on this machine: says what to install
    │   └── UnknownBackend       no plugin registers that name: says which names exist
    ├── Unsupported              the device or its driver says no: says which capability
    │   ├── NoCommonHandleType   no memory path joins the two devices
    │   └── NoCommonSync         no way to order the two streams
    ├── DeviceMismatch           the two roles would run on different devices: names both
    ├── DriverError              a driver call failed: function, code, name and text kept
    ├── HandleError              the handle cannot be what the descriptor says (also ValueError)
    ├── InvalidArgument          a number, shape, type or range is wrong (also ValueError)
    ├── KernelError              the source or a launch is wrong
    │   ├── CompileError         with the caller's own line numbers
    │   └── ArgumentError        wrong count, type or grid (also TypeError)
    ├── TurnError                a turn or semaphore was used out of order
    │   └── Misuse               what ``connect(check=True)`` finds: names object, link, and what to do
    │       └── ClosedMisuse     used after its link was closed (also ClosedError)
    ├── ClosedError              used after close
    └── WaitTimeout              a bounded wait ended: says who was waited for (also TimeoutError)

What holds after each of them: an operation that raises has changed nothing that the caller can see.
Handles passed in are still open and still the caller's; nothing that the call made is left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class InteropError(Exception):
    """Base of every error that interop raises on purpose."""


class RegistryError(InteropError):
    """A plugin is broken, misnamed, or registers a name that is already taken."""


class BackendUnavailable(InteropError):
    """A backend cannot be used on this machine, usually because something is not installed.

    ``install_hint`` says what to do about it; it is part of the message too.
    """

    def __init__(self, backend: str, reason: str, install_hint: str = "") -> None:
        self.backend = backend
        self.reason = reason
        self.install_hint = install_hint
        hint = f"; to fix: {install_hint}" if install_hint else ""
        super().__init__(f"backend {backend!r} is not available: {reason}{hint}")


class UnknownBackend(BackendUnavailable):
    """No plugin registers a backend of that name and role."""

    def __init__(self, backend: str, role: str, known: Iterable[str], notes: Iterable[str] = ()) -> None:
        self.known = tuple(known)
        names = ", ".join(self.known) or "none"
        reason = "; ".join([f"no {role} of that name; there are: {names}", *notes])
        super().__init__(
            backend, reason, "install the plugin that provides it, or use one of the names above"
        )


class Unsupported(InteropError):
    """The device or its driver does not offer what was asked for.

    ``capability`` names it; ``reasons`` holds one line for each alternative that was tried.
    """

    def __init__(self, capability: str, reason: str = "", *, reasons: Sequence[str] = ()) -> None:
        self.capability = capability
        self.reasons = tuple(reasons)
        message = f"not supported: {capability}" + (f": {reason}" if reason else "")
        super().__init__("\n  - ".join([message, *self.reasons]))


class NoCommonHandleType(Unsupported):
    """No memory path joins the two devices; every candidate is listed with its reason."""


class NoCommonSync(Unsupported):
    """No synchronisation strategy joins the two devices; every candidate is listed with its reason."""


class DeviceMismatch(InteropError):
    """Producer and consumer are not proved to be the same physical device."""

    def __init__(self, producer: str, consumer: str, reason: str) -> None:
        self.producer = producer
        self.consumer = consumer
        super().__init__(
            f"{reason}\n  producer: {producer}\n  consumer: {consumer}\n"
            "name both devices (producer_device=..., consumer_device=...) if you know that they are one, "
            "or connect with path='staged' to copy between different devices"
        )


class DriverError(InteropError):
    """A driver call failed. The driver's own words are kept in the attributes."""

    def __init__(self, function: str, code: int, name: str = "", text: str = "", *, hint: str = "") -> None:
        self.function = function
        self.code = code
        self.name = name
        self.text = text
        self.hint = hint
        words = " ".join(part for part in (name, f"({text})" if text else "") if part)
        message = f"{function} returned {code}" + (f" {words}" if words else "")
        super().__init__(message + (f"; {hint}" if hint else ""))


class HandleError(InteropError, ValueError):
    """The handle is closed, negative, of another type, or cannot belong to the allocation described."""


class InvalidArgument(InteropError, ValueError):
    """A number, shape, element type or range is wrong; the offending value is in the message."""


class KernelError(InteropError):
    """The kernel source or a launch is wrong."""


class CompileError(KernelError):
    """The kernel source does not compile; ``log`` holds the compiler's words with the caller's line numbers."""

    def __init__(self, consumer: str, log: str) -> None:
        self.consumer = consumer
        self.log = log
        super().__init__(f"the {consumer} compiler refused the source:\n{log.strip()}")


class ArgumentError(KernelError, TypeError):
    """A kernel was called with a wrong number or type of arguments, or without a usable grid."""


class TurnError(InteropError):
    """A turn, or a wait or signal of a semaphore, came out of order."""


class ClosedError(InteropError):
    """An object was used after ``close()``, or after the link that owns it was closed."""


class Misuse(TurnError):
    """A wrong use that only a link made with ``connect(check=True)`` notices; drivers hang or give garbage.

    Raised before the driver is called. ``thing`` names the object and ``link`` its link, ``found`` says what
    was about to happen, ``expected`` what should hold, ``advice`` what to do.
    """

    def __init__(self, thing: str, link: str, found: str, expected: str, advice: str) -> None:
        self.thing = thing
        self.link = link
        self.found = found
        self.expected = expected
        self.advice = advice
        super().__init__(f"{thing} of {link}: {found}; expected: {expected}; {advice}")


class ClosedMisuse(Misuse, ClosedError):
    """Something of a link made with ``connect(check=True)`` was used after that link was closed."""


class WaitTimeout(InteropError, TimeoutError):
    """A bounded wait ended before the other side got there."""

    def __init__(self, waiting_for: str, seconds: float) -> None:
        self.waiting_for = waiting_for
        self.seconds = seconds
        super().__init__(f"waited {seconds:g} s for {waiting_for}")
