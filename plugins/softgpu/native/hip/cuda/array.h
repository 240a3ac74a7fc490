// Images of Vulkan as CUDA arrays.
#ifndef SOFTGPU_HIP_CUDA_ARRAY_H
#define SOFTGPU_HIP_CUDA_ARRAY_H
#include "../device.h"
#include "context.h"

namespace softgpu::cuda
{

// false: CUDA has no such texel.
bool describe_array(const ArrayShape &shape, CUDA_ARRAY3D_DESCRIPTOR *out);

// A level; its storage belongs to the mipmapped array.
class CudaArray : public Array
{
  public:
    explicit CudaArray(CUarray array) : array_(array)
    {
    }
    CUarray get() const
    {
        return array_;
    }

  private:
    const CUarray array_;
};

class CudaMipmappedArray : public MipmappedArray
{
  public:
    CudaMipmappedArray(Context &context, CUmipmappedArray array) : context_(context), array_(array)
    {
    }
    ~CudaMipmappedArray() override;
    hipError_t level(unsigned index, std::shared_ptr<Array> *out) override;

  private:
    Context &context_;
    const CUmipmappedArray array_;
};

class CudaSurface : public Surface
{
  public:
    static hipError_t create(Context &context, const Array &array, std::shared_ptr<Surface> *out);
    CudaSurface(Context &context, CUsurfObject surface) : context_(context), surface_(surface)
    {
    }
    ~CudaSurface() override;
    uint64_t handle() const override
    {
        return surface_;
    }

  private:
    Context &context_;
    const CUsurfObject surface_;
};

} // namespace softgpu::cuda
#endif
