#include "ranges.h"

namespace softgpu
{

bool Ranges::add(Range range)
{
    const std::lock_guard<std::mutex> guard(mutex_);
    const char *start = range.start;
    return ranges_.emplace(start, std::move(range)).second;
}

std::optional<Range> Ranges::containing(const void *address)
{
    const char *wanted = static_cast<const char *>(address);
    const std::lock_guard<std::mutex> guard(mutex_);
    auto next = ranges_.upper_bound(wanted);
    // Mappings of one import may overlap: the nearest start need not be the one that reaches this far.
    while (next != ranges_.begin()) {
        --next;
        const Range &range = next->second;
        if (static_cast<size_t>(wanted - range.start) < range.size || wanted == range.start)
            return range;
        if (range.kind != RangeKind::External)
            break;
    }
    return std::nullopt;
}

std::optional<Range> Ranges::take(const void *start)
{
    const std::lock_guard<std::mutex> guard(mutex_);
    const auto found = ranges_.find(static_cast<const char *>(start));
    if (found == ranges_.end())
        return std::nullopt;
    Range range = std::move(found->second);
    ranges_.erase(found);
    return range;
}

} // namespace softgpu
