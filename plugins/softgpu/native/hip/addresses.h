// Addresses as a copy sees them.
#ifndef SOFTGPU_HIP_ADDRESSES_H
#define SOFTGPU_HIP_ADDRESSES_H
#include <cstddef>

namespace softgpu
{

struct Located {
    void *address; // where the bytes really are
    bool known;    // in the pointer map; else pageable host memory
    bool shared;   // of an imported allocation that more than one buffer or image may be in
};

// false: the range is known and ends before address + size.
bool locate(const void *address, size_t size, Located *out);

} // namespace softgpu
#endif
