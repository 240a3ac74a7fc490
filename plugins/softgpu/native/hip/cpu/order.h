// The queues of one device and the order among them: HIP's legacy null stream waits for all work given
// earlier to the blocking streams, and work given later to those waits for it.
#ifndef SOFTGPU_HIP_CPU_ORDER_H
#define SOFTGPU_HIP_CPU_ORDER_H
#include "queue.h"

namespace softgpu::cpu
{

enum class StreamKind {
    Null,
    Blocking,
    NonBlocking,
};

class Order
{
  public:
    Order();
    std::shared_ptr<Queue> null_queue() const
    {
        return null_;
    }
    std::shared_ptr<Queue> add(StreamKind kind);
    bool push(const std::shared_ptr<Queue> &queue, StreamKind kind, Task task, uint64_t *ticket);
    // For the null stream, also the blocking streams' work counts.
    std::vector<Mark> pending(const std::shared_ptr<Queue> &queue, StreamKind kind);
    std::vector<Mark> pending_of_all();

  private:
    struct Member {
        std::weak_ptr<Queue> queue;
        StreamKind kind;
    };
    void append_pending(std::vector<Mark> *marks, bool blocking_only);

    std::mutex mutex_;
    std::shared_ptr<Queue> null_;
    std::vector<Member> members_;
};

} // namespace softgpu::cpu
#endif
