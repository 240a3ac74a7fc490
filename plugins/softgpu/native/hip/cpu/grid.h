#ifndef SOFTGPU_HIP_CPU_GRID_H
#define SOFTGPU_HIP_CPU_GRID_H
#include "../device.h"
#include "../kernel_abi.h"

namespace softgpu::cpu
{

// Runs every block of a launch and returns when all are done. Large grids are shared out to helper threads.
void run_grid(const softgpu_kernel &kernel, const char *packed, const LaunchShape &shape);

} // namespace softgpu::cpu
#endif
