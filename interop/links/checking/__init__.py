"""Checked links raise :class:`interop.protocols.Misuse` where a driver would return garbage or hang.

``connect(..., check=True)``, or ``INTEROP_CHECK=1`` in the environment, returns a :class:`CheckedLink`. It keeps
a model of every queue, semaphore and allocation of the process, and checks each call against the model:

- memory used outside its turn, without acquire, or after its link was closed;
- memory used by one queue without a wait for the work of another on it;
- binary semaphores waited for or signalled twice, or waited for with no signal enqueued;
- timelines whose value does not grow, whichever side signals;
- queues that wait for each other, also across links (a deadlock);
- an object closed while work may use it, and a link closed in an open turn.

The error is raised before the driver call. A :class:`interop.protocols.WaitTimeout` gets a note for each blocked
queue, which names the missing signal. Links without checks do not import this package.
"""

from __future__ import annotations

from interop.links.checking.link import CheckedLink

__all__ = ["CheckedLink"]
