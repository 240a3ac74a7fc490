#include "grid.h"
#include "runner.h"
#include "switches.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <pthread.h>
#include <thread>

namespace softgpu::cpu
{

namespace
{

constexpr uint64_t threads_worth_sharing = 16384; // below this, waking a helper costs more than it saves

struct Grid {
    const softgpu_kernel &kernel;
    const char *packed;
    const LaunchShape &shape;
    uint64_t blocks;
    uint64_t chunk;
    std::atomic<uint64_t> next{0};
};

void run_chunks(Grid &grid)
{
    Runner &runner = Runner::of_this_thread();
    const Dim3 size = grid.shape.grid;
    for (;;) {
        const uint64_t begin = grid.next.fetch_add(grid.chunk, std::memory_order_relaxed);
        const uint64_t end = std::min(begin + grid.chunk, grid.blocks);
        for (uint64_t i = begin; i < end; ++i) {
            const uint64_t row = i / size.x;
            const Dim3 index{static_cast<unsigned>(i % size.x), static_cast<unsigned>(row % size.y),
                             static_cast<unsigned>(row / size.y)};
            runner.run_block(grid.kernel, grid.packed, index, grid.shape);
        }
        if (end >= grid.blocks)
            return;
    }
}

// Helper threads that live as long as the process, idle but for large grids. One grid at a time: whoever
// comes second runs its blocks alone.
class Helpers
{
  public:
    static Helpers &instance()
    {
        static Helpers *const helpers = new Helpers;
        return *helpers;
    }

    void share(Grid &grid)
    {
        const std::unique_lock<std::mutex> use(in_use_, std::try_to_lock);
        if (use.owns_lock())
            post(&grid);
        run_chunks(grid);
        if (use.owns_lock())
            withdraw();
    }

    unsigned count() const
    {
        return count_;
    }

  private:
    Helpers()
    {
        const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
        const long wanted = softgpu_switch_number("HIP_THREADS", std::min(cores, 16u));
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        for (long i = 1; i < wanted; ++i) {
            pthread_t thread;
            if (pthread_create(&thread, nullptr, thread_main, this) != 0)
                break;
            pthread_detach(thread);
            ++count_;
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    static void *thread_main(void *self)
    {
        pthread_setname_np(pthread_self(), "softgpu-grid");
        static_cast<Helpers *>(self)->help();
        return nullptr;
    }

    void help()
    {
        std::unique_lock<std::mutex> lock(mutex_);
        uint64_t seen = 0;
        for (;;) {
            posted_.wait(lock, [&] { return grid_ != nullptr && generation_ != seen; });
            seen = generation_;
            Grid *grid = grid_;
            ++helping_;
            lock.unlock();
            run_chunks(*grid);
            lock.lock();
            if (--helping_ == 0)
                left_.notify_all();
        }
    }

    void post(Grid *grid)
    {
        const std::lock_guard<std::mutex> guard(mutex_);
        grid_ = grid;
        ++generation_;
        posted_.notify_all();
    }

    void withdraw()
    {
        std::unique_lock<std::mutex> lock(mutex_);
        grid_ = nullptr; // latecomers find nothing
        left_.wait(lock, [this] { return helping_ == 0; });
    }

    std::mutex in_use_;
    std::mutex mutex_;
    std::condition_variable posted_;
    std::condition_variable left_;
    Grid *grid_ = nullptr;
    uint64_t generation_ = 0;
    unsigned helping_ = 0;
    unsigned count_ = 0;
};

} // namespace

void run_grid(const softgpu_kernel &kernel, const char *packed, const LaunchShape &shape)
{
    const uint64_t blocks = uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
    const uint64_t threads = blocks * shape.block.x * shape.block.y * shape.block.z;
    if (blocks < 2 || threads < threads_worth_sharing) {
        Grid grid{kernel, packed, shape, blocks, blocks};
        run_chunks(grid);
        return;
    }
    Helpers &helpers = Helpers::instance();
    const uint64_t shares = uint64_t{helpers.count() + 1} * 8;
    Grid grid{kernel, packed, shape, blocks, std::max<uint64_t>(1, blocks / shares)};
    helpers.share(grid);
}

} // namespace softgpu::cpu
