"""CUDA consumer for interop: Vulkan memory and semaphores on NVIDIA GPUs.

``plugin`` declares the backend, ``backend`` lists devices, ``consumer`` and ``image`` fulfil the protocols with the
shared pieces of :mod:`interop.toolkit`. ``_runtime`` names CUDA's functions, ``_driver`` loads the driver.
"""
