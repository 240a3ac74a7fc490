"""Structures of HIP's images (``hip/driver_types.h``), for the functions that are called without hip-python."""

from __future__ import annotations

import ctypes


class ChannelFormat(ctypes.Structure):
    """``hipChannelFormatDesc``."""

    _fields_ = (("bits", ctypes.c_int * 4), ("kind", ctypes.c_int))


class Extent(ctypes.Structure):
    """``hipExtent``."""

    _fields_ = (("width", ctypes.c_size_t), ("height", ctypes.c_size_t), ("depth", ctypes.c_size_t))


class Position(ctypes.Structure):
    """``hipPos``."""

    _fields_ = (("x", ctypes.c_size_t), ("y", ctypes.c_size_t), ("z", ctypes.c_size_t))


class PitchedPointer(ctypes.Structure):
    """``hipPitchedPtr``."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("pitch", ctypes.c_size_t),
        ("width", ctypes.c_size_t),
        ("height", ctypes.c_size_t),
    )


class MipmappedArrayDesc(ctypes.Structure):
    """``hipExternalMemoryMipmappedArrayDesc``."""

    _fields_ = (
        ("offset", ctypes.c_uint64),
        ("format", ChannelFormat),
        ("extent", Extent),
        ("flags", ctypes.c_uint),
        ("levels", ctypes.c_uint),
    )


class Memcpy3D(ctypes.Structure):
    """``hipMemcpy3DParms``. The extent counts texels where an array takes part, else bytes."""

    _fields_ = (
        ("source_array", ctypes.c_void_p),
        ("source_position", Position),
        ("source", PitchedPointer),
        ("target_array", ctypes.c_void_p),
        ("target_position", Position),
        ("target", PitchedPointer),
        ("extent", Extent),
        ("kind", ctypes.c_int),
    )


for _structure, _size in ((MipmappedArrayDesc, 64), (Memcpy3D, 160)):
    if ctypes.sizeof(_structure) != _size:
        raise ImportError(f"{_structure.__name__} has {ctypes.sizeof(_structure)} bytes, HIP says {_size}")
