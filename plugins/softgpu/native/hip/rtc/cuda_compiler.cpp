// Kernels for an NVIDIA GPU, by NVRTC. HIP's device language is CUDA's but for a few names.
#include "compiler.h"
#include "cuda/driver.h"
#include "cuda_headers.h"
#include "cuda_options.h"
#include "nvrtc.h"

#include <algorithm>
#include <cctype>

namespace softgpu::rtc
{

namespace
{

// An NVRTC program, destroyed with the object.
class NvrtcProgram
{
  public:
    explicit NvrtcProgram(const Nvrtc &nvrtc) : nvrtc_(nvrtc)
    {
    }
    ~NvrtcProgram()
    {
        if (program_ != nullptr)
            nvrtc_.nvrtcDestroyProgram(&program_);
    }
    NvrtcProgram(const NvrtcProgram &) = delete;
    NvrtcProgram &operator=(const NvrtcProgram &) = delete;

    nvrtcResult create(const Program &program)
    {
        std::vector<const char *> names;
        std::vector<const char *> texts;
        for (const Header &header : program.headers) {
            names.push_back(header.name.c_str());
            texts.push_back(header.text.c_str());
        }
        for (int i = 0; i < cuda_header_count; ++i) {
            const std::string own = cuda_headers[i].name;
            if (std::find(names.begin(), names.end(), own) != names.end())
                continue; // the program brings its own
            names.push_back(cuda_headers[i].name);
            texts.push_back(cuda_headers[i].text);
        }
        return nvrtc_.nvrtcCreateProgram(&program_, program.source.c_str(), program.name.c_str(),
                                         static_cast<int>(names.size()), texts.data(), names.data());
    }
    nvrtcProgram get() const
    {
        return program_;
    }
    using SizeOf = nvrtcResult (*)(nvrtcProgram, size_t *);
    using Fetch = nvrtcResult (*)(nvrtcProgram, char *);
    nvrtcResult read(SizeOf size_of, Fetch fetch, std::string *out) const
    {
        size_t size = 0;
        nvrtcResult result = size_of(program_, &size);
        if (result != HIPRTC_SUCCESS || size == 0)
            return result;
        out->resize(size);
        result = fetch(program_, out->data());
        return result;
    }

  private:
    const Nvrtc &nvrtc_;
    nvrtcProgram program_ = nullptr;
};

// Of the thread's current device, else of the first: 90 for 9.0. 0: no device.
int device_architecture()
{
    const cuda::Driver *driver = cuda::find_driver();
    cuda::CUcontext context = nullptr;
    cuda::CUdevice device = 0;
    int major = 0;
    int minor = 0;
    if (driver == nullptr)
        return 0;
    if (driver->cuCtxGetCurrent(&context) != cuda::success || context == nullptr ||
        driver->cuCtxGetDevice(&device) != cuda::success)
        if (driver->cuDeviceGet(&device, 0) != cuda::success)
            return 0;
    driver->cuDeviceGetAttribute(&major, cuda::Attribute::ComputeCapabilityMajor, device);
    driver->cuDeviceGetAttribute(&minor, cuda::Attribute::ComputeCapabilityMinor, device);
    return major * 10 + minor;
}

// The newest that NVRTC knows and the device runs; 0: none.
int nearest_architecture(const Nvrtc &nvrtc, int wanted)
{
    int count = 0;
    if (nvrtc.nvrtcGetNumSupportedArchs(&count) != HIPRTC_SUCCESS || count <= 0)
        return 0;
    std::vector<int> known(static_cast<size_t>(count));
    if (nvrtc.nvrtcGetSupportedArchs(known.data()) != HIPRTC_SUCCESS)
        return 0;
    int nearest = 0;
    for (const int one : known)
        if (one <= wanted)
            nearest = std::max(nearest, one);
    return nearest;
}

// NVRTC writes "file(3): error", HIP's compiler "file:3:12: error", which is what its callers look for.
std::string as_clang(const std::string &log)
{
    std::string out;
    for (size_t at = 0; at < log.size();) {
        const size_t end = std::min(log.find('\n', at), log.size());
        std::string line = log.substr(at, end - at);
        const size_t close = line.find("): ");
        const size_t open = close == std::string::npos ? close : line.rfind('(', close);
        if (open != std::string::npos && close > open + 1 &&
            std::all_of(line.begin() + static_cast<std::ptrdiff_t>(open) + 1,
                        line.begin() + static_cast<std::ptrdiff_t>(close),
                        [](unsigned char c) { return std::isdigit(c) != 0; })) {
            line[open] = ':';
            line.erase(close, 1);
        }
        out += line;
        if (end < log.size())
            out += '\n';
        at = end + 1;
    }
    return out;
}

class CudaCompiler : public Compiler
{
  public:
    hiprtcResult compile(const Program &program, const std::vector<std::string> &words,
                         Compiled *out) override
    {
        CudaOptions options;
        if (!translate_options(words, &options, &out->log))
            return HIPRTC_ERROR_COMPILATION;
        const Nvrtc *nvrtc = find_nvrtc(&out->log);
        if (nvrtc == nullptr)
            return HIPRTC_ERROR_COMPILATION;
        const int wanted = options.architecture != 0 ? options.architecture : device_architecture();
        const int nearest = nearest_architecture(*nvrtc, wanted);
        if (nearest == 0) {
            out->log += "error: NVRTC has no architecture for compute capability " + std::to_string(wanted) +
                        " nor an older one\n";
            return HIPRTC_ERROR_COMPILATION;
        }
        // A binary where NVRTC knows the device: drivers refuse PTX of a newer NVRTC.
        const bool exact = nearest == wanted;
        options.words.push_back(std::string("--gpu-architecture=") + (exact ? "sm_" : "compute_") +
                                std::to_string(nearest));
        options.words.emplace_back("--device-as-default-execution-space");
        options.words.push_back(std::string("--pre-include=") + cuda_prelude_name);
        options.words.emplace_back("--diag-suppress=177"); // unused functions: HIP's compiler is silent
        return build(*nvrtc, program, options.words, exact, out);
    }

  private:
    static hiprtcResult build(const Nvrtc &nvrtc, const Program &program,
                              const std::vector<std::string> &words, bool exact, Compiled *out)
    {
        NvrtcProgram made(nvrtc);
        nvrtcResult result = made.create(program);
        for (const std::string &expression : program.expressions)
            if (result == HIPRTC_SUCCESS)
                result = nvrtc.nvrtcAddNameExpression(made.get(), expression.c_str());
        if (result != HIPRTC_SUCCESS)
            return static_cast<hiprtcResult>(result);
        std::vector<const char *> options;
        for (const std::string &word : words)
            options.push_back(word.c_str());
        result = nvrtc.nvrtcCompileProgram(made.get(), static_cast<int>(options.size()), options.data());
        std::string log;
        if (made.read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, &log) == HIPRTC_SUCCESS)
            out->log += as_clang(log.c_str()); // its size counts the zero at the end
        if (result == HIPRTC_SUCCESS)
            result = exact ? made.read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, &out->code)
                           : made.read(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, &out->code);
        for (const std::string &expression : program.expressions) {
            const char *name = nullptr;
            if (result == HIPRTC_SUCCESS)
                result = nvrtc.nvrtcGetLoweredName(made.get(), expression.c_str(), &name);
            if (result == HIPRTC_SUCCESS)
                out->lowered.emplace_back(name);
        }
        return result > HIPRTC_ERROR_INTERNAL_ERROR ? HIPRTC_ERROR_INTERNAL_ERROR
                                                    : static_cast<hiprtcResult>(result);
    }
};

} // namespace

std::unique_ptr<Compiler> cuda_compiler()
{
    return std::make_unique<CudaCompiler>();
}

} // namespace softgpu::rtc
