// Waiting for a word in memory that anybody may change, with or without telling.
#ifndef SOFTGPU_HIP_CPU_POLL_H
#define SOFTGPU_HIP_CPU_POLL_H
#include "../device.h"

namespace softgpu::cpu
{

void poll_until_met(const WaitValue &wait);

} // namespace softgpu::cpu
#endif
