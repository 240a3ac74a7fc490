"""Descriptors that no driver handed out. Each function opens one, which the caller closes."""

from __future__ import annotations

import os
import tempfile


def dev_null() -> int:
    """A character device."""
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def event() -> int:
    """An anonymous inode, which many kinds of file share."""
    return os.eventfd(0)


def plain_memfd() -> int:
    """Memory of nobody, larger than any allocation here."""
    fd = os.memfd_create("stranger")
    os.ftruncate(fd, 65536)
    return fd


def small_memfd() -> int:
    """Memory of nobody, too small."""
    fd = os.memfd_create("stranger")
    os.ftruncate(fd, 2048)
    return fd


def regular_file() -> int:
    """A file on a disk."""
    with tempfile.TemporaryFile() as file:
        file.truncate(65536)
        return os.dup(file.fileno())


def directory() -> int:
    """No file at all."""
    return os.open(os.sep, os.O_RDONLY | os.O_CLOEXEC)


def end_of_pipe() -> int:
    """A pipe without a writer."""
    reading, writing = os.pipe()
    os.close(writing)
    return reading


EVERY = (dev_null, event, plain_memfd, small_memfd, regular_file, directory, end_of_pipe)
