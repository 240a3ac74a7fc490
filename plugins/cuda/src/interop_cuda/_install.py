"""How to install what the CUDA backend needs."""

INSTALL_HINT = (
    "pip install 'interop-cuda[cuda13]' (or [cuda12]), and NVIDIA's driver, which brings libcuda.so.1"
)
