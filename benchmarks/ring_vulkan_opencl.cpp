// A ring of frames from Vulkan to OpenCL, by hand: what interop.links.rings.frame_ring is held against. Built by ring.py.
// The loader is opened at run time: RING_OPENCL names another file than libOpenCL.so.1.
#include "ring_vulkan.hpp"

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

namespace {

const char *const kSource = "__kernel void increment(__global uint *words, uint count)"
                            "{ uint i = get_global_id(0); if (i < count) words[i] += 1; }";

struct Library {
    void *handle;

    Library()
    {
        const char *given = std::getenv("RING_OPENCL");
        for (const char *name : {given, "libOpenCL.so.1", "libnvidia-opencl.so.1"})
            if (name != nullptr && (handle = dlopen(name, RTLD_NOW)) != nullptr) return;
        std::fprintf(stderr, "no OpenCL loader: set RING_OPENCL\n");
        std::exit(1);
    }

    template <class F> F find(const char *name) const { return reinterpret_cast<F>(dlsym(handle, name)); }
};
#define RING_CL(name) library.find<decltype(&name)>(#name)

using CreateSemaphore = void *(*)(cl_context, const cl_ulong *, cl_int *);
using Semaphores = cl_int (*)(cl_command_queue, cl_uint, void *const *, const cl_ulong *, cl_uint, const cl_event *,
                              cl_event *);
using Memories = cl_int (*)(cl_command_queue, cl_uint, const cl_mem *, cl_uint, const cl_event *, cl_event *);

struct OpenCL {
    struct Block {
        cl_mem memory = nullptr;
        std::vector<cl_kernel> kernels;
        void *ready = nullptr, *back = nullptr;
    };
    Library library;
    std::vector<Block> blocks;
    cl_platform_id platform = nullptr;
    cl_device_id device = nullptr;
    cl_context context = nullptr;
    cl_command_queue queue = nullptr;
    cl_program program = nullptr;
    decltype(&clEnqueueNDRangeKernel) enqueue = RING_CL(clEnqueueNDRangeKernel);
    decltype(&clFlush) flush = RING_CL(clFlush);
    CreateSemaphore create = nullptr;
    Semaphores wait = nullptr, signal = nullptr;
    Memories acquire = nullptr, release = nullptr;

    OpenCL()
    {
        cl_int code = 0;
        auto get = RING_CL(clGetExtensionFunctionAddressForPlatform);
        cl_platform_id found[16];
        cl_uint platforms = 0;
        RING_CHECK(RING_CL(clGetPlatformIDs)(16, found, &platforms));
        for (cl_uint index = 0; index < platforms && index < 16 && device == nullptr; index++) {
            platform = found[index];
            if (get(platform, "clCreateSemaphoreWithPropertiesKHR") != nullptr)
                (void)RING_CL(clGetDeviceIDs)(platform, CL_DEVICE_TYPE_ALL, 1, &device, nullptr);
        }
        if (device == nullptr) {
            std::fprintf(stderr, "no OpenCL device with external semaphores\n");
            std::exit(1);
        }
        context = RING_CL(clCreateContext)(nullptr, 1, &device, nullptr, nullptr, &code);
        RING_CHECK(code);
        queue = RING_CL(clCreateCommandQueueWithProperties)(context, device, nullptr, &code);
        RING_CHECK(code);
        const char *text = kSource;
        program = RING_CL(clCreateProgramWithSource)(context, 1, &text, nullptr, &code);
        RING_CHECK(code);
        RING_CHECK(RING_CL(clBuildProgram)(program, 1, &device, "", nullptr, nullptr));
        create = reinterpret_cast<CreateSemaphore>(get(platform, "clCreateSemaphoreWithPropertiesKHR"));
        wait = reinterpret_cast<Semaphores>(get(platform, "clEnqueueWaitSemaphoresKHR"));
        signal = reinterpret_cast<Semaphores>(get(platform, "clEnqueueSignalSemaphoresKHR"));
        acquire = reinterpret_cast<Memories>(get(platform, "clEnqueueAcquireExternalMemObjectsKHR"));
        release = reinterpret_cast<Memories>(get(platform, "clEnqueueReleaseExternalMemObjectsKHR"));
    }

    void *semaphore(int fd)
    {
        const cl_ulong properties[] = {0x203D, 1, 0x2055, static_cast<cl_ulong>(fd), 0}; // binary, opaque fd
        cl_int code = 0;
        void *made = create(context, properties, &code);
        RING_CHECK(code);
        return made;
    }

    void import(unsigned int, int fd, VkDeviceSize bytes, int ready, int back)
    {
        const cl_ulong properties[] = {0x2060, static_cast<cl_ulong>(fd), 0}; // opaque fd
        cl_int code = 0;
        Block block;
        block.memory =
            RING_CL(clCreateBufferWithProperties)(context, properties, CL_MEM_READ_WRITE, bytes, nullptr, &code);
        RING_CHECK(code);
        for (size_t at = 0; at + ring::kFrame <= bytes; at += ring::kFrame) {
            const cl_buffer_region region = {at, ring::kFrame};
            cl_mem part = RING_CL(clCreateSubBuffer)(block.memory, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
                                                     &region, &code);
            RING_CHECK(code);
            cl_kernel kernel = RING_CL(clCreateKernel)(program, "increment", &code);
            RING_CHECK(code);
            RING_CHECK(RING_CL(clSetKernelArg)(kernel, 0, sizeof part, &part));
            RING_CHECK(RING_CL(clSetKernelArg)(kernel, 1, sizeof ring::kWords, &ring::kWords));
            block.kernels.push_back(kernel);
        }
        block.ready = semaphore(ready);
        block.back = semaphore(back);
        blocks.push_back(block);
    }

    void take(unsigned int block)
    {
        RING_CHECK(wait(queue, 1, &blocks[block].ready, nullptr, 0, nullptr, nullptr));
        RING_CHECK(acquire(queue, 1, &blocks[block].memory, 0, nullptr, nullptr));
    }

    void launch(unsigned int block, unsigned int slot)
    {
        const size_t grid = ring::kWords;
        const cl_kernel kernel = blocks[block].kernels[slot];
        RING_CHECK(enqueue(queue, kernel, 1, nullptr, &grid, nullptr, 0, nullptr, nullptr));
    }

    void give(unsigned int block)
    {
        RING_CHECK(release(queue, 1, &blocks[block].memory, 0, nullptr, nullptr));
        RING_CHECK(signal(queue, 1, &blocks[block].back, nullptr, 0, nullptr, nullptr));
        RING_CHECK(flush(queue));
    }

    void finish() { RING_CHECK(RING_CL(clFinish)(queue)); }

    bool wrong(unsigned int block, unsigned int slot)
    {
        std::vector<unsigned int> words(ring::kWords);
        const cl_mem memory = blocks[block].memory;
        RING_CHECK(acquire(queue, 1, &memory, 0, nullptr, nullptr));
        RING_CHECK(RING_CL(clEnqueueReadBuffer)(queue, memory, CL_TRUE, slot * ring::kFrame, ring::kFrame,
                                                words.data(), 0, nullptr, nullptr));
        RING_CHECK(release(queue, 1, &memory, 0, nullptr, nullptr));
        for (unsigned int word : words)
            if (word != 8 + slot) return true;
        return false;
    }
};

} // namespace

int main(int argc, char **argv)
{
    OpenCL consumer;
    return ring::run(consumer, argc, argv);
}
