// Programs through hiprtc, and their launches.
#include "check.h"

#include <cstring>
#include <filesystem>
#include <fstream>

namespace
{

struct Build {
    hiprtcResult result = HIPRTC_SUCCESS;
    std::string log, code;
    std::vector<std::string> lowered;
};

Build build(const char *source, std::vector<const char *> options = {},
            const std::vector<const char *> &expressions = {}, const char *header = nullptr)
{
    Build made;
    hiprtcProgram program = nullptr;
    const char *const header_name = "own/header.h";
    OK(hiprtcCreateProgram(&program, source, "test.hip", header != nullptr ? 1 : 0, &header, &header_name));
    for (const char *expression : expressions)
        OK(hiprtcAddNameExpression(program, expression));
    made.result = hiprtcCompileProgram(program, static_cast<int>(options.size()), options.data());
    size_t size = 0;
    OK(hiprtcGetProgramLogSize(program, &size));
    made.log.resize(size);
    OK(hiprtcGetProgramLog(program, made.log.data()));
    if (made.result == HIPRTC_SUCCESS) {
        OK(hiprtcGetCodeSize(program, &size));
        made.code.resize(size);
        OK(hiprtcGetCode(program, made.code.data()));
        for (const char *expression : expressions) {
            const char *name = nullptr;
            OK(hiprtcGetLoweredName(program, expression, &name));
            made.lowered.emplace_back(name);
        }
    }
    OK(hiprtcDestroyProgram(&program));
    CHECK(program == nullptr);
    return made;
}

class Loaded
{
  public:
    explicit Loaded(const char *source, const std::vector<const char *> &expressions = {})
    {
        const Build made = build(source, {"--offload-arch=softgpu"}, expressions);
        if (made.result != HIPRTC_SUCCESS)
            fprintf(stderr, "%s\n", made.log.c_str());
        REQUIRE(made.result == HIPRTC_SUCCESS);
        lowered = made.lowered;
        OK(hipModuleLoadData(&module, made.code.data()));
    }
    ~Loaded()
    {
        hipModuleUnload(module);
    }
    Loaded(const Loaded &) = delete;
    Loaded &operator=(const Loaded &) = delete;
    hipFunctionHandle operator[](const char *name)
    {
        hipFunctionHandle function = nullptr;
        OK(hipModuleGetFunction(&function, module, name));
        return function;
    }

    hipModuleHandle module = nullptr;
    std::vector<std::string> lowered;
};

template <class T> struct DeviceArray {
    T *data = nullptr;
    size_t count;
    explicit DeviceArray(size_t n) : count(n)
    {
        OK(hipMalloc(reinterpret_cast<void **>(&data), n * sizeof(T)));
        OK(hipMemset(data, 0, n * sizeof(T)));
    }
    ~DeviceArray()
    {
        hipFree(data);
    }
    std::vector<T> read()
    {
        std::vector<T> host(count);
        OK(hipMemcpyDtoH(host.data(), data, count * sizeof(T)));
        return host;
    }
};

template <class... A>
hipError_t launch(hipFunctionHandle function, unsigned grid, unsigned block, unsigned shared, A... arguments)
{
    void *addresses[] = {&arguments..., nullptr};
    return hipModuleLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, nullptr, addresses, nullptr);
}

size_t open_fds()
{
    size_t count = 0;
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        (void)entry;
        ++count;
    }
    return count;
}

} // namespace

TEST(every_thread_runs_once_with_its_indices)
{
    Loaded module(R"(extern "C" __global__ void where(int *out, int columns)
    {
        int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
        int z = blockIdx.z * blockDim.z + threadIdx.z;
        int at = (z * (int)(gridDim.y * blockDim.y) + y) * columns + x;
        atomicAdd(out + at, x + 100 * y + 10000 * z + 1);
    })");
    DeviceArray<int> out(12 * 10 * 6);
    int columns = 12;
    void *arguments[] = {&out.data, &columns};
    OK(hipModuleLaunchKernel(module["where"], 3, 5, 2, 4, 2, 3, 0, nullptr, arguments, nullptr));
    const auto host = out.read();
    for (int z = 0; z < 6; ++z)
        for (int y = 0; y < 10; ++y)
            for (int x = 0; x < 12; ++x)
                CHECK(host[static_cast<size_t>((z * 10 + y) * 12 + x)] == x + 100 * y + 10000 * z + 1);
}

TEST(barriers_and_shared_memory)
{
    Loaded module(R"(
    #define N 256
    extern "C" __global__ void reduce(const int *in, int *out, int count)
    {
        __shared__ int part[N];
        int at = blockIdx.x * blockDim.x + threadIdx.x;
        part[threadIdx.x] = at < count ? in[at] : 0;
        __syncthreads();
        for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
            if (threadIdx.x < half)
                part[threadIdx.x] += part[threadIdx.x + half];
            __syncthreads();
        }
        if (threadIdx.x == 0)
            out[blockIdx.x] = part[0];
    }
    extern "C" __global__ void reverse(int *data)
    {
        extern __shared__ int tile[];
        tile[threadIdx.x] = data[blockIdx.x * blockDim.x + threadIdx.x];
        __syncthreads();
        data[blockIdx.x * blockDim.x + threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
    }
    // Some threads leave before the barrier; the others must not wait for them.
    extern "C" __global__ void early(int *out)
    {
        if (threadIdx.x % 3 == 0)
            return;
        __syncthreads();
        atomicAdd(out, 1);
        __syncthreads();
        if (*out != 42)
            atomicAdd(out + 1, 1);
    })");
    constexpr unsigned count = 256 * 200;
    DeviceArray<int> in(count), out(200), pair(2);
    std::vector<int> host(count);
    for (unsigned i = 0; i < count; ++i)
        host[i] = static_cast<int>(i % 97);
    OK(hipMemcpyHtoD(in.data, host.data(), count * sizeof(int)));
    OK(launch(module["reduce"], 200, 256, 0, in.data, out.data, static_cast<int>(count)));
    const auto sums = out.read();
    for (unsigned block = 0; block < 200; ++block) {
        int expected = 0;
        for (unsigned i = 0; i < 256; ++i)
            expected += host[block * 256 + i];
        CHECK(sums[block] == expected);
    }
    OK(launch(module["reverse"], 200, 256, 256 * sizeof(int), in.data));
    const auto reversed = in.read();
    for (unsigned i = 0; i < count; ++i)
        CHECK(reversed[i] == host[i / 256 * 256 + 255 - i % 256]);
    OK(launch(module["early"], 1, 63, 0, pair.data));
    CHECK(pair.read()[0] == 42 && pair.read()[1] == 0);
}

TEST(large_grids_are_shared_out_correctly)
{
    Loaded module(R"(extern "C" __global__ void count(unsigned long long *sum, float *total)
    {
        atomicAdd(sum, blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x);
        atomicAdd(total, 1.0f);
    })");
    DeviceArray<unsigned long long> sum(1);
    DeviceArray<float> total(1);
    constexpr unsigned long long n = 1000ull * 128;
    OK(launch(module["count"], 1000, 128, 0, sum.data, total.data));
    CHECK(sum.read()[0] == n * (n - 1) / 2);
    CHECK(total.read()[0] == static_cast<float>(n));
}

TEST(arguments_in_both_forms)
{
    Loaded module(R"(struct Pair { char tag; double value; };
    extern "C" __global__ void sum(double *out, char a, short b, Pair p, long c, float d, float4 e)
    {
        *out = a + b + p.tag + p.value + c + d + e.w;
    })");
    struct Pair {
        char tag;
        double value;
    };
    struct alignas(16) Float4 {
        float x, y, z, w;
    };
    DeviceArray<double> out(1);
    const Pair pair{3, 0.5};
    const Float4 four{0, 0, 0, 6};
    OK(launch(module["sum"], 1, 1, 0, out.data, char{1}, short{2}, pair, 4l, 5.0f, four));
    CHECK(out.read()[0] == 21.5);
    struct {
        double *out;
        char a;
        short b;
        Pair p;
        long c;
        float d;
        Float4 e;
    } packed{out.data, 10, 2, pair, 4, 5, four};
    size_t size = sizeof packed;
    void *extra[] = {reinterpret_cast<void *>(1), &packed, reinterpret_cast<void *>(2), &size,
                     reinterpret_cast<void *>(3)};
    const auto sum = module["sum"];
    OK(hipModuleLaunchKernel(sum, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
    CHECK(out.read()[0] == 30.5);
    size = 16;
    EXPECT(hipErrorInvalidValue, hipModuleLaunchKernel(sum, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
    EXPECT(hipErrorInvalidValue, hipModuleLaunchKernel(sum, 1, 1, 1, 1, 1, 1, 0, nullptr, extra, extra));
    EXPECT(hipErrorInvalidValue, hipModuleLaunchKernel(sum, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr));
}

TEST(launches_are_checked)
{
    Loaded module(R"(extern "C" __global__ void nothing() {})");
    const auto f = module["nothing"];
    int local = 0;
    EXPECT(hipErrorInvalidHandle, launch(nullptr, 1, 1, 0));
    EXPECT(hipErrorInvalidHandle, launch(reinterpret_cast<hipFunctionHandle>(&local), 1, 1, 0));
    EXPECT(hipErrorInvalidConfiguration, launch(f, 0, 1, 0));
    EXPECT(hipErrorInvalidConfiguration, launch(f, 1, 0, 0));
    EXPECT(hipErrorInvalidConfiguration, launch(f, 1, 1025, 0));
    EXPECT(hipErrorInvalidConfiguration, launch(f, 1u << 31, 1024, 0));
    hipDeviceProp_tR0600 properties;
    OK(hipGetDevicePropertiesR0600(&properties, 0));
    const auto most = static_cast<unsigned>(properties.sharedMemPerBlock);
    EXPECT(hipErrorInvalidValue, launch(f, 1, 1, most + 1));
    EXPECT(hipSuccess, launch(f, 1, 1024, most));
    hipFunctionHandle missing = nullptr;
    EXPECT(hipErrorNotFound, hipModuleGetFunction(&missing, module.module, "nowhere"));
    EXPECT(hipErrorInvalidValue, hipModuleGetFunction(&missing, module.module, nullptr));
    EXPECT(hipErrorInvalidHandle, hipModuleGetFunction(&missing, nullptr, "nothing"));
}

TEST(names_of_kernels)
{
    // `write` is also a function of the C library; the plain C++ kernel has its mangled name only, as on a
    // GPU.
    Loaded module(R"(
    #define KERNEL extern "C" __global__
    KERNEL void write(int *out) { *out = 1; }
    __global__ void mangled(int *out) { *out = 2; }
    namespace inner { __global__ void __launch_bounds__(64) mangled(int *out) { *out = 3; } }
    template <class T> __global__ void scale(T *out, T by) { *out *= by; }
    /* __global__ void commented(int *out) {} */
    const char *text = "__global__ void quoted() {";
    __global__ void declared_only(int *out);
    )",
                  {"scale<int>", "inner::mangled"});
    DeviceArray<int> out(1);
    OK(launch(module["write"], 1, 1, 0, out.data));
    CHECK(out.read()[0] == 1);
    OK(launch(module["_Z7mangledPi"], 1, 1, 0, out.data));
    CHECK(out.read()[0] == 2);
    OK(launch(module[module.lowered[0].c_str()], 1, 1, 0, out.data, 21));
    CHECK(out.read()[0] == 42);
    OK(launch(module[module.lowered[1].c_str()], 1, 1, 0, out.data));
    CHECK(out.read()[0] == 3);
    hipFunctionHandle missing = nullptr;
    EXPECT(hipErrorNotFound, hipModuleGetFunction(&missing, module.module, "mangled"));
    EXPECT(hipErrorNotFound, hipModuleGetFunction(&missing, module.module, "commented"));
    EXPECT(hipErrorNotFound, hipModuleGetFunction(&missing, module.module, "text"));
}

TEST(variables_of_modules)
{
    Loaded module(R"(__constant__ float table[4]; __device__ int counter = 5;
    extern "C" __global__ void use(float *out) { out[threadIdx.x] = table[threadIdx.x] * counter; })");
    void *address = nullptr;
    size_t size = 0;
    OK(hipModuleGetGlobal(&address, &size, module.module, "table"));
    CHECK(size == 16);
    const float values[4] = {1, 2, 3, 4};
    OK(hipMemcpyHtoD(address, values, 16));
    EXPECT(hipErrorInvalidValue, hipFree(address));
    DeviceArray<float> out(4);
    OK(launch(module["use"], 1, 4, 0, out.data));
    CHECK(out.read()[3] == 20);
    EXPECT(hipErrorNotFound, hipModuleGetGlobal(&address, &size, module.module, "nowhere"));
    EXPECT(hipErrorNotFound, hipModuleGetGlobal(&address, &size, module.module, "use"));
}

TEST(compile_errors_keep_the_line)
{
    const Build wrong = build("extern \"C\" __global__ void k(float *a)\n{\n    a[0] = missing;\n}\n");
    CHECK(wrong.result == HIPRTC_ERROR_COMPILATION);
    CHECK(wrong.log.find("test.hip:3:") != std::string::npos);
    CHECK(wrong.log.find("missing") != std::string::npos);
    CHECK(build("#error stop here\n").log.find("test.hip:1:") != std::string::npos);
    CHECK(build("", {"--no-such-option"}).result == HIPRTC_ERROR_COMPILATION);
    CHECK(build("extern \"C\" __global__ int k() { return 1; }").result == HIPRTC_ERROR_COMPILATION);
}

TEST(options_and_headers)
{
    CHECK(build("#if VALUE != 3\n#error\n#endif\n", {"-DVALUE=3"}).result == HIPRTC_SUCCESS);
    CHECK(build("#if VALUE != 3\n#error\n#endif\n", {"-D", "VALUE=3", "-O3", "-ffast-math"}).result ==
          HIPRTC_SUCCESS);
    CHECK(build("#if __cplusplus < 202000\n#error\n#endif\n", {"--std=c++20"}).result == HIPRTC_SUCCESS);
    CHECK(build("#include <own/header.h>\nint x = OWN;\n", {}, {}, "#define OWN 1\n").result ==
          HIPRTC_SUCCESS);
    CHECK(build("#include <hip/hip_runtime.h>\n#include <cmath>\n#include <cstdint>\n"
                "__device__ __noinline__ __attribute__((__noinline__)) int two() { return 2; }\n"
                "extern \"C\" __global__ void k(float *a, double *b, int i)"
                "{ *a = sin(*a) + sqrt(2.0f) + fabs(*a); *b = pow(*b, two()) + sqrt(i) + abs(-2) + "
                "std::floor(*b); }\n")
              .result == HIPRTC_SUCCESS);
    const Switched compiler("CXX", "no-such-compiler");
    CHECK(build("int x;").result == HIPRTC_SUCCESS); // libhiprtc has switches of its own
}

TEST(modules_come_and_go)
{
    const Build made = build(R"(extern "C" __global__ void set(int *out, int value) { *out = value; })");
    REQUIRE(made.result == HIPRTC_SUCCESS);
    DeviceArray<int> out(1);
    const size_t before = open_fds();
    for (int i = 0; i < 30; ++i) {
        hipModuleHandle module = nullptr;
        hipFunctionHandle function = nullptr;
        OK(hipModuleLoadData(&module, made.code.data()));
        OK(hipModuleGetFunction(&function, module, "set"));
        OK(launch(function, 1, 1, 0, out.data, i));
        OK(hipModuleUnload(module)); // while the launch may be pending
        EXPECT(hipErrorInvalidHandle, launch(function, 1, 1, 0, out.data, i));
        EXPECT(hipErrorInvalidHandle, hipModuleUnload(module));
        CHECK(out.read()[0] == i);
    }
    OK(hipDeviceSynchronize());
    CHECK(open_fds() == before);

    const auto path =
        std::filesystem::temp_directory_path() / ("softgpu-test-" + std::to_string(before) + ".co");
    std::ofstream(path, std::ios::binary) << made.code;
    hipModuleHandle module = nullptr;
    OK(hipModuleLoad(&module, path.c_str()));
    OK(hipModuleUnload(module));
    std::filesystem::remove(path);
    EXPECT(hipErrorFileNotFound, hipModuleLoad(&module, path.c_str()));
    EXPECT(hipErrorInvalidImage,
           hipModuleLoadData(&module, "not a code object at all ......................."));
    std::string foreign = made.code;
    foreign[18] = static_cast<char>(224); // e_machine: AMDGPU
    foreign[19] = 0;
    EXPECT(hipErrorNoBinaryForGpu, hipModuleLoadData(&module, foreign.data()));
    EXPECT(hipErrorInvalidValue, hipModuleLoadData(&module, nullptr));
}

TEST(program_arguments)
{
    hiprtcProgram program = nullptr;
    EXPECT(HIPRTC_ERROR_INVALID_PROGRAM, hiprtcCreateProgram(nullptr, "", "x", 0, nullptr, nullptr));
    EXPECT(HIPRTC_ERROR_INVALID_INPUT, hiprtcCreateProgram(&program, nullptr, "x", 0, nullptr, nullptr));
    EXPECT(HIPRTC_ERROR_INVALID_INPUT, hiprtcCreateProgram(&program, "", "x", 1, nullptr, nullptr));
    EXPECT(HIPRTC_ERROR_INVALID_PROGRAM, hiprtcCompileProgram(nullptr, 0, nullptr));
    EXPECT(HIPRTC_ERROR_INVALID_INPUT, hiprtcDestroyProgram(nullptr));
    OK(hiprtcCreateProgram(&program, "", nullptr, 0, nullptr, nullptr));
    char byte = 0;
    EXPECT(HIPRTC_ERROR_INVALID_PROGRAM, hiprtcGetCode(program, &byte)); // not compiled
    const char *name = nullptr;
    EXPECT(HIPRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION, hiprtcGetLoweredName(program, "k", &name));
    OK(hiprtcCompileProgram(program, 0, nullptr));
    EXPECT(HIPRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION, hiprtcAddNameExpression(program, "k"));
    EXPECT(HIPRTC_ERROR_NAME_EXPRESSION_NOT_VALID, hiprtcGetLoweredName(program, "k", &name));
    hiprtcProgram copy = program;
    OK(hiprtcDestroyProgram(&program));
    EXPECT(HIPRTC_ERROR_INVALID_PROGRAM, hiprtcDestroyProgram(&copy));
    CHECK(std::strcmp(hiprtcGetErrorString(HIPRTC_ERROR_COMPILATION), "HIPRTC_ERROR_COMPILATION") == 0);
}
