#include "module.h"

#include <cstring>
#include <elf.h>

namespace softgpu::cuda
{

namespace
{

constexpr uint16_t elf_machine_cuda = 190;
constexpr uint32_t fat_binary = 0xBA55ED50;
constexpr uint32_t fat_binary_wrapper = 0x466243B1;

// The driver takes whatever it does not know for PTX and compiles it, so what is none is told apart here.
hipError_t check_image(const char *bytes)
{
    uint32_t magic = 0;
    std::memcpy(&magic, bytes, sizeof magic);
    if (magic == fat_binary || magic == fat_binary_wrapper)
        return hipSuccess;
    if (std::memcmp(bytes, ELFMAG, SELFMAG) == 0) {
        Elf64_Ehdr header;
        std::memcpy(&header, bytes, sizeof header);
        return header.e_machine == elf_machine_cuda ? hipSuccess : hipErrorNoBinaryForGpu;
    }
    const char *text = bytes + std::strspn(bytes, " \t\r\n");
    return std::strncmp(text, "//", 2) == 0 || std::strncmp(text, ".version", 8) == 0 ? hipSuccess
                                                                                      : hipErrorInvalidImage;
}

} // namespace

hipError_t Image::load(Context &context, Retired &retired, const void *bytes, std::shared_ptr<Image> *out)
{
    hipError_t error = check_image(static_cast<const char *>(bytes));
    if (error != hipSuccess)
        return error;
    CUmodule module = nullptr;
    error = in_context(context, [&] { return driver().cuModuleLoadData(&module, bytes); });
    if (error == hipSuccess)
        *out = std::make_shared<Image>(context, retired, module);
    return error;
}

Image::~Image()
{
    retired_.retire(uses_, [module = module_] { driver().cuModuleUnload(module); });
}

CudaFunction::CudaFunction(std::shared_ptr<Image> image, CUfunction function)
    : image_(std::move(image)), function_(function)
{
    const Current current(image_->context);
    int value = 0;
    if (driver().cuFuncGetAttribute(&value, function_max_threads_per_block, function) == success)
        max_threads_ = static_cast<unsigned>(value);
    // A first launch would load it, and that waits for every stream, held ones too.
    if (driver().cuFuncLoad != nullptr)
        driver().cuFuncLoad(function);
    if (driver().cuFuncGetParamInfo == nullptr)
        return;
    parameters_known_ = true;
    size_t offset = 0;
    size_t size = 0;
    for (size_t i = 0; driver().cuFuncGetParamInfo(function, i, &offset, &size) == success; ++i)
        parameter_bytes_ = offset + size;
}

bool CudaFunction::check_arguments(const Arguments &arguments) const
{
    if (!parameters_known_ || parameter_bytes_ == 0)
        return true;
    return arguments.packed != nullptr ? arguments.packed_size >= parameter_bytes_
                                       : arguments.addresses != nullptr;
}

hipError_t CudaFunction::launch(const std::shared_ptr<StreamCore> &stream, const LaunchShape &shape,
                                const Arguments &arguments)
{
    if (!check_arguments(arguments))
        return hipErrorInvalidValue;
    // A structure's tail padding may be in the caller's size, and is not in CUDA's.
    size_t size = parameters_known_ ? parameter_bytes_ : arguments.packed_size;
    void *extra[] = {reinterpret_cast<void *>(1), const_cast<void *>(arguments.packed),
                     reinterpret_cast<void *>(2), &size, nullptr};
    const bool packed = arguments.packed != nullptr && size > 0;
    image_->used_by(stream);
    const Current current(image_->context);
    if (current.code() != success)
        return translate(current.code());
    {
        // HIP gives a kernel all the shared memory there is, CUDA only to those that ask for it.
        const std::lock_guard<std::mutex> guard(mutex_);
        if (shape.shared > dynamic_shared_) {
            if (driver().cuFuncSetAttribute(function_, function_max_dynamic_shared_size,
                                            static_cast<int>(shape.shared)) != success)
                return hipErrorInvalidValue;
            dynamic_shared_ = shape.shared;
        }
    }
    return translate(driver().cuLaunchKernel(
        function_, shape.grid.x, shape.grid.y, shape.grid.z, shape.block.x, shape.block.y, shape.block.z,
        static_cast<unsigned>(shape.shared), stream->stream, packed ? nullptr : arguments.addresses,
        packed ? extra : nullptr));
}

hipError_t CudaModule::function(const char *name, std::shared_ptr<Function> *out)
{
    CUfunction found = nullptr;
    const hipError_t error = in_context(
        image_->context, [&] { return driver().cuModuleGetFunction(&found, image_->get(), name); });
    if (error == hipSuccess)
        *out = std::make_shared<CudaFunction>(image_, found);
    return error;
}

hipError_t CudaModule::global(const char *name, void **address, size_t *size)
{
    CUdeviceptr found = 0;
    const hipError_t error = in_context(
        image_->context, [&] { return driver().cuModuleGetGlobal(&found, size, image_->get(), name); });
    if (error == hipSuccess)
        *address = reinterpret_cast<void *>(found);
    // The driver's answer for the name of a kernel; whatever else could be wrong was checked before.
    return error == hipErrorInvalidValue ? hipErrorNotFound : error;
}

} // namespace softgpu::cuda
