"""``interop doctor --test``: send bytes to and fro over each path and strategy of a pair, and say what went wrong."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.links import connect
from interop.negotiation import MemoryPath, Strategy
from interop.protocols import HandleType, InteropError, NoCommonHandleType, NoCommonSync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop.links import Link
    from interop.negotiation import Plan

WORDS = 4096
FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTrial:
    """What became of one path and strategy."""

    path: str
    handle_type: str | None
    """How the memory travelled; None where it was staged."""
    sync: str
    passed: bool
    words: str
    """What was seen, or the error in its own words."""


def try_paths(plan: Plan, timeout: float) -> Iterator[PathTrial]:
    """Try each strategy over the memory of the plan, then over host memory where both sides have it, then staging.

    Each wait takes at most ``timeout`` s. A strategy that negotiation refuses is no trial and is left out: the plan
    has its reason.
    """
    host = HandleType.HOST_ALLOCATION
    shared = [plan.handle_type] if plan.handle_type not in (None, host) else []
    if host in plan.producer.capabilities.memory_export & plan.consumer.capabilities.memory_import:
        shared.append(host)
    for handle_type, strategy in [*itertools.product(shared, Strategy), (None, Strategy.BLOCKING)]:
        with contextlib.suppress(NoCommonSync, NoCommonHandleType):
            yield _try(plan, handle_type, strategy, timeout)


def _try(plan: Plan, handle_type: HandleType | None, strategy: Strategy, timeout: float) -> PathTrial:
    path = MemoryPath.STAGED if handle_type is None else MemoryPath.ZERO_COPY
    try:
        with connect(
            plan.producer.backend,
            plan.consumer.backend,
            producer_device=plan.producer.index,
            consumer_device=plan.consumer.index,
            path=path.value,
            handle_type=handle_type,
            sync=strategy.value,
            timeout=timeout,
        ) as link:
            trouble = _ping_pong(link, timeout)
    except (NoCommonSync, NoCommonHandleType):
        raise
    except InteropError as error:
        trouble = f"{type(error).__name__}: {error}"
    return PathTrial(
        path=path.value,
        handle_type=handle_type and handle_type.value,
        sync=strategy.value,
        passed=not trouble,
        words=trouble or f"{FRAMES} frames of {4 * WORDS} bytes, both ways, every byte right",
    )


def _ping_pong(link: Link, timeout: float) -> str:
    """Have each side write what the other reads, with other bytes in each frame; return what was wrong."""
    buffer = link.buffer(WORDS, "uint32")
    staging = link.producer.create_buffer(buffer.nbytes, host_visible=True)
    try:
        for frame in range(FRAMES):
            sent = (0x01020304 * (frame + 1)) & 0xFFFFFFFF
            with link.producer_turn(buffer) as commands:
                commands.fill(buffer, sent)
            came = bytearray(buffer.nbytes)
            answer = bytes((frame + 7 * i) & 0xFF for i in range(buffer.nbytes))
            with link.consumer_turn(buffer) as view:
                view.read(came, timeout=timeout)
                view.write(answer, timeout=timeout)
            if bytes(came) != sent.to_bytes(4, "little") * WORDS:
                return f"frame {frame}: the consumer read other bytes than the producer had written"
            with link.producer_turn(buffer) as commands:
                commands.copy(buffer, staging)
            link.producer.wait_idle(timeout)
            with staging.host_view() as view_of_host:
                if bytes(view_of_host[: buffer.nbytes]) != answer:
                    return f"frame {frame}: the producer read other bytes than the consumer had written"
    finally:
        link.producer.wait_idle(timeout)
        staging.close()
    return ""
