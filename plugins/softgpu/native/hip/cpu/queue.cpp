#include "queue.h"
#include "switches.h"

#include <csignal>
#include <sys/prctl.h>

namespace softgpu::cpu
{

// Signals stay with the program's own threads: a Ctrl-C must reach Python's main thread.
bool Queue::start_worker()
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    auto *self = new std::shared_ptr<Queue>(shared_from_this());
    started_ = pthread_create(&thread_, nullptr, thread_main, self) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!started_)
        delete self;
    return started_;
}

// Not noexcept, and nothing is caught: a host function may be Python, which ends its threads by a forced
// unwind when the interpreter is gone.
void *Queue::thread_main(void *argument)
{
    const std::unique_ptr<std::shared_ptr<Queue>> self(static_cast<std::shared_ptr<Queue> *>(argument));
    pthread_setname_np(pthread_self(), "softgpu-stream");
    prctl(PR_SET_TIMERSLACK, 1); // polls sleep for tens of microseconds; the default slack doubles that
    (*self)->work();
    return nullptr;
}

void Queue::work()
{
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        work_to_do_.wait(lock, [this] { return closing_ || !tasks_.empty(); });
        if (tasks_.empty())
            return;
        {
            Task task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            for (const Mark &mark : task.after)
                mark.queue->wait(mark.ticket);
            if (task.run)
                task.run();
        } // what the task held is released before anyone hears that it is done
        lock.lock();
        ++completed_;
        progress_.notify_all();
    }
}

bool Queue::push(Task task, uint64_t *ticket)
{
    bool idle = false;
    const auto room = static_cast<uint64_t>(softgpu_switch_number("HIP_QUEUE", 0));
    {
        std::unique_lock<std::mutex> lock(mutex_);
        // A device's queue has an end: CUDA keeps its caller waiting there, behind whatever holds the stream.
        if (room > 0)
            progress_.wait(lock, [&] { return submitted_ - completed_ < room; });
        if (!started_ && !start_worker())
            return false;
        tasks_.push_back(std::move(task));
        idle = completed_ == submitted_;
        *ticket = ++submitted_;
    }
    // After the lock, or the worker would wake up only to wait for it. A worker that has work looks by
    // itself.
    if (idle)
        work_to_do_.notify_one();
    return true;
}

uint64_t Queue::last_ticket()
{
    const std::lock_guard<std::mutex> guard(mutex_);
    return submitted_;
}

bool Queue::done(uint64_t ticket)
{
    const std::lock_guard<std::mutex> guard(mutex_);
    return completed_ >= ticket;
}

void Queue::wait(uint64_t ticket)
{
    std::unique_lock<std::mutex> lock(mutex_);
    progress_.wait(lock, [&] { return completed_ >= ticket; });
}

void Queue::close()
{
    std::unique_lock<std::mutex> lock(mutex_);
    closing_ = true;
    work_to_do_.notify_one();
    if (!started_)
        return;
    const bool idle = completed_ == submitted_;
    lock.unlock();
    if (idle && !pthread_equal(thread_, pthread_self()))
        pthread_join(thread_, nullptr);
    else
        pthread_detach(thread_);
}

} // namespace softgpu::cpu
