#include "context.h"

namespace softgpu::cuda
{

CUresult Context::get(CUcontext *out)
{
    const std::lock_guard<std::mutex> guard(mutex_);
    if (context_ == nullptr) {
        const CUresult code = driver().cuDevicePrimaryCtxRetain(&context_, device_);
        if (code != success) {
            context_ = nullptr;
            return code;
        }
    }
    *out = context_;
    return success;
}

Current::Current(Context &context)
{
    CUcontext wanted = nullptr;
    CUcontext present = nullptr;
    code_ = context.get(&wanted);
    if (code_ != success || (driver().cuCtxGetCurrent(&present) == success && present == wanted))
        return;
    code_ = driver().cuCtxPushCurrent(wanted);
    pushed_ = code_ == success;
}

Current::~Current()
{
    CUcontext popped = nullptr;
    if (pushed_)
        driver().cuCtxPopCurrent(&popped);
}

} // namespace softgpu::cuda
