#include "uses.h"

#include <algorithm>

namespace softgpu::cuda
{

StreamCore::~StreamCore()
{
    const Current current(context);
    if (current.code() == success && stream != legacy_stream())
        driver().cuStreamDestroy(stream); // pending work still runs
}

bool StreamCore::is_idle() const
{
    const Current current(context);
    return current.code() == success && driver().cuStreamQuery(stream) != not_ready;
}

void Uses::note(const std::shared_ptr<StreamCore> &stream)
{
    const std::lock_guard<std::mutex> guard(mutex_);
    if (std::find(streams_.begin(), streams_.end(), stream) != streams_.end())
        return;
    // A stream that only this list keeps gets no more work. Dropped once idle, or a long-lived module would
    // collect every stream there ever was.
    streams_.erase(std::remove_if(streams_.begin(), streams_.end(),
                                  [](const auto &held) { return held.use_count() == 1 && held->is_idle(); }),
                   streams_.end());
    streams_.push_back(stream);
}

std::vector<std::shared_ptr<StreamCore>> Uses::take()
{
    const std::lock_guard<std::mutex> guard(mutex_);
    return std::move(streams_);
}

void Retired::retire(Uses &uses, std::function<void()> destroy)
{
    const Current current(context_);
    if (current.code() != success)
        return; // the context is lost, and the object with it
    Entry entry{{}, std::move(destroy)};
    for (const auto &used : uses.take()) {
        CUevent event = nullptr;
        if (used->is_idle() || driver().cuEventCreate(&event, event_disable_timing) != success)
            continue;
        if (driver().cuEventRecord(event, used->stream) == success)
            entry.events.push_back(event);
        else
            driver().cuEventDestroy(event);
    }
    if (done(&entry)) {
        entry.destroy();
        return;
    }
    const std::lock_guard<std::mutex> guard(mutex_);
    entries_.push_back(std::move(entry));
}

bool Retired::done(Entry *entry)
{
    auto &events = entry->events;
    events.erase(std::remove_if(events.begin(), events.end(),
                                [](CUevent event) {
                                    if (driver().cuEventQuery(event) == not_ready)
                                        return false;
                                    driver().cuEventDestroy(event);
                                    return true;
                                }),
                 events.end());
    return events.empty();
}

void Retired::reap()
{
    std::vector<Entry> free;
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        if (entries_.empty())
            return;
        const Current current(context_);
        if (current.code() != success)
            return;
        for (auto entry = entries_.begin(); entry != entries_.end();) {
            if (done(&*entry)) {
                free.push_back(std::move(*entry));
                entry = entries_.erase(entry);
            } else {
                ++entry;
            }
        }
    }
    const Current current(context_);
    for (const Entry &entry : free)
        entry.destroy();
}

} // namespace softgpu::cuda
