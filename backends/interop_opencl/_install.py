"""What makes the OpenCL backend available."""

INSTALL_HINT = (
    "pip install 'gpu-interop[opencl]' and an OpenCL driver of your GPU's vendor "
    "(listed by clinfo, found through /etc/OpenCL/vendors)"
)
