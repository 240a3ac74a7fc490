// Who closes an imported fd. AMD's runtime never does, CUDA's does on success and on some failures: the
// HIP_FD switch chooses (keep, consume, consume-always) whichever way the layer below behaves.
#ifndef SOFTGPU_HIP_FD_POLICY_H
#define SOFTGPU_HIP_FD_POLICY_H
#include "abi.h"

#include <functional>

namespace softgpu
{

// import gets the fd it may use; layer_takes_fd says whether its success closes that fd.
hipError_t import_fd(int fd, bool layer_takes_fd, const std::function<hipError_t(int)> &import);

} // namespace softgpu
#endif
