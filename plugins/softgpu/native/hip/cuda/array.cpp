#include "array.h"

namespace softgpu::cuda
{

namespace
{

// CUarray_format by the bits of a channel: 8, 16, 32.
constexpr int unsigned_formats[] = {1, 2, 3};
constexpr int signed_formats[] = {8, 9, 10};
constexpr int half_format = 16;
constexpr int float_format = 32;

int channel_format(ChannelKind kind, unsigned bits)
{
    const int place = bits == 8 ? 0 : bits == 16 ? 1 : bits == 32 ? 2 : -1;
    if (place < 0)
        return 0;
    switch (kind) {
    case ChannelKind::Signed:
        return signed_formats[place];
    case ChannelKind::Unsigned:
        return unsigned_formats[place];
    case ChannelKind::Float:
        return place == 1 ? half_format : place == 2 ? float_format : 0;
    }
    return 0;
}

} // namespace

bool describe_array(const ArrayShape &shape, CUDA_ARRAY3D_DESCRIPTOR *out)
{
    *out = {};
    out->Width = shape.width;
    out->Height = shape.height;
    out->Depth = shape.depth;
    out->Format = channel_format(shape.kind, shape.bits);
    out->NumChannels = shape.channels;
    out->Flags = shape.flags; // HIP's numbers are CUDA's
    return out->Format != 0;
}

CudaMipmappedArray::~CudaMipmappedArray()
{
    in_context(context_, [&] { return driver().cuMipmappedArrayDestroy(array_); });
}

hipError_t CudaMipmappedArray::level(unsigned index, std::shared_ptr<Array> *out)
{
    CUarray array = nullptr;
    const hipError_t error =
        in_context(context_, [&] { return driver().cuMipmappedArrayGetLevel(&array, array_, index); });
    if (error == hipSuccess)
        *out = std::make_shared<CudaArray>(array);
    return error;
}

hipError_t CudaSurface::create(Context &context, const Array &array, std::shared_ptr<Surface> *out)
{
    CUDA_RESOURCE_DESC desc{};
    desc.resType = resource_type_array;
    desc.res.array = static_cast<const CudaArray &>(array).get();
    CUsurfObject surface = 0;
    const hipError_t error =
        in_context(context, [&] { return driver().cuSurfObjectCreate(&surface, &desc); });
    if (error == hipSuccess)
        *out = std::make_shared<CudaSurface>(context, surface);
    return error;
}

CudaSurface::~CudaSurface()
{
    in_context(context_, [&] { return driver().cuSurfObjectDestroy(surface_); });
}

} // namespace softgpu::cuda
