// The pointer map: which object each known address range belongs to.
#ifndef SOFTGPU_HIP_RANGES_H
#define SOFTGPU_HIP_RANGES_H
#include "device.h"

#include <map>
#include <mutex>
#include <optional>

namespace softgpu
{

// An imported memory. The driver object goes when the import is destroyed and each of its mappings freed, in
// whichever order (AMD counts references the same way).
struct ExternalObject {
    int device;
    uint64_t size;
    bool dedicated; // belongs to one buffer or image alone, as the importer said
    std::shared_ptr<ExternalMemory> memory;
};

enum class RangeKind {
    Device,
    Host,       // hipHostMalloc
    Registered, // hipHostRegister
    External,   // a mapping of an ExternalObject
    Global,     // a variable of a module
};

struct Range {
    char *start;
    size_t size;
    RangeKind kind;
    int device;
    unsigned flags;
    std::shared_ptr<ExternalObject> external;
    uint64_t external_offset;

    bool is_device() const
    {
        return kind != RangeKind::Host && kind != RangeKind::Registered;
    }
    bool can_free() const
    {
        return kind == RangeKind::Device || kind == RangeKind::External;
    }
};

class Ranges
{
  public:
    bool add(Range range); // false: a range starts there already, and it stays as it was
    std::optional<Range> containing(const void *address);
    std::optional<Range> take(const void *start); // removes the range that starts exactly there

  private:
    std::mutex mutex_;
    std::map<const char *, Range> ranges_;
};

} // namespace softgpu
#endif
