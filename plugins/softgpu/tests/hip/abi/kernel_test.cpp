// Kernels: compiled by hiprtc, loaded, launched.
#include "support.h"

#include <thread>

using namespace test;

namespace
{

std::vector<uint32_t> counting(uint32_t count, uint32_t factor)
{
    std::vector<uint32_t> values(count);
    for (uint32_t i = 0; i < count; ++i)
        values[i] = i * factor;
    return values;
}

constexpr const char *scale = R"(
extern "C" __global__ void scale(unsigned *out, unsigned factor)
{
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = i * factor;
})";

} // namespace

TEST(kernel, runs_every_thread_once)
{
    const Module module(scale);
    const Words words(1 << 16, 0xffffffff); // enough for helper threads
    const Stream stream;
    OK(launch(module.function("scale"), 256, 256, stream, words.get(), 3u));
    OK(hipStreamSynchronize(stream));
    CHECK(words.read() == counting(1 << 16, 3));
}

TEST(kernel, takes_packed_arguments)
{
    const Module module(R"(
struct Pair { char tag; double value; };
extern "C" __global__ void mixed(unsigned *out, char a, double b, short c, Pair d)
{
    out[0] = a; out[1] = b; out[2] = c; out[3] = d.tag; out[4] = d.value;
})");
    struct Pair {
        char tag;
        double value;
    };
    struct Packed {
        uint32_t *out;
        char a;
        double b;
        short c;
        Pair d;
    };
    const Words words(5);
    Packed packed{words.get(), 1, 2.0, 3, {4, 5.0}};
    size_t size = sizeof packed;
    void *extra[] = {reinterpret_cast<void *>(1), &packed, reinterpret_cast<void *>(2), &size,
                     reinterpret_cast<void *>(3)};
    const auto function = module.function("mixed");
    OK(hipModuleLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
    CHECK(words.read() == (std::vector<uint32_t>{1, 2, 3, 4, 5}));
    size = 8;
    CHECK_EQ(hipModuleLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra),
             hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(kernel, indices_in_three_dimensions)
{
    const Module module(R"(
extern "C" __global__ void place(unsigned *out)
{
    unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    unsigned z = blockIdx.z * blockDim.z + threadIdx.z;
    unsigned width = gridDim.x * blockDim.x, height = gridDim.y * blockDim.y;
    unsigned i = (z * height + y) * width + x;
    out[i] += i;
})");
    const Words words(6 * 4 * 6);
    uint32_t *out = words.get();
    void *arguments[] = {&out};
    OK(hipModuleLaunchKernel(module.function("place"), 3, 1, 2, 2, 4, 3, 0, nullptr, arguments, nullptr));
    CHECK(words.read() == counting(6 * 4 * 6, 1));
}

TEST(kernel, barriers_and_shared_memory)
{
    const Module module(R"(
extern "C" __global__ void sum(const unsigned *in, unsigned *out)
{
    __shared__ unsigned part[256];
    unsigned t = threadIdx.x;
    part[t] = in[blockIdx.x * 256 + t];
    __syncthreads();
    for (unsigned step = 128; step > 0; step /= 2) {
        if (t < step)
            part[t] += part[t + step];
        __syncthreads();
    }
    if (t == 0)
        out[blockIdx.x] = part[0];
})");
    const Words in(256 * 128, 2); // also on the helper threads
    const Words out(128);
    for (int round = 0; round < 3; ++round)
        OK(launch(module.function("sum"), 128, 256, nullptr, in.get(), out.get()));
    CHECK(out.read() == std::vector<uint32_t>(128, 512));
}

TEST(kernel, dynamic_shared_memory_and_threads_that_leave_early)
{
    const Module module(R"(
extern "C" __global__ void turn(unsigned *data, unsigned count)
{
    extern __shared__ unsigned tile[];
    unsigned t = threadIdx.x;
    if (t >= count)
        return;
    tile[t] = data[t];
    __syncthreads();
    data[t] = tile[count - 1 - t];
})");
    const Words words(64);
    const auto sent = counting(64, 1);
    OK(hipMemcpyHtoD(words.get(), sent.data(), 256));
    uint32_t *data = words.get();
    unsigned count = 50;
    void *arguments[] = {&data, &count};
    OK(hipModuleLaunchKernel(module.function("turn"), 1, 1, 1, 64, 1, 1, 256, nullptr, arguments, nullptr));
    const auto values = words.read();
    for (uint32_t i = 0; i < 64; ++i)
        CHECK_EQ(values[i], i < 50 ? 49 - i : i);
    hipDeviceProp_tR0600 properties;
    OK(hipGetDevicePropertiesR0600(&properties, 0));
    const auto most = static_cast<unsigned>(properties.sharedMemPerBlock);
    const auto turn = module.function("turn");
    OK(hipModuleLaunchKernel(turn, 1, 1, 1, 64, 1, 1, most, nullptr, arguments, nullptr));
    CHECK_EQ(hipModuleLaunchKernel(turn, 1, 1, 1, 64, 1, 1, most + 1, nullptr, arguments, nullptr),
             hipErrorInvalidValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(kernel, atomics_over_all_blocks)
{
    const Module module(R"(
extern "C" __global__ void count(unsigned *out, float *sum, unsigned long long *wide)
{
    atomicAdd(&out[0], 1u);
    atomicMax(&out[1], blockIdx.x * blockDim.x + threadIdx.x);
    atomicOr(&out[2], 1u << (threadIdx.x & 31));
    atomicInc(&out[3], 4u);
    atomicCAS(&out[4], 0u, 7u);
    atomicAdd(sum, 0.5f);
    atomicAdd(wide, 1ull << 32);
})");
    const Words words(5);
    const Words sum(1);
    const Words wide(2);
    OK(launch(module.function("count"), 256, 128, nullptr, words.get(), sum.get(), wide.get()));
    CHECK(words.read() == (std::vector<uint32_t>{32768, 32767, UINT32_MAX, 32768 % 5, 7}));
    const uint32_t bits = sum.read()[0];
    float value = 0;
    std::memcpy(&value, &bits, 4);
    CHECK_EQ(value, 16384.0f);
    CHECK_EQ(wide.read()[1], 32768u);
}

TEST(kernel, barriers_on_many_streams_at_once)
{
    const Module module(R"(
extern "C" __global__ void rotate(unsigned *data)
{
    __shared__ unsigned tile[64];
    for (int i = 0; i < 8; ++i) {
        tile[threadIdx.x] = data[blockIdx.x * 64 + threadIdx.x];
        __syncthreads();
        data[blockIdx.x * 64 + threadIdx.x] = tile[(threadIdx.x + 1) % 64];
        __syncthreads();
    }
})");
    const auto function = module.function("rotate");
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([function] {
            const Stream stream;
            const Words words(64 * 300);
            const auto sent = counting(64 * 300, 1);
            OK(hipMemcpyHtoD(words.get(), sent.data(), sent.size() * 4));
            for (int round = 0; round < 8; ++round)
                OK(launch(function, 300, 64, stream, words.get()));
            OK(hipStreamSynchronize(stream));
            CHECK(words.read() == sent); // 8 launches of 8 steps turn 64 elements once around
        });
    for (std::thread &thread : threads)
        thread.join();
}

TEST(kernel, global_variables)
{
    const Module module(R"(
__constant__ unsigned table[4];
extern "C" __global__ void look(unsigned *out) { out[threadIdx.x] = table[threadIdx.x]; })");
    void *table = nullptr;
    size_t size = 0;
    OK(hipModuleGetGlobal(&table, &size, module.handle, "table"));
    CHECK_EQ(size, 16u);
    const uint32_t sent[] = {9, 8, 7, 6};
    OK(hipMemcpyHtoD(table, sent, 16));
    CHECK_EQ(hipFree(table), hipErrorInvalidValue);
    const Words words(4);
    OK(launch(module.function("look"), 1, 4, nullptr, words.get()));
    CHECK(words.read() == (std::vector<uint32_t>{9, 8, 7, 6}));
    CHECK_EQ(hipModuleGetGlobal(&table, &size, module.handle, "nothing"), hipErrorNotFound);
    CHECK_EQ(hipGetLastError(), hipErrorNotFound);
}

TEST(kernel, standard_headers_options_and_own_headers)
{
    const char *header = "static const unsigned own = 40;\n";
    const char *header_name = "parts/own.h";
    const char *source = R"(
#include <cmath>
#include <cstdint>
#include <hip/hip_runtime.h>
#include "parts/own.h"
extern "C" __global__ void root(unsigned *out, float x)
{
    out[0] = std::uint32_t(std::sqrt(x)) + static_cast<unsigned>(fmaxf(1.f, std::abs(-2.f)));
    out[1] = own + STEP;
})";
    hiprtcProgram program = nullptr;
    OK(hiprtcCreateProgram(&program, source, "test.hip", 1, &header, &header_name));
    const char *options[] = {"-DSTEP=2", "--offload-arch=gfx1100", "-O3", "-std=c++14"};
    OK(hiprtcCompileProgram(program, 4, options));
    size_t size = 0;
    OK(hiprtcGetCodeSize(program, &size));
    std::string code(size, '\0');
    OK(hiprtcGetCode(program, code.data()));
    OK(hiprtcDestroyProgram(&program));
    hipModuleHandle module = nullptr;
    hipFunctionHandle function = nullptr;
    OK(hipModuleLoadData(&module, code.data()));
    OK(hipModuleGetFunction(&function, module, "root"));
    const Words words(2);
    OK(launch(function, 1, 1, nullptr, words.get(), 81.0f));
    CHECK(words.read() == (std::vector<uint32_t>{11, 42}));
    OK(hipModuleUnload(module));
}

TEST(kernel, name_expressions)
{
    hiprtcProgram program = nullptr;
    OK(hiprtcCreateProgram(&program, "template <class T> __global__ void put(T *out, T v) { *out = v; }",
                           "test.hip", 0, nullptr, nullptr));
    OK(hiprtcAddNameExpression(program, "put<unsigned>"));
    const char *lowered = nullptr;
    CHECK_EQ(hiprtcGetLoweredName(program, "put<unsigned>", &lowered),
             HIPRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION);
    OK(hiprtcCompileProgram(program, 0, nullptr));
    OK(hiprtcGetLoweredName(program, "put<unsigned>", &lowered));
    size_t size = 0;
    OK(hiprtcGetCodeSize(program, &size));
    std::string code(size, '\0');
    OK(hiprtcGetCode(program, code.data()));
    hipModuleHandle module = nullptr;
    hipFunctionHandle function = nullptr;
    OK(hipModuleLoadData(&module, code.data()));
    OK(hipModuleGetFunction(&function, module, lowered));
    const Words words(1);
    OK(launch(function, 1, 1, nullptr, words.get(), 6u));
    CHECK_EQ(words.read()[0], 6u);
    OK(hipModuleUnload(module));
    OK(hiprtcDestroyProgram(&program));
}

TEST(kernel, errors_name_the_users_line)
{
    hiprtcProgram program = nullptr;
    OK(hiprtcCreateProgram(&program, "extern \"C\" __global__ void f(int *p)\n{\n    *p = nothing;\n}\n",
                           "mine.hip", 0, nullptr, nullptr));
    CHECK_EQ(hiprtcCompileProgram(program, 0, nullptr), HIPRTC_ERROR_COMPILATION);
    size_t size = 0;
    OK(hiprtcGetProgramLogSize(program, &size));
    std::string log(size, '\0');
    OK(hiprtcGetProgramLog(program, log.data()));
    CHECK(log.find("mine.hip:3:") != std::string::npos);
    CHECK(log.find("nothing") != std::string::npos);
    OK(hiprtcDestroyProgram(&program));
    CHECK_EQ(hiprtcDestroyProgram(&program), HIPRTC_ERROR_INVALID_PROGRAM);
    CHECK_EQ(hiprtcCreateProgram(&program, nullptr, "x", 0, nullptr, nullptr), HIPRTC_ERROR_INVALID_INPUT);
    CHECK_EQ(hiprtcCompileProgram(nullptr, 0, nullptr), HIPRTC_ERROR_INVALID_PROGRAM);
}

TEST(kernel, pending_launch_outlives_its_module)
{
    const Stream stream;
    const Words words(64);
    Gate gate;
    {
        const Module module(scale);
        const auto function = module.function("scale");
        gate.hold(stream); // CUDA loads code only when nothing is held
        OK(launch(function, 1, 64, stream, words.get(), 2u));
    }
    gate.open();
    OK(hipStreamSynchronize(stream));
    CHECK(words.read() == counting(64, 2));
}

// Each test ends with a count of open files, so a library that stays loaded after its unload is found here.
TEST(kernel, modules_go_when_unloaded)
{
    const std::string plain = compile(scale);
    const std::string with_unique = compile(R"(
#include <limits>
template <class T> struct Shared { static inline T value = std::numeric_limits<T>::max(); };
extern "C" __global__ void get(unsigned *out) { out[0] = Shared<unsigned>::value--; })");
    const Words words(4);
    for (int round = 0; round < 5; ++round) {
        for (const std::string *code : {&plain, &with_unique}) {
            hipModuleHandle module = nullptr;
            hipFunctionHandle function = nullptr;
            OK(hipModuleLoadData(&module, code->data()));
            if (code == &with_unique) {
                OK(hipModuleGetFunction(&function, module, "get"));
                OK(launch(function, 1, 1, nullptr, words.get()));
                CHECK_EQ(words.read()[0], UINT32_MAX); // a variable of its own, new with each load
            }
            OK(hipModuleUnload(module));
        }
    }
}

TEST(kernel, refuses_bad_launches_and_images)
{
    const Module module(scale);
    const auto function = module.function("scale");
    const Words words(4);
    CHECK_EQ(launch(function, 0, 1, nullptr, words.get(), 1u), hipErrorInvalidConfiguration);
    CHECK_EQ(launch(function, 1, 0, nullptr, words.get(), 1u), hipErrorInvalidConfiguration);
    CHECK_EQ(launch(function, 1, 1025, nullptr, words.get(), 1u), hipErrorInvalidConfiguration);
    CHECK_EQ(launch(function, UINT32_MAX, 2, nullptr, words.get(), 1u), hipErrorInvalidConfiguration);
    CHECK_EQ(launch(nullptr, 1, 1, nullptr, words.get(), 1u), hipErrorInvalidHandle);
    CHECK_EQ(hipModuleLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr),
             hipErrorInvalidValue);
    hipFunctionHandle nothing = nullptr;
    CHECK_EQ(hipModuleGetFunction(&nothing, module.handle, "nothing"), hipErrorNotFound);
    hipModuleHandle loaded = nullptr;
    CHECK_EQ(hipModuleLoadData(&loaded, nullptr), hipErrorInvalidValue);
    CHECK_EQ(hipModuleLoadData(&loaded, "this is no code object, though long enough to look at ......."),
             hipErrorInvalidImage);
    CHECK_EQ(hipModuleLoad(&loaded, "/nowhere"), hipErrorFileNotFound);
    CHECK_EQ(hipModuleUnload(nullptr), hipErrorInvalidHandle);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidHandle);
}
