#include "order.h"

#include <algorithm>

namespace softgpu::cpu
{

namespace
{

void append_unfinished(std::vector<Mark> *marks, const std::shared_ptr<Queue> &queue)
{
    const uint64_t ticket = queue->last_ticket();
    if (!queue->done(ticket))
        marks->push_back({queue, ticket});
}

} // namespace

Order::Order() : null_(std::make_shared<Queue>())
{
}

std::shared_ptr<Queue> Order::add(StreamKind kind)
{
    auto queue = std::make_shared<Queue>();
    const std::lock_guard<std::mutex> guard(mutex_);
    members_.erase(std::remove_if(members_.begin(), members_.end(),
                                  [](const Member &member) { return member.queue.expired(); }),
                   members_.end());
    members_.push_back({queue, kind});
    return queue;
}

void Order::append_pending(std::vector<Mark> *marks, bool blocking_only)
{
    for (const Member &member : members_) {
        const auto queue = member.queue.lock();
        if (queue && (!blocking_only || member.kind == StreamKind::Blocking))
            append_unfinished(marks, queue);
    }
}

bool Order::push(const std::shared_ptr<Queue> &queue, StreamKind kind, Task task, uint64_t *ticket)
{
    if (kind == StreamKind::NonBlocking)
        return queue->push(std::move(task), ticket);
    // Held across the push: what is "earlier" must be one order for all threads.
    const std::lock_guard<std::mutex> guard(mutex_);
    if (kind == StreamKind::Null)
        append_pending(&task.after, true);
    else
        append_unfinished(&task.after, null_);
    return queue->push(std::move(task), ticket);
}

std::vector<Mark> Order::pending(const std::shared_ptr<Queue> &queue, StreamKind kind)
{
    std::vector<Mark> marks;
    const std::lock_guard<std::mutex> guard(mutex_);
    append_unfinished(&marks, queue);
    if (kind == StreamKind::Null)
        append_pending(&marks, true);
    return marks;
}

std::vector<Mark> Order::pending_of_all()
{
    std::vector<Mark> marks;
    const std::lock_guard<std::mutex> guard(mutex_);
    append_unfinished(&marks, null_);
    append_pending(&marks, false);
    return marks;
}

} // namespace softgpu::cpu
