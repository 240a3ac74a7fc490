// An in-order queue with a worker thread of its own: what is behind a CPU stream.
#ifndef SOFTGPU_HIP_CPU_QUEUE_H
#define SOFTGPU_HIP_CPU_QUEUE_H
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <vector>

namespace softgpu::cpu
{

class Queue;

// A point in a queue's work: done when the queue has finished the task that got this ticket.
struct Mark {
    std::shared_ptr<Queue> queue;
    uint64_t ticket;
};

struct Task {
    std::vector<Mark> after; // other queues' work that must be done before
    std::function<void()> run;
};

class Queue : public std::enable_shared_from_this<Queue>
{
  public:
    // The worker starts with the first task. False: no thread could be made.
    bool push(Task task, uint64_t *ticket);
    uint64_t last_ticket();
    bool done(uint64_t ticket);
    void wait(uint64_t ticket);
    // No more tasks will come. The worker ends after the last one; when it is idle it has ended on return.
    void close();

  private:
    static void *thread_main(void *argument);
    void work();
    bool start_worker();

    std::mutex mutex_;
    std::condition_variable work_to_do_;
    std::condition_variable progress_;
    std::deque<Task> tasks_;
    uint64_t submitted_ = 0;
    uint64_t completed_ = 0;
    bool closing_ = false;
    bool started_ = false;
    pthread_t thread_{};
};

} // namespace softgpu::cpu
#endif
