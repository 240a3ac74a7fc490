"""How to install what the HIP backend needs."""

INSTALL_HINT = (
    "pip install 'gpu-interop[hip]' and a ROCm runtime (libamdhip64.so, found through ROCM_PATH or /opt/rocm)"
)
