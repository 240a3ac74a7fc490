#include "addresses.h"
#include "runtime.h"
#include "switches.h"

namespace softgpu
{

bool locate(const void *address, size_t size, Located *out)
{
    *out = {const_cast<void *>(address), false, false};
    const auto range = runtime().ranges.containing(address);
    if (!range)
        return true;
    out->known = true;
    out->shared = range->kind == RangeKind::External && !range->external->dedicated;
    const auto inside = static_cast<size_t>(static_cast<const char *>(address) - range->start);
    if (size > range->size - inside)
        return false;
    // AMD before rocm-systems#1749 noted a mapping as its whole memory, so a copy counted from byte 0 of it.
    if (range->kind == RangeKind::External && softgpu_switch_is("HIP_OFFSET_BUG", "1", "0"))
        out->address = static_cast<char *>(out->address) - range->external_offset;
    return true;
}

} // namespace softgpu
