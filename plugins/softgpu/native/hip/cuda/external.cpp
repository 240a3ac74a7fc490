#include "external.h"
#include "array.h"

namespace softgpu::cuda
{

hipError_t CudaExternalMemory::import(Context &context, int fd, uint64_t size, bool dedicated,
                                      std::shared_ptr<ExternalMemory> *out)
{
    CUDA_EXTERNAL_MEMORY_HANDLE_DESC desc{};
    desc.type = external_opaque_fd;
    desc.handle.fd = fd;
    desc.size = size;
    desc.flags = dedicated ? external_memory_dedicated : 0;
    CUexternalMemory memory = nullptr;
    const hipError_t error =
        in_context(context, [&] { return driver().cuImportExternalMemory(&memory, &desc); });
    if (error == hipSuccess)
        *out = std::make_shared<CudaExternalMemory>(context, memory);
    return error;
}

CudaExternalMemory::~CudaExternalMemory()
{
    in_context(context_, [&] { return driver().cuDestroyExternalMemory(memory_); });
}

hipError_t CudaExternalMemory::map(uint64_t offset, uint64_t size, void **out)
{
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC desc{};
    desc.offset = offset;
    desc.size = size;
    CUdeviceptr address = 0;
    const hipError_t error = in_context(
        context_, [&] { return driver().cuExternalMemoryGetMappedBuffer(&address, memory_, &desc); });
    if (error == hipSuccess)
        *out = reinterpret_cast<void *>(address);
    return error;
}

hipError_t CudaExternalMemory::unmap(void *address)
{
    return in_context(context_, [&] { return driver().cuMemFree(reinterpret_cast<CUdeviceptr>(address)); });
}

hipError_t CudaExternalMemory::map_array(const ArrayShape &shape, std::shared_ptr<MipmappedArray> *out)
{
    CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC desc{};
    desc.offset = shape.offset;
    desc.numLevels = shape.levels;
    if (!describe_array(shape, &desc.arrayDesc))
        return hipErrorInvalidValue;
    CUmipmappedArray array = nullptr;
    const hipError_t error = in_context(
        context_, [&] { return driver().cuExternalMemoryGetMappedMipmappedArray(&array, memory_, &desc); });
    if (error == hipSuccess)
        *out = std::make_shared<CudaMipmappedArray>(context_, array);
    return error;
}

hipError_t CudaSemaphore::import(Context &context, Retired &retired, int fd, bool timeline,
                                 std::shared_ptr<Semaphore> *out)
{
    CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC desc{};
    desc.type = timeline ? external_timeline_fd : external_opaque_fd;
    desc.handle.fd = fd;
    CUexternalSemaphore semaphore = nullptr;
    const hipError_t error =
        in_context(context, [&] { return driver().cuImportExternalSemaphore(&semaphore, &desc); });
    if (error == hipSuccess)
        *out = std::make_shared<CudaSemaphore>(retired, semaphore);
    return error;
}

CudaSemaphore::~CudaSemaphore()
{
    retired_.retire(uses_, [semaphore = semaphore_] { driver().cuDestroyExternalSemaphore(semaphore); });
}

hipError_t CudaSemaphore::wait(const std::shared_ptr<StreamCore> &stream, uint64_t value)
{
    CUDA_EXTERNAL_SEMAPHORE_PARAMS params{};
    params.fenceValue = value;
    uses_.note(stream);
    return in_context(stream->context, [&] {
        return driver().cuWaitExternalSemaphoresAsync(&semaphore_, &params, 1, stream->stream);
    });
}

hipError_t CudaSemaphore::signal(const std::shared_ptr<StreamCore> &stream, uint64_t value)
{
    CUDA_EXTERNAL_SEMAPHORE_PARAMS params{};
    params.fenceValue = value;
    uses_.note(stream);
    return in_context(stream->context, [&] {
        return driver().cuSignalExternalSemaphoresAsync(&semaphore_, &params, 1, stream->stream);
    });
}

} // namespace softgpu::cuda
