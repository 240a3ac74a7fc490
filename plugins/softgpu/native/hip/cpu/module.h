// Compiled kernel files, loaded into this process.
#ifndef SOFTGPU_HIP_CPU_MODULE_H
#define SOFTGPU_HIP_CPU_MODULE_H
#include "../device.h"
#include "../kernel_abi.h"

namespace softgpu::cpu
{

// The loaded file; unloaded when neither module nor pending launch needs it.
class Image
{
  public:
    static hipError_t load(const void *bytes, std::shared_ptr<Image> *out);
    ~Image();
    Image(const Image &) = delete;
    Image &operator=(const Image &) = delete;

    const softgpu_kernel *kernel(const char *name) const;
    hipError_t global(const char *name, void **address, size_t *size) const;

  private:
    Image() = default;
    hipError_t open(const void *bytes, size_t size);

    int fd_ = -1;
    void *library_ = nullptr;
    const softgpu_kernel_file *file_ = nullptr;
};

class CpuFunction : public Function
{
  public:
    CpuFunction(std::shared_ptr<Image> image, const softgpu_kernel &kernel)
        : image_(std::move(image)), kernel_(kernel)
    {
    }
    unsigned max_threads_per_block() const override
    {
        return SOFTGPU_MAX_BLOCK;
    }
    const softgpu_kernel &kernel() const
    {
        return kernel_;
    }
    // The arguments in packed form; false: there are too few.
    bool pack(const Arguments &arguments, std::vector<char> *out) const;

  private:
    std::shared_ptr<Image> image_;
    const softgpu_kernel &kernel_;
};

class CpuModule : public Module
{
  public:
    explicit CpuModule(std::shared_ptr<Image> image) : image_(std::move(image))
    {
    }
    hipError_t function(const char *name, std::shared_ptr<Function> *out) override;
    hipError_t global(const char *name, void **address, size_t *size) override;

  private:
    std::shared_ptr<Image> image_;
};

} // namespace softgpu::cpu
#endif
