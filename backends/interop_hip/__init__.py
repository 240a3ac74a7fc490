"""HIP consumer for interop: Vulkan memory on AMD GPUs, and on other hardware with a HIP runtime.

``plugin`` declares the backend, ``backend`` lists devices, ``consumer`` and ``image`` fulfil the protocols with the
shared pieces of :mod:`interop.toolkit`. ``_runtime`` names HIP's functions, ``_driver`` alone uses the binding.
"""
