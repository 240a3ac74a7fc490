"""How to install what the backend needs."""

INSTALL_HINT = (
    "pip install 'gpu-interop[vulkan]'; the loader and a driver come from the system "
    "(Debian, Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers)"
)
