"""Cases that must fail in the way that their driver is known for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from interop.protocols import DriverFault

FAULT: pytest.StashKey[DriverFault] = pytest.StashKey()
"""The known fault of this driver that a case must show."""
_SHOWN: pytest.StashKey[bool] = pytest.StashKey()
"""Whether it has, or the case ended in another way."""


def blame_driver(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> bool:
    """Take a failure that the driver is known for as expected, and one that did not come as a failure.

    Returns:
        Whether the report is about the former.
    """
    fault = item.stash[FAULT]
    if report.failed or report.skipped:
        # One failure is enough. A case that is skipped has not come to where the fault would show.
        item.stash[_SHOWN] = True
        if report.failed and call.excinfo is not None and fault.explains(call.excinfo.exconly()):
            report.outcome, report.wasxfail = "skipped", str(fault)
            return True
    elif report.when == "teardown" and not item.stash.get(_SHOWN, False):
        report.outcome = "failed"
        report.longrepr = f"this driver does not have the fault that it is declared with: {fault}"
    return False
