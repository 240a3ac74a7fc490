"""Checked links: wrong use named before a driver answers it with garbage or a hang.

``connect(..., check=True)``, or ``INTEROP_CHECK=1`` in the environment, makes a :class:`CheckedLink`. It keeps
a model of every queue, semaphore and allocation of the process and holds each call against it:

- memory used outside its turn, or without acquire, or after its link was closed;
- memory used by one queue without a wait for the work of another on it;
- binary semaphores waited for or signalled twice, or waited for with no signal enqueued;
- timelines whose value does not grow, whichever side signals;
- queues that wait for each other, also across links (a deadlock);
- closing what work may still use, or a link in an open turn.

Each raises :class:`interop.protocols.Misuse` before the driver is called. A :class:`interop.protocols.WaitTimeout`
gets a note for each queue that waits for something nobody has signalled. Links that are not checked do not
know of this package: nothing of it is on their path.
"""

from __future__ import annotations

from interop.links.checking.link import CheckedLink

__all__ = ["CheckedLink"]
