"""The binding: functions, structures and result codes of Vulkan.

The module imports the C declarations of the PyPI package ``vulkan`` and skips its Python wrappers (1.3.275.1). In the
wrappers, structures nested inline lose their strings and several error codes have the wrong sign and surface as
``KeyError``. The wrappers also look up each function at every call and take four times as long to import.
Here functions are raw pointers, looked up once per instance or device, and :func:`check` judges their results.
A program that uses the wrappers shares the same declarations.

cffi releases the GIL during every call through these pointers.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.util
import re
import sys
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any

from interop.protocols import BackendUnavailable, DriverError
from interop_vulkan._install import INSTALL_HINT

if TYPE_CHECKING:
    from collections.abc import Callable

_DECLARATIONS = "vulkan._vulkancache"
_LOADERS = ("libvulkan.so.1", "vulkan-1.dll", "libvulkan.dylib")


def _declarations() -> Any:
    """Import the package's module of declarations under its own name, and return its ``ffi``.

    A program that imports the whole package, before or after, gets the same ``ffi``. That matters, because cffi takes
    no objects of another ``ffi``. Frozen programs hide the module; then the whole package is imported. Raises
    :class:`ImportError`, and ``OSError`` from the package when there is no loader.
    """
    package = None if _DECLARATIONS in sys.modules else importlib.util.find_spec("vulkan")
    places = package.submodule_search_locations if package else None
    spec = importlib.machinery.PathFinder.find_spec(_DECLARATIONS, places) if places else None
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules.setdefault(_DECLARATIONS, module)  # another thread may have imported it meanwhile
    return importlib.import_module(_DECLARATIONS).ffi


def _open_loader(declarations: Any) -> Any:
    """Open the Vulkan loader. Its name differs between systems; the first that opens is taken."""
    for name in _LOADERS:
        with contextlib.suppress(OSError):
            return declarations.dlopen(name)
    raise OSError(f"none of {', '.join(_LOADERS)} can be opened")


class _Constants:
    """The enumerators of the declarations, each looked up on first use."""

    def __getattr__(self, name: str) -> int:
        value: int = ffi.integer_const(name)  # AttributeError for an unknown name
        setattr(self, name, value)
        return value


try:
    ffi: Any = _declarations()
    _loader: Any = _open_loader(ffi)
except ImportError as error:
    reason = f"the vulkan package cannot be imported ({error})"
    raise BackendUnavailable("vulkan", reason, INSTALL_HINT) from error
except OSError as error:
    reason = "no Vulkan loader (libvulkan.so.1, vulkan-1.dll) on this machine"
    raise BackendUnavailable("vulkan", reason, INSTALL_HINT) from error

NULL: Any = ffi.NULL
VK: Any = _Constants()
"""The enumerators: ``VK.VK_QUEUE_COMPUTE_BIT``."""

_RESULTS: dict[int, str] = ffi.typeof("VkResult").elements
# The package lacks these constants or has them with the wrong sign. Values from vulkan_core.h.
QUEUE_FAMILY_IGNORED = 0xFFFFFFFF
QUEUE_FAMILY_EXTERNAL = 0xFFFFFFFE
WHOLE_SIZE = 0xFFFFFFFFFFFFFFFF
API_VERSION_1_2 = (1 << 22) | (2 << 12)
API_VERSION_1_3 = (1 << 22) | (3 << 12)

_HINTS = {
    "VK_ERROR_OUT_OF_DEVICE_MEMORY": "ask for less, or free buffers first",
    "VK_ERROR_DEVICE_LOST": "the device crashed or was reset; open it anew",
    "VK_ERROR_INVALID_EXTERNAL_HANDLE": "the handle is not of the stated type, or came from another driver",
}


def check(function: str, result: int, *, hint: str = "") -> None:
    """Raise :class:`DriverError` for a negative ``VkResult``. Success and status codes pass."""
    if result < 0:
        name = _RESULTS.get(result, "unknown VkResult")
        raise DriverError(function, result, name, hint=hint or _HINTS.get(name, ""))


def _holding(made: Any, pointees: list[Any]) -> Any:
    """Return a structure that keeps its pointees alive. By itself it holds bare addresses only.

    The destructor holds the pointees and does nothing. It must not be Python code: Ctrl-C during a destructor is lost.
    """
    return ffi.gc(made, partial(is_, pointees)) if pointees else made


_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[0-9])(?=[A-Z][a-z])")


def structure_type(name: str) -> int:
    """Return the ``VkStructureType`` of a structure by its name."""
    words = "_".join(_WORDS.split(name.removeprefix("Vk"))).upper()
    words = words.replace("WIN_32", "WIN32").replace("VULKAN_1", "VULKAN_1_")
    value: int = getattr(VK, f"VK_STRUCTURE_TYPE_{words}")
    return value


@functools.cache
def _layout(name: str) -> tuple[Any, dict[str, Any], int | None]:
    """Return a structure's pointer type, the types of its fields, and its ``VkStructureType`` if it has one."""
    kinds = {field: info.type for field, info in ffi.typeof(name).fields}
    return ffi.typeof(f"{name} *"), kinds, structure_type(name) if "sType" in kinds else None


def struct(name: str, **fields: Any) -> Any:
    """Return a new structure: ``struct("VkBufferCreateInfo", size=16)`` returns a ``VkBufferCreateInfo *``.

    The function fills in ``sType``. A pointer field takes ``bytes`` (a C string), a sequence (an array) or another
    structure. The result keeps its pointees alive.
    """
    pointer, kinds, number = _layout(name)
    made = ffi.new(pointer)
    if number is not None:
        made.sType = number
    kept: list[Any] = []
    for field, given in fields.items():
        value = given
        if kinds[field].kind == "pointer":
            value = _pointer(kinds[field], given, kept)
            if given is not NULL:
                kept.append(given)
        elif kinds[field].kind in ("struct", "array", "union"):
            value = _by_value(given)
            kept.append(given)  # for its own pointees
        setattr(made, field, value)
    return _holding(made, kept)


def _by_value(given: Any) -> Any:
    """Return the structure behind a pointer; return an initialiser (dict, sequence) unchanged."""
    return given[0] if isinstance(given, ffi.CData) and ffi.typeof(given).kind == "pointer" else given


def _pointer(kind: Any, given: Any, kept: list[Any]) -> Any:
    if isinstance(given, bytes):
        made = ffi.new("char[]", given) if kind.item.cname == "char" else ffi.from_buffer(given)
    elif isinstance(given, (list, tuple)):
        if not given:
            return NULL
        if kind.item.kind == "pointer" and kind.item.item.cname == "char":
            texts = [ffi.new("char[]", text) for text in given]
            kept.extend(texts)
            made = ffi.new("char *[]", texts)
        else:
            is_struct = kind.item.kind == "struct"
            made = ffi.new(f"{kind.item.cname}[]", [_by_value(item) if is_struct else item for item in given])
    else:
        return given
    kept.append(made)
    return ffi.cast(kind, made)


def array(kind: str, values: list[Any] | int) -> Any:
    """Return a new C array: ``array("uint64_t", [1, 2])``."""
    return ffi.new(f"{kind}[]", values)


def text(field: Any) -> str:
    """Return the text of a ``char`` array."""
    return str(ffi.string(field).decode("utf-8", "replace"))


def address(handle: Any) -> int:
    """Return the integer value of a handle or pointer."""
    return int(ffi.cast("uintptr_t", handle))


class Functions:
    """The functions of one instance or device, each looked up in the driver on first use.

    ``functions.vkQueueSubmit`` is the raw pointer. It returns a ``VkResult`` for :func:`check`.
    """

    def __init__(self, look_up: Callable[[bytes], Any]) -> None:
        self._look_up = look_up

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("vk"):
            raise AttributeError(name)
        pointer = self._look_up(name.encode())
        if pointer == NULL:
            raise DriverError(name, -7, "VK_ERROR_EXTENSION_NOT_PRESENT", "the driver has no such function")
        function = ffi.cast(f"PFN_{name}", pointer)
        setattr(self, name, function)  # later look-ups skip __getattr__
        return function

    def has(self, name: str) -> bool:
        """Whether the driver has a function of that name."""
        return bool(self._look_up(name.encode()) != NULL)

    def create(self, name: str, kind: str, *args: Any) -> Any:
        """Call a function whose last parameter receives its result, and return the result.

        ``create("vkCreateFence", "VkFence", device, info, NULL)`` returns the fence.
        """
        made = ffi.new(f"{kind} *")
        check(name, getattr(self, name)(*args, made))
        return made[0]

    def enumerate(self, name: str, kind: str, *args: Any) -> Any:
        """Call a function that counts in its first call and fills an array in its second. Return the C array."""
        count = ffi.new("uint32_t *")
        function = getattr(self, name)
        result = VK.VK_INCOMPLETE
        found: Any = NULL
        while result == VK.VK_INCOMPLETE:  # entries may have been added between the two calls
            check(name, function(*args, count, NULL) or 0)
            found = ffi.new(f"{kind}[]", count[0])
            result = function(*args, count, found) or 0
            check(name, result)
        return found


_get_instance_function: Any = _loader.vkGetInstanceProcAddr


def instance_functions(instance: Any, get: Any = None) -> Functions:
    """Return the functions of an instance, or with ``NULL`` those that need none (``vkCreateInstance``, ...).

    ``get`` is the ``vkGetInstanceProcAddr`` of the loader that made the instance.
    """
    look_up = _get_instance_function if get is None else get
    return Functions(lambda name: look_up(instance, name))


def device_functions(instance_vk: Functions, device: Any) -> Functions:
    """Return the functions of a device, which skip the loader's dispatch."""
    get = instance_vk.vkGetDeviceProcAddr
    return Functions(lambda name: get(device, name))
