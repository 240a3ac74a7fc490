#ifndef SOFTGPU_HIP_EXTERNAL_H
#define SOFTGPU_HIP_EXTERNAL_H
#include "ranges.h"

namespace softgpu
{

// Ends a mapping whose range was already taken out of the pointer map.
hipError_t unmap_external(const Range &range);

} // namespace softgpu
#endif
