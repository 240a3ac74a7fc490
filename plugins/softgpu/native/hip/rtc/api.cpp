// libhiprtc: programs at run time.
#include "api.h"
#include "compiler.h"
#include "layer.h"
#include "registry.h"
#include "switches.h"

#include <cstring>
#include <new>

using namespace softgpu;
using namespace softgpu::rtc;

namespace
{

struct ProgramHandle {
    Program program;
    std::mutex mutex;
    bool tried = false; // hiprtcCompileProgram was called
    bool good = false;
    Compiled compiled;
};

Registry<ProgramHandle> &programs()
{
    static auto *const registry = new Registry<ProgramHandle>;
    return *registry;
}

template <class Body> hiprtcResult entry(const char *function, Body body)
{
    int injected = HIPRTC_ERROR_INTERNAL_ERROR;
    if (softgpu_fail_now(function, &injected))
        return static_cast<hiprtcResult>(injected);
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return HIPRTC_ERROR_OUT_OF_MEMORY;
    }
}

// Calls use(program) under its lock, or says that there is no such program.
template <class Use> hiprtcResult with_program(hiprtcProgram handle, Use use)
{
    const auto found = programs().find(handle);
    if (!found)
        return HIPRTC_ERROR_INVALID_PROGRAM;
    const std::lock_guard<std::mutex> guard(found->mutex);
    return use(*found);
}

} // namespace

extern "C" {

HIP_EXPORT hiprtcResult hiprtcVersion(int *major, int *minor)
{
    return entry(__func__, [&] {
        if (major == nullptr || minor == nullptr)
            return HIPRTC_ERROR_INVALID_INPUT;
        *major = 7;
        *minor = 15;
        return HIPRTC_SUCCESS;
    });
}

HIP_EXPORT const char *hiprtcGetErrorString(hiprtcResult result)
{
    switch (result) {
    case HIPRTC_SUCCESS:
        return "HIPRTC_SUCCESS";
    case HIPRTC_ERROR_OUT_OF_MEMORY:
        return "HIPRTC_ERROR_OUT_OF_MEMORY";
    case HIPRTC_ERROR_PROGRAM_CREATION_FAILURE:
        return "HIPRTC_ERROR_PROGRAM_CREATION_FAILURE";
    case HIPRTC_ERROR_INVALID_INPUT:
        return "HIPRTC_ERROR_INVALID_INPUT";
    case HIPRTC_ERROR_INVALID_PROGRAM:
        return "HIPRTC_ERROR_INVALID_PROGRAM";
    case HIPRTC_ERROR_INVALID_OPTION:
        return "HIPRTC_ERROR_INVALID_OPTION";
    case HIPRTC_ERROR_COMPILATION:
        return "HIPRTC_ERROR_COMPILATION";
    case HIPRTC_ERROR_BUILTIN_OPERATION_FAILURE:
        return "HIPRTC_ERROR_BUILTIN_OPERATION_FAILURE";
    case HIPRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION:
        return "HIPRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION";
    case HIPRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION:
        return "HIPRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION";
    case HIPRTC_ERROR_NAME_EXPRESSION_NOT_VALID:
        return "HIPRTC_ERROR_NAME_EXPRESSION_NOT_VALID";
    case HIPRTC_ERROR_INTERNAL_ERROR:
        return "HIPRTC_ERROR_INTERNAL_ERROR";
    case HIPRTC_ERROR_LINKING:
        return "HIPRTC_ERROR_LINKING";
    }
    return "Invalid HIPRTC error code";
}

HIP_EXPORT hiprtcResult hiprtcCreateProgram(hiprtcProgram *out, const char *source, const char *name,
                                            int header_count, const char *const *headers,
                                            const char *const *include_names)
{
    return entry(__func__, [&] {
        if (out == nullptr)
            return HIPRTC_ERROR_INVALID_PROGRAM;
        if (source == nullptr || header_count < 0 ||
            (header_count > 0 && (headers == nullptr || include_names == nullptr)))
            return HIPRTC_ERROR_INVALID_INPUT;
        auto handle = std::make_shared<ProgramHandle>();
        handle->program.source = source;
        handle->program.name = name != nullptr && name[0] != '\0' ? name : "CompileSource";
        for (int i = 0; i < header_count; ++i) {
            if (headers[i] == nullptr || include_names[i] == nullptr)
                return HIPRTC_ERROR_INVALID_INPUT;
            handle->program.headers.push_back({include_names[i], headers[i]});
        }
        *out = static_cast<hiprtcProgram>(programs().add(std::move(handle)));
        softgpu_count("program", 1);
        return HIPRTC_SUCCESS;
    });
}

HIP_EXPORT hiprtcResult hiprtcDestroyProgram(hiprtcProgram *handle)
{
    return entry(__func__, [&] {
        if (handle == nullptr)
            return HIPRTC_ERROR_INVALID_INPUT;
        if (!programs().remove(*handle))
            return HIPRTC_ERROR_INVALID_PROGRAM;
        *handle = nullptr;
        softgpu_count("program", -1);
        return HIPRTC_SUCCESS;
    });
}

HIP_EXPORT hiprtcResult hiprtcAddNameExpression(hiprtcProgram handle, const char *expression)
{
    return entry(__func__, [&] {
        if (expression == nullptr || expression[0] == '\0')
            return HIPRTC_ERROR_INVALID_INPUT;
        return with_program(handle, [&](ProgramHandle &program) {
            if (program.tried)
                return HIPRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION;
            program.program.expressions.emplace_back(expression);
            return HIPRTC_SUCCESS;
        });
    });
}

HIP_EXPORT hiprtcResult hiprtcCompileProgram(hiprtcProgram handle, int count, const char *const *options)
{
    return entry(__func__, [&] {
        if (count < 0 || (count > 0 && options == nullptr))
            return HIPRTC_ERROR_INVALID_INPUT;
        std::vector<std::string> words;
        for (int i = 0; i < count; ++i) {
            if (options[i] == nullptr)
                return HIPRTC_ERROR_INVALID_INPUT;
            words.emplace_back(options[i]);
        }
        return with_program(handle, [&](ProgramHandle &program) {
            program.tried = true;
            program.compiled = {};
            const auto compiler = chosen_layer() == Layer::Cuda ? cuda_compiler() : cpu_compiler();
            const hiprtcResult result = compiler->compile(program.program, words, &program.compiled);
            program.good = result == HIPRTC_SUCCESS;
            return result;
        });
    });
}

HIP_EXPORT hiprtcResult hiprtcGetLoweredName(hiprtcProgram handle, const char *expression, const char **out)
{
    return entry(__func__, [&] {
        if (expression == nullptr || out == nullptr)
            return HIPRTC_ERROR_INVALID_INPUT;
        return with_program(handle, [&](ProgramHandle &program) {
            if (!program.good)
                return HIPRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION;
            for (size_t i = 0; i < program.program.expressions.size(); ++i) {
                if (program.program.expressions[i] == expression) {
                    *out = program.compiled.lowered[i].c_str();
                    return HIPRTC_SUCCESS;
                }
            }
            return HIPRTC_ERROR_NAME_EXPRESSION_NOT_VALID;
        });
    });
}

HIP_EXPORT hiprtcResult hiprtcGetProgramLogSize(hiprtcProgram handle, size_t *size)
{
    return entry(__func__, [&] {
        if (size == nullptr)
            return HIPRTC_ERROR_INVALID_INPUT;
        return with_program(handle, [&](ProgramHandle &program) {
            *size = program.compiled.log.size() + 1;
            return HIPRTC_SUCCESS;
        });
    });
}

HIP_EXPORT hiprtcResult hiprtcGetProgramLog(hiprtcProgram handle, char *log)
{
    return entry(__func__, [&] {
        if (log == nullptr)
            return HIPRTC_ERROR_INVALID_INPUT;
        return with_program(handle, [&](ProgramHandle &program) {
            std::memcpy(log, program.compiled.log.c_str(), program.compiled.log.size() + 1);
            return HIPRTC_SUCCESS;
        });
    });
}

HIP_EXPORT hiprtcResult hiprtcGetCodeSize(hiprtcProgram handle, size_t *size)
{
    return entry(__func__, [&] {
        if (size == nullptr)
            return HIPRTC_ERROR_INVALID_INPUT;
        return with_program(handle, [&](ProgramHandle &program) {
            *size = program.compiled.code.size();
            return HIPRTC_SUCCESS;
        });
    });
}

HIP_EXPORT hiprtcResult hiprtcGetCode(hiprtcProgram handle, char *code)
{
    return entry(__func__, [&] {
        if (code == nullptr)
            return HIPRTC_ERROR_INVALID_INPUT;
        return with_program(handle, [&](ProgramHandle &program) {
            if (!program.good)
                return HIPRTC_ERROR_INVALID_PROGRAM;
            std::memcpy(code, program.compiled.code.data(), program.compiled.code.size());
            return HIPRTC_SUCCESS;
        });
    });
}

} // extern "C"
