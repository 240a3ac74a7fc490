"""What this distribution tells ``interop``: software drivers, set up before any driver library is opened."""

from __future__ import annotations

from interop.hookspecs import hookimpl


@hookimpl
def interop_prepare_environment() -> list[str]:
    """Activate the software drivers where no hardware is found; report one line per thing done."""
    from interop_softgpu.activate import activate

    return list(activate().lines)
