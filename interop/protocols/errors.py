"""The errors of interop, in one tree. `interop.ipc` adds `PeerError` and its kinds.

```text
InteropError
├── RegistryError            a plugin is broken, misnamed or registered twice
├── BackendUnavailable       the backend cannot run on this machine; says how to install it
│   └── UnknownBackend       no plugin registers the name; lists the names that exist
├── Unsupported              the device or its driver lacks a capability, which the error names
│   ├── NoCommonHandleType   no memory path joins the two devices
│   └── NoCommonSync         no synchronisation strategy joins the two devices
├── DeviceMismatch           producer and consumer are different devices, both named
├── DriverError              a driver call failed; keeps its function, code, name and text
├── HandleError              the handle contradicts its descriptor (also ValueError)
├── InvalidArgument          a number, shape, type or range is wrong (also ValueError)
├── KernelError              a kernel source or a launch is wrong
│   ├── CompileError         the compiler's words, with the caller's line numbers
│   └── ArgumentError        wrong count, type or grid (also TypeError)
├── TurnError                a turn or a semaphore was used out of order
│   └── Misuse               a finding of `connect(check=True)`; says what to do
│       └── ClosedMisuse     used after its link was closed (also ClosedError)
├── ClosedError              used after `close()`
└── WaitTimeout              a bounded wait ended (also TimeoutError)
```

A call that raises leaves no effect that the caller can see, unless its own documentation says otherwise. Handles
passed to the call stay open and stay the caller's. Objects that the call created are closed.

Errors keep their text and attributes through `pickle` and `copy`, and so through process pools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class InteropError(Exception):
    """Base class of all errors that interop raises on purpose."""

    def __reduce__(
        self,
    ) -> tuple[Callable[..., InteropError], tuple[type[InteropError], tuple[object, ...]], dict[str, object]]:
        # The default calls the class with the text alone, which most constructors here do not accept.
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: type[InteropError], args: tuple[object, ...]) -> InteropError:
    """Return an error of a class with these `args`, without calling its constructor."""
    error = kind.__new__(kind)
    error.args = args
    return error


class RegistryError(InteropError):
    """A plugin is broken, misnamed, or registers a name that another plugin has registered."""


class BackendUnavailable(InteropError):
    """A backend cannot run on this machine; usually a package, a driver or a device is missing.

    Args:
        backend: Name of the backend.
        reason: What is missing.
        install_hint: The command or package that makes the backend available. The message repeats it.
    """

    def __init__(self, backend: str, reason: str, install_hint: str = "") -> None:
        self.backend = backend
        self.reason = reason
        self.install_hint = install_hint
        hint = f"; to fix: {install_hint}" if install_hint else ""
        super().__init__(f"backend {backend!r} is not available: {reason}{hint}")


class UnknownBackend(BackendUnavailable):
    """No plugin registers a backend with this name and role.

    Args:
        backend: The name that was asked for.
        role: The role that was asked for.
        known: Registered names of that role.
        notes: Further reasons, for instance plugins that failed to import.
    """

    def __init__(self, backend: str, role: str, known: Iterable[str], notes: Iterable[str] = ()) -> None:
        self.known = tuple(known)
        names = ", ".join(self.known) or "none"
        reason = "; ".join([f"no plugin registers a {role} of this name; registered: {names}", *notes])
        hint = "install the plugin that provides it, or use a registered name"
        super().__init__(backend, reason, hint)


class Unsupported(InteropError):
    """The device or its driver lacks a capability.

    Args:
        capability: Name of the capability.
        reason: Why it is missing, in one line.
        reasons: One line for each alternative that was tried.
    """

    def __init__(self, capability: str, reason: str = "", *, reasons: Sequence[str] = ()) -> None:
        self.capability = capability
        self.reasons = tuple(reasons)
        message = f"not supported: {capability}" + (f": {reason}" if reason else "")
        super().__init__("\n  - ".join([message, *self.reasons]))


class NoCommonHandleType(Unsupported):
    """No memory path joins the two devices. `reasons` has one line for each path."""


class NoCommonSync(Unsupported):
    """No synchronisation strategy joins the two devices. `reasons` has one line for each strategy."""


class DeviceMismatch(InteropError):
    """Producer and consumer are not known to be one physical device.

    Args:
        producer: The producer's devices, as text.
        consumer: The consumer's devices, as text.
        reason: How their identities differ.
    """

    def __init__(self, producer: str, consumer: str, reason: str) -> None:
        self.producer = producer
        self.consumer = consumer
        self.reason = reason
        super().__init__(
            f"{reason}\n  producer: {producer}\n  consumer: {consumer}\n"
            "If both are one device, pass producer_device= and consumer_device=. "
            "To copy between two devices, connect with path='staged'."
        )


class DriverError(InteropError):
    """A driver call failed.

    Args:
        function: Name of the driver's function.
        code: Status that the function returned.
        name: Name of the status in the driver's header.
        text: The driver's own description.
        hint: A likely cause or the next step, where it is known.
    """

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
    """A handle is closed, negative, of another type, or contradicts the descriptor of its allocation."""


class InvalidArgument(InteropError, ValueError):
    """An argument is wrong: a number, shape, element type, choice or range. The text names it and its value."""


class KernelError(InteropError):
    """A kernel source or a launch is wrong."""


class CompileError(KernelError):
    """The compiler refused a kernel source.

    Args:
        consumer: Name of the consumer's backend.
        log: The compiler's words, with the caller's line numbers.
    """

    def __init__(self, consumer: str, log: str) -> None:
        self.consumer = consumer
        self.log = log
        super().__init__(f"the {consumer} compiler refused the source:\n{log.strip()}")


class ArgumentError(KernelError, TypeError):
    """A kernel call has a wrong number or type of arguments, or a wrong grid."""


class TurnError(InteropError):
    """A turn, or a wait or signal of a semaphore, is out of order."""


class ClosedError(InteropError):
    """An object was used after its own `close()`, or after the link that owns it was closed."""


class Misuse(TurnError):
    """A wrong use that only a link with `connect(check=True)` finds. The driver was not called.

    Without the check, drivers answer such a use with wrong data or never return.

    Args:
        thing: The object that was used.
        link: The link that owns it.
        found: The use that was about to happen.
        expected: The condition that it breaks.
        advice: What to do instead.
    """

    def __init__(self, thing: str, link: str, found: str, expected: str, advice: str) -> None:
        self.thing = thing
        self.link = link
        self.found = found
        self.expected = expected
        self.advice = advice
        super().__init__(f"{thing} of {link}: {found}; expected: {expected}; {advice}")


class ClosedMisuse(Misuse, ClosedError):
    """An object of a link with `connect(check=True)` was used after that link was closed."""


class WaitTimeout(InteropError, TimeoutError):
    """A bounded wait ended before the awaited work did.

    Args:
        waiting_for: The awaited work or object.
        seconds: Length of the wait in seconds.
    """

    def __init__(self, waiting_for: str, seconds: float) -> None:
        self.waiting_for = waiting_for
        self.seconds = seconds
        super().__init__(f"waited {seconds:g} s for {waiting_for}")
