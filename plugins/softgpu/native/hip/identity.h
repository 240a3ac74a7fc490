// What a device is reported to be: the layer's own answer, changed by the HIP_UUID, HIP_PCI, HIP_ARCH and
// HIP_WAIT_VALUE switches.
#ifndef SOFTGPU_HIP_IDENTITY_H
#define SOFTGPU_HIP_IDENTITY_H
#include "abi.h"

namespace softgpu
{

void reported_properties(int device, hipDeviceProp_tR0600 *out);
bool reported_attribute(int device, int attribute, int *out); // false: no such attribute
bool reports_pci(int device);
bool reports_wait_value(int device);
bool reports_timelines(int device); // semaphores of type 9; never in AMD's mode

} // namespace softgpu
#endif
