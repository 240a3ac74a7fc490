// The device's primary context: the one that CUDA's own runtime and cuda-bindings use in this process, so
// that addresses and streams mean the same to all of them.
#ifndef SOFTGPU_HIP_CUDA_CONTEXT_H
#define SOFTGPU_HIP_CUDA_CONTEXT_H
#include "driver.h"

#include <mutex>

namespace softgpu::cuda
{

// Retained at its first use, as that takes time and device memory, and kept: streams may have work to the
// end.
class Context
{
  public:
    explicit Context(CUdevice device) : device_(device)
    {
    }
    CUresult get(CUcontext *out);

  private:
    CUdevice device_;
    std::mutex mutex_;
    CUcontext context_ = nullptr;
};

// Makes the context current for a scope, in whatever thread, and leaves the thread as it was.
class Current
{
  public:
    explicit Current(Context &context);
    ~Current();
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;
    // Not success: no call that needs the context may be made.
    CUresult code() const
    {
        return code_;
    }

  private:
    CUresult code_;
    bool pushed_ = false;
};

// Runs body() in the context and translates its code.
template <class Body> hipError_t in_context(Context &context, Body body)
{
    const Current current(context);
    return translate(current.code() == success ? body() : current.code());
}

} // namespace softgpu::cuda
#endif
