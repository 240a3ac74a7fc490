"""CUDA consumer for interop: Vulkan memory and semaphores on NVIDIA GPUs.

``plugin`` declares the backend, ``backend`` lists and opens devices, ``memory``, ``semaphore``, ``stream``
and ``kernels`` fulfil the protocols of the core, ``_driver`` is the only place that meets the binding.
"""
