"""The OpenCL consumer: pyopencl, with cl_khr_external_memory and cl_khr_external_semaphore through ctypes.

Start reading at :mod:`interop_opencl.backend`.
"""
