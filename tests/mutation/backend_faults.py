"""Deliberate faults of a backend, each as a change of a few lines of its source.

A fault names the cases of the conformance kit, or the unit tests, that are about it. ``mutate.py`` puts the faults one
by one into a copy of the backend or the core and runs those cases: at least one has to fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that a careless author could have written."""

    name: str
    """What is wrong, in a few words; unique among the faults of its backend."""
    backend: str
    module: str
    """File that is changed, relative to the backend's package; ``interop/...`` for one of the core."""
    edits: tuple[tuple[str, str], ...]
    """Texts that occur exactly once in that file, and what stands there instead."""
    elsewhere: tuple[tuple[str, tuple[str, str]], ...] = ()
    """Further changes that it takes, each with its file: what is looked at twice must be overlooked twice."""
    cases: str
    """The kit's cases about it, or the unit tests', as an expression for pytest's ``-k``."""
    tests: tuple[str, ...] = ()
    """Files of unit tests, relative to the repository, that run in place of the kit."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Switches of the software drivers under which it shows."""

    def every_edit(self) -> list[tuple[str, tuple[str, str]]]:
        """Return all changes, each with its file."""
        return [*((self.module, edit) for edit in self.edits), *self.elsewhere]


def _numpy(
    name: str,
    module: str,
    cases: str,
    *edits: tuple[str, str],
    elsewhere: tuple[tuple[str, tuple[str, str]], ...] = (),
) -> Fault:
    return Fault(name=name, backend="numpy", module=module, cases=cases, edits=edits, elsewhere=elsewhere)


def _opencl(name: str, module: str, cases: str, *edits: tuple[str, str]) -> Fault:
    return Fault(name=name, backend="opencl", module=module, cases=cases, edits=edits)


def _hip(
    name: str,
    module: str,
    cases: str,
    *edits: tuple[str, str],
    elsewhere: tuple[tuple[str, tuple[str, str]], ...] = (),
) -> Fault:
    return Fault(name=name, backend="hip", module=module, cases=cases, edits=edits, elsewhere=elsewhere)


def _core(name: str, module: str, cases: str, *edits: tuple[str, str]) -> Fault:
    return Fault(name=name, backend="core", module=module, cases=cases, edits=edits, tests=_ENGINE_TESTS)


_ENGINE_TESTS = ("tests/unit/test_turns.py", "tests/unit/test_ring.py")
_REFUSED = "strangers_descriptor or larger_than_the_file or bad_handles"
_MAPPED = "views_of_views or offset_of_the_descriptor or write_to_a_part"
_CLOSED = "use_after_close or one_closed_view"
_ORDERED = "hold_until_release or release_ends_the_holds or failed_release"
_BOTH_WAYS = "producer_to_consumer or consumer_to_producer"
_AS_NVIDIA = {"SOFTGPU_CL_ERRORS": "nvidia", "SOFTGPU_CL_REFUSAL": "leak"}
"""An object comes with the refusal."""
_HOST = "interop/toolkit/host_memory.py"
_VIEWS = "interop/toolkit/views.py"
_DEVICE_MEMORY = "interop/toolkit/device_memory.py"
_DEVICE_STREAMS = "interop/toolkit/device_streams.py"
_SEMAPHORES = "interop/toolkit/semaphores.py"
_RUNTIME = "_runtime.py"
_KEPT = {"SOFTGPU_CL_ENFORCE_ACQUIRE": "1"}

NUMPY = (
    _numpy(
        "the descriptor is closed a second time",
        _HOST,
        "no_strangers_descriptor or many_cycles",
        (
            "return cls(mapping, size, stream, view, start=start)",
            (
                "memory = cls(mapping, size, stream, view, start=start)\n"
                "        memory._kept.append(fd)\n        return memory"
            ),
        ),
        (
            "    mapping = kept.pop()\n",
            (
                "    mapping = kept.pop()\n    if isinstance(mapping, int):\n        import os\n"
                "        try:\n            os.close(mapping)\n        except OSError:\n            pass\n"
                "        mapping = kept.pop()\n"
            ),
        ),
    ),
    _numpy(
        "the lent descriptor is never closed",
        _HOST,
        "many_cycles or success_consumes",
        ("lend(handle, FdFate.KEPT) as fd", "lend(handle, FdFate.TAKEN) as fd"),
    ),
    _numpy(
        "a refused handle is closed",
        _HOST,
        _REFUSED,
        (
            "start, held = payload(handle.value)",
            (
                "try:\n            start, held = payload(handle.value)\n"
                "        except HandleError:\n            handle.close()\n            raise"
            ),
        ),
    ),
    _numpy(
        "a handle stays open after a success",
        _HOST,
        "success_consumes",
        (
            "with lend(handle, FdFate.KEPT) as fd:",
            "with handle.dup() as other, lend(other, FdFate.KEPT) as fd:",
        ),
    ),
    Fault(
        name="no size is looked at",
        backend="numpy",
        module=_HOST,
        cases=_REFUSED,
        edits=(("if held < size:", "if False:"),),
        elsewhere=(
            (
                "interop/toolkit/checks.py",
                ("if 0 < status.st_size < descriptor.allocation_size:", "if False:"),
            ),
        ),
    ),
    _numpy(
        "any file is taken",
        _HOST,
        _REFUSED,
        (
            "if _SWIFTSHADER.fullmatch(name) and size > _SWIFTSHADER_PADDING:",
            "if size > _SWIFTSHADER_PADDING:",
        ),
    ),
    _numpy(
        "the descriptor's offset is ignored",
        "interop/toolkit/views.py",
        _MAPPED,
        ("start = descriptor.offset + offset", "start = offset"),
    ),
    _numpy(
        "views begin one byte late",
        _HOST,
        _MAPPED,
        ("return self._kept[0], self._start + first", "return self._kept[0], self._start + first + 1"),
    ),
    _numpy(
        "a view of a view forgets the outer offset",
        _VIEWS,
        _MAPPED,
        ("return self.part(first, shape", "return self.part(offset, shape"),
    ),
    _numpy(
        "a view may be longer than what it looks at",
        _VIEWS,
        "view_that_cannot_be or views_of_views",
        ("check_range(offset, nbytes, self._nbytes)", "check_range(offset, nbytes, 2 * self._nbytes)"),
    ),
    _numpy(
        "the last byte is not copied",
        _HOST,
        _BOTH_WAYS,
        (
            "mine, theirs = self.raw(), memoryview(host)",
            "mine, theirs = self.raw()[:-1], memoryview(host)[:-1]",
        ),
    ),
    _numpy(
        "copies do not wait for the stream",
        _HOST,
        "read_and_write_are_bounded",
        ("self.memory.stream.synchronize(timeout)", "pass"),
    ),
    _numpy(
        "closing twice raises",
        "interop/toolkit/resource.py",
        "close_twice or closing_in_any_order",
        ("if ended is not None:", "if True:"),
    ),
    _numpy(
        "closed memory is mapped",
        _HOST,
        _CLOSED,
        ("    mapping = kept.pop()\n", "    mapping = None\n"),
        ("        self.check_open()\n        return self._kept", "        return self._kept"),
        elsewhere=((_VIEWS, ("        self.memory.check_open()\n", "")),),
    ),
    _numpy(
        "a closed view is read",
        _VIEWS,
        _CLOSED,
        (
            "        self._closed = True\n        if self._owner:",
            "        self._closed = False\n        if self._owner:",
        ),
    ),
    _numpy(
        "use after close raises another error",
        "interop/toolkit/resource.py",
        _CLOSED,
        ("raise ClosedError(", "raise InteropError("),
    ),
    _numpy(
        "a hold is ignored",
        "stream.py",
        _ORDERED,
        ("self._worker.put(partial(self._worker.wait, value))", "pass"),
    ),
    _numpy(
        "a hold ends one value early",
        "stream.py",
        _ORDERED,
        ("lambda: self.released >= value", "lambda: self.released >= value - 1"),
    ),
    _numpy(
        "a failed release is dropped",
        "stream.py",
        _ORDERED,
        (
            "self._worker.release(value, failed=failed)",
            "None if failed else self._worker.release(value)",
        ),
    ),
    _numpy(
        "synchronize ignores its timeout",
        "stream.py",
        "synchronize_is_bounded",
        ("limit = min(timeout, _LONGEST)", "limit = _LONGEST"),
    ),
    _numpy(
        "synchronize waits for nothing",
        "stream.py",
        "synchronize_is_bounded or notifications_come",
        ("lambda: worker.done >= target, limit", "lambda: True, limit"),
    ),
    _numpy(
        "callbacks run in the caller's thread",
        "stream.py",
        "notifications_come or hold_until",
        ("self._worker.put(partial(self._worker.tell, callback, value, failed))", "callback(value)"),
    ),
    _numpy(
        "what failed work was to notify is dropped",
        "stream.py",
        "notification_behind or told_of_once",
        (
            "partial(self._worker.tell, callback, value, failed)",
            "partial(self._worker.unless_failed, partial(callback, value))",
        ),
    ),
    _numpy(
        "the worker's thread is left behind",
        "stream.py",
        "streams_are_closed_twice or closing_the_consumer",
        ("self.queue.put(None)", "pass"),
        ("self.native.join()", "pass"),
    ),
    _numpy(
        "a closed consumer leaves its streams open",
        "interop/toolkit/bases.py",
        "closing_the_consumer",
        ("        every.callback(children.close)\n", ""),
    ),
    _numpy(
        "a closed consumer imports",
        "interop/toolkit/bases.py",
        "closed_consumer_imports",
        (
            "            self.check_open()\n        return self._children.add(",
            "            pass\n        return self._children.add(",
        ),
        (
            "            self.check_open()\n        return self._stream",
            "            pass\n        return self._stream",
        ),
    ),
)

ENGINE = (
    _opencl(
        "the consumer does not wait for the producer",
        "interop/links/order.py",
        "do_not_block or ping_pong",
        ("                    if value > self.seen:", "                    if value < 0:"),
    ),
    _opencl(
        "the producer does not wait for the consumer",
        "interop/links/order.py",
        "do_not_block",
        (
            "                        turn.wait_value = self.to_producer.signal(stream)",
            "                        self.to_producer.signal(stream)\n                        turn.wait_value = 0",
        ),
    ),
    _opencl(
        "a consumer turn that ends leaves nothing to wait for",
        "interop/links/order.py",
        "do_not_block",
        ("                record.state = _LEFT", "                record.state = _FREE"),
    ),
    _opencl(
        "the producer takes a buffer out of an open turn",
        "interop/links/order.py",
        "wrong_turns",
        ('_check_states(turn, "producer")', "pass"),
    ),
    _opencl(
        "the consumer takes a buffer out of an open turn",
        "interop/links/order.py",
        "wrong_turns",
        ('_check_states(turn, "consumer")', "pass"),
    ),
    _opencl(
        "what a turn recorded before its exception is submitted",
        "interop/links/order.py",
        "exception_inside_a_producer_turn",
        ("            if failed:", "            if not turn:"),
    ),
    _opencl(
        "a second thread enters while a producer turn is open",
        "interop/links/order.py",
        "several_threads",
        ("self.turn = self.barred = turn", "self.turn = turn"),
    ),
)
"""The order engine of a link, seen through one backend."""

CORE = (
    _core(
        "the failure flag is not set",
        "interop/links/order.py",
        "cannot_begin_breaks_the_order or refuses_ends_the_ring",
        ("self.failure = self.barred = failure", "self.barred = failure"),
    ),
    _core(
        "a closed buffer is not forgotten",
        "interop/links/order.py",
        "kept_turns_of_a_closed_buffer",
        ("        record.close()\n", "        pass\n"),
    ),
    _core(
        "the consumer signals before it releases",
        "interop/links/order.py",
        "releases_before_it_signals",
        (
            "                        for release in case.leaving:\n",
            (
                "                        turn.wait_value = self.to_producer.signal(stream)\n"
                "                        for release in case.leaving:\n"
            ),
        ),
        (
            (
                "                            take_back(commands)\n"
                "                        turn.wait_value = self.to_producer.signal(stream)\n"
            ),
            "                            take_back(commands)\n",
        ),
    ),
    _core(
        "a timeline value is written before the submission fails",
        "interop/links/order.py",
        "submission_that_fails_leaves_the_record",
        (
            "            turn.progress, value = self.to_consumer.submit(",
            (
                "            for record in turn.records:\n                record.value += 1\n"
                "            turn.progress, value = self.to_consumer.submit("
            ),
        ),
    ),
    _core(
        "an open producer turn lets a ring batch through",
        "interop/links/order.py",
        "open_producer_turn_refuses_batches",
        (
            'if side == "consumer":\n            return True',
            'if side != "producer":\n            return True',
        ),
    ),
)
"""The order engine of a link, seen through its unit tests: they need no driver."""

OPENCL = (
    _opencl(
        "the number that the driver has taken is closed too",
        "_ownership.py",
        "no_strangers_descriptor or many_cycles",
        ("lend(handle, FdFate.TAKEN)", "lend(handle, FdFate.KEPT)"),
    ),
    _opencl(
        "the handle goes to the driver as it is, without a duplicate",
        "_ownership.py",
        "import or no_strangers_descriptor",
        (
            "with lend(handle, FdFate.TAKEN) as number:",
            "number = handle.detach()\n    if True:",
        ),
    ),
    _opencl(
        "the import is given the size of the part",
        "interop/protocols/memory.py",
        _MAPPED,
        (
            "return replace(self, offset=0, size=self.allocation_size)",
            "return replace(self, offset=0, allocation_size=self.size)",
        ),
    ),
    Fault(
        name="the result code is ignored",
        backend="opencl",
        module="_driver.py",
        cases=_REFUSED,
        edits=(("code = status.value", "code = 0"),),
        environment=_AS_NVIDIA,
    ),
    _opencl(
        "a view of a view forgets the outer offset",
        _VIEWS,
        _MAPPED,
        ("first = self.first + offset", "first = offset"),
    ),
    _opencl(
        "copies ignore the view's offset",
        "memory.py",
        _MAPPED,
        ("self.memory.whole, self.first, self._nbytes", "self.memory.whole, 0, self._nbytes"),
    ),
    _opencl(
        "four bytes too few are copied",
        "memory.py",
        _BOTH_WAYS,
        ("whole, self.first, self._nbytes", "whole, self.first, max(self._nbytes - 4, 1)"),
    ),
    _opencl(
        "a closed view is read",
        _VIEWS,
        _CLOSED,
        ("        if self._closed:\n", "        if False:\n"),
    ),
    _opencl(
        "the import is never released",
        "memory.py",
        "many_cycles",
        ("        release()\n\n\ndef _nothing", "\n\ndef _nothing"),
    ),
    Fault(
        name="acquire does nothing",
        backend="opencl",
        module="_ownership.py",
        cases="producer_to_consumer or ping_pong or recorded_frames",
        edits=(("return acquire()", "self._held = None\n            return 0"),),
        environment=_KEPT,
    ),
    Fault(
        name="release does nothing",
        backend="opencl",
        module="_ownership.py",
        cases="data_is_never_stale or ping_pong or recorded_frames",
        edits=(("code = release()", "code = 0"),),
        environment=_KEPT,
    ),
    _opencl(
        "a semaphore's wait is dropped",
        "semaphore.py",
        "semaphore or recorded_frames",
        ("return self._prepare(_WAIT, stream)", "return PreparedCall(int, int)"),
    ),
    _opencl(
        "a semaphore's signal is dropped",
        "semaphore.py",
        "producer_waits or two_streams or many_cycles",
        ("return self._prepare(_SIGNAL, stream)", "return PreparedCall(int, int)"),
    ),
    _opencl(
        "a semaphore waits twice",
        "semaphore.py",
        "consumer_waits or binary_wait",
        (
            "return self._prepare(_WAIT, stream)",
            (
                "made = self._prepare(_WAIT, stream)\n"
                "        return made._replace(call=lambda: made.call() or made.call())"
            ),
        ),
    ),
    _opencl(
        "a binary semaphore takes values",
        _SEMAPHORES,
        "takes_no_value",
        ("self.rule.check_wait, stream", "lambda _: 0, stream"),
    ),
    Fault(
        name="a timeline is taken for a binary semaphore",
        backend="opencl",
        module="consumer.py",
        cases="type_that_cannot_be_imported",
        edits=(("no_timelines = NO_TIMELINE", 'no_timelines = ""'),),
        elsewhere=(
            (
                "interop/toolkit/bases.py",
                (
                    "self.device.capabilities.importable(kind))",
                    "frozenset({descriptor.handle_type}))",
                ),
            ),
        ),
    ),
    _opencl(
        "a closed semaphore is used",
        "semaphore.py",
        "use_after_close",
        (
            "        self.check_open()\n        queue = ctypes.c_void_p(",
            "        queue = ctypes.c_void_p(",
        ),
    ),
    _opencl(
        "a semaphore takes any queue",
        "semaphore.py",
        "stream_of_another_consumer",
        (
            "ctypes.c_void_p(stream_address(stream, self._home.address))",
            "ctypes.c_void_p(getattr(stream, 'address', None))",
        ),
    ),
    _opencl(
        "a refused semaphore's handle is closed",
        "semaphore.py",
        "bad_handles",
        (
            '        address = _create(home, _CODES[handle.type], number, 0, imported="binary semaphore")',
            (
                "        try:\n"
                "            address = _create(home, _CODES[handle.type], number, 0)\n"
                "        except BaseException:\n"
                "            handle.close()\n"
                "            raise"
            ),
        ),
    ),
    _opencl(
        "holds end in the wrong order",
        "_events.py",
        _ORDERED,
        ("while self._events and self._events[0][0] <= value:", "while self._events:"),
    ),
    _opencl(
        "waiting is not bounded",
        "stream.py",
        "synchronize_is_bounded",
        ("busy=False, timeout=timeout", "busy=False, timeout=timeout + 600"),
    ),
    _opencl(
        "callbacks come in any order",
        "interop/toolkit/notifications.py",
        "notifications_come or closing_a_stream_makes",
        ("self._due.popleft()", "self._due.pop()"),
    ),
    _opencl(
        "a failed hold is forgotten by what is behind it",
        "interop/toolkit/notifications.py",
        "notification_behind or told_of_once",
        ("self._first_failed = self._released + 1", "pass"),
    ),
)

HIP = (
    _hip(
        "the runtime is taken to own the descriptor",
        _DEVICE_MEMORY,
        "many_cycles",
        ("lend(handle, runtime.fate)", "lend(handle, FdFate.TAKEN)"),
    ),
    _hip(
        "an import is undone after its success",
        _DEVICE_MEMORY,
        "close_twice or producer_to_consumer",
        (
            "        except BaseException:\n            undo_all(undo)\n            raise\n",
            "        finally:\n            undo_all(undo)\n",
        ),
    ),
    _hip(
        "the map has the length of the part",
        _RUNTIME,
        _MAPPED,
        ("whole.size = descriptor.allocation_size", "whole.size = descriptor.size // 2"),
    ),
    _hip(
        "addresses are one element late",
        _DEVICE_MEMORY,
        _MAPPED,
        ("return self.memory.address + self.first", "return self.memory.address + self.first + 4"),
    ),
    _hip(
        "a view of a view forgets the outer offset",
        _VIEWS,
        _MAPPED,
        ("return self.part(first, shape", "return self.part(offset, shape"),
    ),
    _hip(
        "a view may end four bytes late",
        _VIEWS,
        "view_that_cannot_be or views_of_views",
        ("check_range(offset, nbytes, self._nbytes)", "check_range(offset, nbytes, self._nbytes + 4)"),
    ),
    _hip(
        "one byte too few is copied",
        _RUNTIME,
        _BOTH_WAYS,
        ("self._copy(target, source, nbytes, ", "self._copy(target, source, nbytes - 1, "),
    ),
    _hip(
        "reads return before the copy is done",
        "interop/toolkit/streams.py",
        "read_and_write_are_bounded",
        ("        self.synchronize(timeout)\n", ""),
        ("self.synchronize(max(deadline - time.monotonic(), 0.0))", "pass"),
    ),
    _hip(
        "a closed view is read",
        _VIEWS,
        _CLOSED,
        ("        if self._closed:\n", "        if False:\n"),
    ),
    _hip(
        "the import is never given back",
        _DEVICE_MEMORY,
        "many_cycles",
        ("        if external is not None:\n", "        if False:\n"),
        ("        every.callback(runtime.call, runtime.free, address)", "        pass"),
    ),
    _hip(
        "closing twice frees twice",
        _DEVICE_MEMORY,
        "close_twice or closing_in_any_order",
        ("release, self._release = self._release, _nothing", "release = self._release"),
        elsewhere=(
            (
                "interop/toolkit/import_cache.py",
                (
                    "shared.shares.discard(token)\n",
                    "shared.shares.discard(token)\n            shared.whole.close()\n",
                ),
            ),
        ),
    ),
    _hip(
        "a semaphore waits for one less",
        _SEMAPHORES,
        "timeline_wait",
        (
            "self.prepare_wait, self.rule.check_wait, ",
            "self.prepare_wait, lambda value: max((value or 0) - 1, 0), ",
        ),
    ),
    _hip(
        "a semaphore signals one more",
        _SEMAPHORES,
        "timeline_wait",
        (
            "self.prepare_signal, self.rule.check_signal, ",
            "self.prepare_signal, lambda value: (value or 0) + 1, ",
        ),
    ),
    _hip(
        "a semaphore's wait is dropped",
        _SEMAPHORES,
        "wait_does_not_block or binary_wait",
        ("return self._prepare(self._runtime.wait_semaphores, stream)", "return PreparedCall(int, int)"),
    ),
    _hip(
        "a semaphore's signal is dropped",
        _SEMAPHORES,
        "producer_waits or two_streams",
        ("return self._prepare(self._runtime.signal_semaphores, stream)", "return PreparedCall(int, int)"),
    ),
    _hip(
        "a list waits for nothing and signals nothing",
        "interop/toolkit/command_list.py",
        "recorded_frames",
        (
            "        if values is not None and prepared.value",
            "        if values is not None:\n            return\n        if prepared.value",
        ),
    ),
    _hip(
        "a list launches nothing",
        "interop/toolkit/command_list.py",
        "recorded_frames",
        ("self._add(launch.prepare_call(), launch=True)", "pass"),
    ),
    _hip(
        "a timeline is signalled with any value",
        _SEMAPHORES,
        "values_that_grow or takes_no_value",
        ("self.prepare_signal, self.rule.check_signal, ", "self.prepare_signal, lambda value: value or 0, "),
    ),
    _hip(
        "a refused semaphore's handle is closed",
        "interop/toolkit/device_consumers.py",
        "bad_handles",
        (
            "            address = runtime.import_semaphore(number, handle.type, descriptor.kind)\n",
            (
                "            try:\n"
                "                address = runtime.import_semaphore(number, handle.type, descriptor.kind)\n"
                "            except Exception:\n                handle.close()\n                raise\n"
            ),
        ),
    ),
    _hip(
        "a refusal is an error of another type",
        "interop/toolkit/device_consumers.py",
        "bad_handles",
        (
            "            address = runtime.import_semaphore(number, handle.type, descriptor.kind)\n",
            (
                "            try:\n"
                "                address = runtime.import_semaphore(number, handle.type, descriptor.kind)\n"
                "            except Exception as error:\n                raise OSError(str(error)) from error\n"
            ),
        ),
    ),
    _hip(
        "a hold is ignored",
        _RUNTIME,
        _ORDERED,
        ("code = self._wait(self._stream, word, number, _GREATER_OR_EQUAL, _ALL_BITS)", "code = 0"),
    ),
    _hip(
        "a release ends the next hold too",
        _RUNTIME,
        _ORDERED,
        ("else gate_words(value)", "else gate_words(value + 1)"),
    ),
    _hip(
        "an event is never destroyed",
        _DEVICE_STREAMS,
        "streams_are_closed_twice or closing_the_consumer or synchronize_is_bounded",
        ("            runtime.call(runtime.event_destroy, event)\n", "            pass\n"),
    ),
    _hip(
        "a module is never unloaded",
        "interop/toolkit/device_kernels.py",
        "saxpy",
        ("runtime.call(runtime.unload_module, address)", "pass"),
    ),
    _hip(
        "a closed stream takes its holds for ended in good order",
        _DEVICE_STREAMS,
        "closing_a_stream_makes",
        ("    owed.releasing(ALL_HOLDS, failed=True)\n", ""),
    ),
    _hip(
        "synchronize returns while work is going on",
        _DEVICE_STREAMS,
        "synchronize_is_bounded",
        ("if code == 0:\n            return", "if code in (0, runtime.not_ready):\n            return"),
    ),
)

EVERY = (*NUMPY, *OPENCL, *ENGINE, *CORE, *HIP)
