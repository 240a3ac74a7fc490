"""HIP consumer for interop: Vulkan memory on AMD GPUs, and on whatever else speaks HIP's C interface.

``plugin`` declares the backend, ``backend`` lists and opens devices, ``memory``, ``semaphore``, ``stream``
and ``kernels`` fulfil the protocols of the core, ``_driver`` is the only place that meets the binding.
"""
