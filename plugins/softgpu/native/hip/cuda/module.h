// Code objects for the GPU: cubin, fat binary or PTX.
#ifndef SOFTGPU_HIP_CUDA_MODULE_H
#define SOFTGPU_HIP_CUDA_MODULE_H
#include "../device.h"
#include "uses.h"

namespace softgpu::cuda
{

// The loaded module; unloaded when nobody has it and its launches are done.
class Image
{
  public:
    static hipError_t load(Context &context, Retired &retired, const void *bytes,
                           std::shared_ptr<Image> *out);
    Image(Context &context, Retired &retired, CUmodule module)
        : context(context), retired_(retired), module_(module)
    {
    }
    ~Image();
    Image(const Image &) = delete;
    Image &operator=(const Image &) = delete;
    CUmodule get() const
    {
        return module_;
    }
    void used_by(const std::shared_ptr<StreamCore> &stream)
    {
        uses_.note(stream);
    }

    Context &context;

  private:
    Retired &retired_;
    Uses uses_;
    const CUmodule module_;
};

class CudaFunction : public Function
{
  public:
    CudaFunction(std::shared_ptr<Image> image, CUfunction function);
    unsigned max_threads_per_block() const override
    {
        return max_threads_;
    }
    hipError_t launch(const std::shared_ptr<StreamCore> &stream, const LaunchShape &shape,
                      const Arguments &arguments);

  private:
    bool check_arguments(const Arguments &arguments) const;

    std::shared_ptr<Image> image_;
    const CUfunction function_;
    unsigned max_threads_ = 0;
    bool parameters_known_ = false; // drivers before CUDA 12.4 do not tell
    size_t parameter_bytes_ = 0;
    std::mutex mutex_;
    size_t dynamic_shared_ = 48 * 1024; // what CUDA gives unasked
};

class CudaModule : public Module
{
  public:
    explicit CudaModule(std::shared_ptr<Image> image) : image_(std::move(image))
    {
    }
    hipError_t function(const char *name, std::shared_ptr<Function> *out) override;
    hipError_t global(const char *name, void **address, size_t *size) override;

  private:
    std::shared_ptr<Image> image_;
};

} // namespace softgpu::cuda
#endif
