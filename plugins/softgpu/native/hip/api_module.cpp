// Code objects, kernels, launches.
#include "entry.h"

#include <climits>
#include <cstdio>
#include <memory>
#include <string>

using namespace softgpu;

namespace
{

// hipModuleLaunchKernel's `extra` list.
constexpr uintptr_t launch_buffer_pointer = 1;
constexpr uintptr_t launch_buffer_size = 2;
constexpr uintptr_t launch_end = 3;

hipError_t load(hipModuleHandle *out, const void *image)
{
    if (out == nullptr || image == nullptr)
        return hipErrorInvalidValue;
    if (device_count() == 0)
        return hipErrorNoDevice;
    auto handle = std::make_shared<ModuleHandle>();
    const hipError_t error = current_device().load_module(image, &handle->module);
    if (error != hipSuccess)
        return error;
    softgpu_count("module", 1);
    *out = static_cast<hipModuleHandle>(runtime().modules.add(std::move(handle)));
    return hipSuccess;
}

bool read_file(const char *path, std::string *out)
{
    const std::unique_ptr<FILE, int (*)(FILE *)> file(fopen(path, "rb"), fclose);
    if (!file)
        return false;
    char block[65536];
    size_t count = 0;
    while ((count = fread(block, 1, sizeof block, file.get())) > 0)
        out->append(block, count);
    return true;
}

bool parse_extra(void **extra, Arguments *out)
{
    for (;; extra += 2) {
        const auto key = reinterpret_cast<uintptr_t>(extra[0]);
        if (key == launch_end)
            return out->packed != nullptr;
        if (extra[1] == nullptr)
            return false;
        if (key == launch_buffer_pointer)
            out->packed = extra[1];
        else if (key == launch_buffer_size)
            out->packed_size = *static_cast<size_t *>(extra[1]);
        else
            return false;
    }
}

hipError_t check_shape(const LaunchShape &shape, const Function &function)
{
    const Dim3 &block = shape.block;
    const Dim3 &grid = shape.grid;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x == 0 || block.y == 0 || block.z == 0)
        return hipErrorInvalidConfiguration;
    const unsigned limit = function.max_threads_per_block();
    if (block.x > limit || block.y > limit || block.z > limit || block.x * block.y > limit ||
        block.x * block.y * block.z > limit)
        return hipErrorInvalidConfiguration;
    // AMD counts the grid in threads, in 32 bits per dimension.
    if (uint64_t{grid.x} * block.x > UINT_MAX || uint64_t{grid.y} * block.y > UINT_MAX ||
        uint64_t{grid.z} * block.z > UINT_MAX)
        return hipErrorInvalidConfiguration;
    return hipSuccess;
}

} // namespace

extern "C" {

HIP_EXPORT hipError_t hipModuleLoadData(hipModuleHandle *out, const void *image)
{
    return entry(__func__, [&] { return load(out, image); });
}

HIP_EXPORT hipError_t hipModuleLoadDataEx(hipModuleHandle *out, const void *image, unsigned, int *, void **)
{
    return entry(__func__, [&] { return load(out, image); });
}

HIP_EXPORT hipError_t hipModuleLoad(hipModuleHandle *out, const char *path)
{
    return entry(__func__, [&] {
        if (path == nullptr)
            return hipErrorInvalidValue;
        std::string image;
        if (!read_file(path, &image))
            return hipErrorFileNotFound;
        image.resize(image.size() + 64); // a header reader must not run off a cut file
        return load(out, image.data());
    });
}

HIP_EXPORT hipError_t hipModuleUnload(hipModuleHandle module)
{
    return entry(__func__, [&] {
        const auto found = runtime().modules.remove(module);
        if (!found)
            return hipErrorInvalidHandle;
        for (const void *function : found->functions)
            runtime().functions.remove(function);
        for (const void *global : found->globals)
            runtime().ranges.take(global);
        softgpu_count("module", -1);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipModuleGetFunction(hipFunctionHandle *out, hipModuleHandle module, const char *name)
{
    return entry(__func__, [&] {
        if (out == nullptr || name == nullptr)
            return hipErrorInvalidValue;
        const auto found = runtime().modules.find(module);
        if (!found)
            return hipErrorInvalidHandle;
        auto handle = std::make_shared<FunctionHandle>();
        const hipError_t error = found->module->function(name, &handle->function);
        if (error != hipSuccess)
            return error;
        void *added = runtime().functions.add(std::move(handle));
        const std::lock_guard<std::mutex> guard(found->mutex);
        found->functions.push_back(added);
        *out = static_cast<hipFunctionHandle>(added);
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipModuleGetGlobal(void **address, size_t *size, hipModuleHandle module,
                                         const char *name)
{
    return entry(__func__, [&] {
        if (name == nullptr || (address == nullptr && size == nullptr))
            return hipErrorInvalidValue;
        const auto found = runtime().modules.find(module);
        if (!found)
            return hipErrorInvalidHandle;
        void *start = nullptr;
        size_t bytes = 0;
        const hipError_t error = found->module->global(name, &start, &bytes);
        if (error != hipSuccess)
            return error;
        // Known to the pointer map from here on, so that copies to and from it are device copies.
        if (runtime().ranges.add({static_cast<char *>(start), bytes, RangeKind::Global,
                                  current_device_index(), 0, nullptr, 0})) {
            const std::lock_guard<std::mutex> guard(found->mutex);
            found->globals.push_back(start);
        }
        if (address != nullptr)
            *address = start;
        if (size != nullptr)
            *size = bytes;
        return hipSuccess;
    });
}

HIP_EXPORT hipError_t hipModuleLaunchKernel(hipFunctionHandle function, unsigned grid_x, unsigned grid_y,
                                            unsigned grid_z, unsigned block_x, unsigned block_y,
                                            unsigned block_z, unsigned shared, hipStreamHandle stream,
                                            void **parameters, void **extra)
{
    return entry(__func__, [&] {
        const auto found = runtime().functions.find(function);
        if (!found)
            return hipErrorInvalidHandle;
        if (parameters != nullptr && extra != nullptr)
            return hipErrorInvalidValue;
        const LaunchShape shape{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared};
        const hipError_t error = check_shape(shape, *found->function);
        if (error != hipSuccess)
            return error;
        Arguments arguments{parameters, nullptr, 0};
        if (extra != nullptr && !parse_extra(extra, &arguments))
            return hipErrorInvalidValue;
        const auto queue = stream_of(stream);
        return queue ? queue->launch(found->function, shape, arguments) : hipErrorInvalidValue;
    });
}

} // extern "C"
