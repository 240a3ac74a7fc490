// Driver objects must outlive the work that uses them: a module its launches, an external semaphore its
// waits. CUDA leaves that to the caller (cuModuleUnload waits for work, cuDestroyExternalSemaphore forbids
// it), HIP does not.
#ifndef SOFTGPU_HIP_CUDA_USES_H
#define SOFTGPU_HIP_CUDA_USES_H
#include "context.h"

#include <functional>
#include <memory>
#include <vector>

namespace softgpu::cuda
{

// A CUstream; destroyed when neither the API's stream nor a used object needs it.
class StreamCore
{
  public:
    StreamCore(Context &context, CUstream stream) : context(context), stream(stream)
    {
    }
    ~StreamCore();
    StreamCore(const StreamCore &) = delete;
    StreamCore &operator=(const StreamCore &) = delete;
    bool is_idle() const;

    Context &context;
    const CUstream stream;
};

// The streams in which an object was used.
class Uses
{
  public:
    void note(const std::shared_ptr<StreamCore> &stream);
    std::vector<std::shared_ptr<StreamCore>> take();

  private:
    std::mutex mutex_;
    std::vector<std::shared_ptr<StreamCore>> streams_;
};

// Objects given back while work that uses them was pending.
class Retired
{
  public:
    explicit Retired(Context &context) : context_(context)
    {
    }
    // Calls destroy(), in the context, as soon as the work that these streams have now is done.
    void retire(Uses &uses, std::function<void()> destroy);
    // Destroys what is free by now.
    void reap();

  private:
    struct Entry {
        std::vector<CUevent> events;
        std::function<void()> destroy;
    };
    static bool done(Entry *entry);

    Context &context_;
    std::mutex mutex_;
    std::vector<Entry> entries_;
};

} // namespace softgpu::cuda
#endif
