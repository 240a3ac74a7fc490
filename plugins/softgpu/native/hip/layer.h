// Which kind of device this process' HIP runs on.
#ifndef SOFTGPU_HIP_LAYER_H
#define SOFTGPU_HIP_LAYER_H

namespace softgpu
{

enum class Layer {
    Cpu,
    Cuda,
};

// By the HIP_DEVICE switch: cpu, cuda or auto, which is CUDA where its driver lists a device. Decided at the
// first call; libamdhip64 and libhiprtc each decide, in the same way.
Layer chosen_layer();

} // namespace softgpu
#endif
