"""What backends are made of: lifetimes, checks, views, kernels, import caches, gates. For backend authors.

The door loads a module when one of its names is first asked for. Loading all of them would add a third to the time
of ``import interop``, which needs five.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interop.toolkit.bases import ConsumerBase, EagerStream, KernelBase, ModuleBase
    from interop.toolkit.checks import ValueRule, check_image, check_import_memory, check_import_semaphore
    from interop.toolkit.command_list import CommandList
    from interop.toolkit.dlpack import DeviceType, alive, capsule, check_request
    from interop.toolkit.forks import (
        Orphan,
        check_connect,
        close_in_children,
        first_in_child,
        fork_generation,
    )
    from interop.toolkit.host_kernels import GROUP_LIMIT, build, find_compiler, translate
    from interop.toolkit.host_memory import IMPORTABLE, TIMEOUT, HostMemory, HostView
    from interop.toolkit.host_pages import PAGE, HostPages, Pins, keeper, view_of
    from interop.toolkit.import_cache import Imports, Share, Whole
    from interop.toolkit.kernel_source import (
        check_arguments,
        check_grid,
        parse_kernels,
        pick_source,
        unknown_kernel,
    )
    from interop.toolkit.notifications import HOLD, Notifications, tell
    from interop.toolkit.ownership import OPEN_TURN, WITH_CONSUMER, Owner, Ownership, OwnershipState
    from interop.toolkit.polling import Status, poll
    from interop.toolkit.resource import Children, Closable, Resource, adopt, undo_all
    from interop.toolkit.sigint import Deferred
    from interop.toolkit.views import BYTES, PART_ALIGNMENT, host_bytes, part_offsets, resolve

__all__ = [
    "BYTES",
    "GROUP_LIMIT",
    "HOLD",
    "IMPORTABLE",
    "OPEN_TURN",
    "PAGE",
    "PART_ALIGNMENT",
    "TIMEOUT",
    "WITH_CONSUMER",
    "Children",
    "Closable",
    "CommandList",
    "ConsumerBase",
    "Deferred",
    "DeviceType",
    "EagerStream",
    "HostMemory",
    "HostPages",
    "HostView",
    "Imports",
    "KernelBase",
    "ModuleBase",
    "Notifications",
    "Orphan",
    "Owner",
    "Ownership",
    "OwnershipState",
    "Pins",
    "Resource",
    "Share",
    "Status",
    "ValueRule",
    "Whole",
    "adopt",
    "alive",
    "build",
    "capsule",
    "check_arguments",
    "check_connect",
    "check_grid",
    "check_image",
    "check_import_memory",
    "check_import_semaphore",
    "check_request",
    "close_in_children",
    "find_compiler",
    "first_in_child",
    "fork_generation",
    "host_bytes",
    "keeper",
    "parse_kernels",
    "part_offsets",
    "pick_source",
    "poll",
    "resolve",
    "tell",
    "translate",
    "undo_all",
    "unknown_kernel",
    "view_of",
]

_NAMES = {
    "bases": ("ConsumerBase", "EagerStream", "KernelBase", "ModuleBase"),
    "checks": ("ValueRule", "check_image", "check_import_memory", "check_import_semaphore"),
    "command_list": ("CommandList",),
    "dlpack": ("DeviceType", "alive", "capsule", "check_request"),
    "forks": ("Orphan", "check_connect", "close_in_children", "first_in_child", "fork_generation"),
    "host_kernels": ("GROUP_LIMIT", "build", "find_compiler", "translate"),
    "host_memory": ("HostMemory", "HostView", "IMPORTABLE", "TIMEOUT"),
    "host_pages": ("HostPages", "PAGE", "Pins", "keeper", "view_of"),
    "import_cache": ("Imports", "Share", "Whole"),
    "kernel_source": ("check_arguments", "check_grid", "parse_kernels", "pick_source", "unknown_kernel"),
    "notifications": ("HOLD", "Notifications", "tell"),
    "ownership": ("OPEN_TURN", "Owner", "Ownership", "OwnershipState", "WITH_CONSUMER"),
    "polling": ("Status", "poll"),
    "resource": ("Children", "Closable", "Resource", "adopt", "undo_all"),
    "sigint": ("Deferred",),
    "views": ("BYTES", "PART_ALIGNMENT", "host_bytes", "part_offsets", "resolve"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load the module of a name, and keep the name here."""
    home = _HOME.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
