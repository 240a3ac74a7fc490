#include "layer.h"
#include "cuda/driver.h"
#include "switches.h"

#include <cstdio>
#include <cstring>

namespace softgpu
{

namespace
{

Layer choose()
{
    const char *wanted = softgpu_switch("HIP_DEVICE", "auto");
    if (std::strcmp(wanted, "cpu") == 0)
        return Layer::Cpu;
    std::string why;
    if (cuda::cuda_device_count(&why) > 0)
        return Layer::Cuda;
    if (std::strcmp(wanted, "cuda") == 0) {
        // Without devices then: who asked for CUDA must not measure the CPU.
        fprintf(stderr, "softgpu hip: SOFTGPU_HIP_DEVICE=cuda, but there is no CUDA device: %s\n",
                why.c_str());
        return Layer::Cuda;
    }
    if (std::strcmp(wanted, "auto") != 0)
        fprintf(stderr, "softgpu hip: SOFTGPU_HIP_DEVICE is '%s': give cpu, cuda or auto\n", wanted);
    return Layer::Cpu;
}

} // namespace

Layer chosen_layer()
{
    static const Layer chosen = choose();
    return chosen;
}

} // namespace softgpu
