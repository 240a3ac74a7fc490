// Kernels for the CPU, by the system's C++ compiler: preprocess, find the kernels, append a table of them,
// compile to a shared library. That file is the code object.
#include "command.h"
#include "compiler.h"
#include "kernel_abi.h"
#include "prelude_text.h"
#include "scanner.h"

#include <algorithm>
#include <array>

namespace softgpu::rtc
{

namespace
{

using Words = std::vector<std::string>;

bool starts_with(const std::string &text, const char *prefix)
{
    return text.rfind(prefix, 0) == 0;
}

struct Options {
    Words preprocess; // -D -U -I -include
    Words compile;    // -O -g -f -W
    std::string standard = "-std=c++17";
};

// The prelude needs C++17, so an older standard is not passed on.
bool modern(const std::string &standard)
{
    static constexpr std::array<const char *, 8> versions{"17", "1z", "20", "2a", "23", "2b", "26", "2c"};
    return std::any_of(versions.begin(), versions.end(), [&](const char *version) {
        return standard.size() >= 2 && standard.compare(standard.size() - 2, 2, version) == 0;
    });
}

// Options that choose a GPU mean nothing here, whatever their value.
bool ignored(const std::string &option)
{
    static constexpr std::array<const char *, 11> prefixes{"--offload-arch", "--gpu-architecture",
                                                           "-arch",          "--gpu-max-threads",
                                                           "-fgpu",          "-fno-gpu",
                                                           "-mllvm",         "-mcpu",
                                                           "-march",         "-amdgpu",
                                                           "--rocm"};
    return std::any_of(prefixes.begin(), prefixes.end(),
                       [&](const char *prefix) { return starts_with(option, prefix); });
}

// One or two words of the list, from i on. False: not an option that is known.
bool take_option(const Words &words, size_t *i, Options *out)
{
    const std::string &word = words[*i];
    const bool last = *i + 1 == words.size();
    if (word.empty())
        return true;
    if (word == "-D" || word == "-U" || word == "-I" || word == "-include") {
        if (last)
            return false;
        out->preprocess.push_back(word);
        out->preprocess.push_back(words[++*i]);
    } else if (ignored(word)) {
        const bool separate =
            word == "-mllvm" || word == "-arch" || word == "--offload-arch" || word == "--gpu-architecture";
        if (separate && !last)
            ++*i;
    } else if (starts_with(word, "-D") || starts_with(word, "-U") || starts_with(word, "-I")) {
        out->preprocess.push_back(word);
    } else if (starts_with(word, "-std=") || starts_with(word, "--std=")) {
        const std::string standard = "-std=" + word.substr(word.find('=') + 1);
        if (modern(standard))
            out->standard = standard;
    } else if (starts_with(word, "-O") || starts_with(word, "-f") || starts_with(word, "-W") ||
               word == "-w" || starts_with(word, "-g")) {
        out->compile.push_back(word);
    } else {
        return false;
    }
    return true;
}

bool parse_options(const Words &words, Options *out, std::string *log)
{
    for (size_t i = 0; i < words.size(); ++i) {
        const size_t at = i;
        if (!take_option(words, &i, out)) {
            *log += "error: unknown argument: '" + words[at] + "'\n";
            return false;
        }
    }
    return true;
}

// Quoted as a line marker wants it.
std::string quoted(const std::string &name)
{
    std::string result = "\"";
    for (const char c : name) {
        if (c == '"' || c == '\\')
            result += '\\';
        result += c == '\n' ? ' ' : c;
    }
    return result + "\"";
}

// In the preprocessed text if, and only if, the compiler is Clang.
constexpr const char *clang_mark = "softgpu_compiled_by_clang";

std::string joined_source(const Program &program)
{
    std::string text = "#ifdef __clang__\nenum { " + std::string(clang_mark) + " };\n#endif\n";
    text += "# 1 \"softgpu_prelude.h\"\n";
    text += prelude();
    text += "\n# 1 " + quoted(program.name) + "\n";
    text += program.source;
    text += "\n";
    return text;
}

std::string table(const Scanned &scanned, const Program &program, Compiled *out)
{
    std::string text = "\n# 1 \"softgpu_kernel_table\"\n";
    if (scanned.dynamic_shared)
        text += "extern \"C\" { __attribute__((visibility(\"hidden\"), aligned(16))) __thread char "
                "softgpu_dynamic_shared[" +
                std::to_string(SOFTGPU_SHARED_BYTES) + "]; }\n";
    text += "static const softgpu_kernel softgpu_kernels[] = {\n";
    for (const std::string &kernel : scanned.kernels)
        text += "    softgpu_entry<&::" + kernel + ">::named(\"" + kernel + "\"),\n";
    for (const std::string &expression : program.expressions) {
        const std::string lowered = "$" + expression;
        text += "    softgpu_entry<&" + expression.substr(expression[0] == '&' ? 1 : 0) + ">::named(" +
                quoted(lowered) + "),\n";
        out->lowered.push_back(lowered);
    }
    text += "    {nullptr, nullptr, nullptr, 0, nullptr, nullptr}};\n"
            "extern \"C\" __attribute__((visibility(\"default\"))) const softgpu_kernel_file softgpu_file = "
            "{SOFTGPU_KERNEL_ABI_VALUE, softgpu_kernels};\n";
    const std::string version = "SOFTGPU_KERNEL_ABI_VALUE";
    text.replace(text.find(version), version.size(), std::to_string(SOFTGPU_KERNEL_ABI));
    return text;
}

// GCC makes unique symbols of the variables of templates: the loader lets modules share them, and never
// unloads the first. Clang makes none, and does not know the option.
Words unloadable(const std::string &preprocessed)
{
    return preprocessed.find(clang_mark) == std::string::npos ? Words{"-fno-gnu-unique"} : Words{};
}

Words operator+(Words left, const Words &right)
{
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

class CpuCompiler : public Compiler
{
  public:
    hiprtcResult compile(const Program &program, const Words &words, Compiled *out) override
    {
        Options options;
        if (!parse_options(words, &options, &out->log))
            return HIPRTC_ERROR_COMPILATION;
        const Words compiler = compiler_command();
        if (compiler.empty()) {
            out->log += "error: no C++ compiler: install g++, or name one in SOFTGPU_CXX\n";
            return HIPRTC_ERROR_COMPILATION;
        }
        const TemporaryFolder folder;
        if (!folder.made() || !write_inputs(folder, program))
            return HIPRTC_ERROR_PROGRAM_CREATION_FAILURE;
        return build(folder, program, compiler, options, out);
    }

  private:
    static bool write_inputs(const TemporaryFolder &folder, const Program &program)
    {
        // Programs that are also built ahead of time include it; all that it declares is in the prelude.
        bool written = folder.write("include/hip/hip_runtime.h", "#pragma once\n") &&
                       folder.write("program.cpp", joined_source(program));
        for (const Header &header : program.headers)
            written = written && folder.write("include/" + header.name, header.text);
        return written;
    }

    static hiprtcResult build(const TemporaryFolder &folder, const Program &program, const Words &compiler,
                              const Options &options, Compiled *out)
    {
        const Words preprocess =
            compiler + Words{"-E", "-x", "c++", options.standard, "-I", folder.file("include")} +
            options.preprocess + Words{folder.file("program.cpp"), "-o", folder.file("program.ii")};
        if (!run_command(preprocess, folder.file("log"), &out->log))
            return HIPRTC_ERROR_COMPILATION;
        std::string text;
        if (!read_file(folder.file("program.ii"), &text))
            return HIPRTC_ERROR_INTERNAL_ERROR;
        const Scanned scanned = scan(text);
        if (!folder.write("kernels.ii", scanned.text + table(scanned, program, out)))
            return HIPRTC_ERROR_PROGRAM_CREATION_FAILURE;
        // As c++ once more: Zig's compiler knows no name for what is preprocessed already, and it changes
        // nothing. Bsymbolic: a kernel may be called like a function of the C library, and must find itself
        // first.
        const Words compile =
            compiler + Words{"-x", "c++", options.standard, "-O2", "-fPIC", "-shared", "-Wl,-Bsymbolic"} +
            unloadable(text) + options.compile +
            Words{folder.file("kernels.ii"), "-o", folder.file("kernels.so"), "-lm"};
        if (!run_command(compile, folder.file("log"), &out->log))
            return HIPRTC_ERROR_COMPILATION;
        return read_file(folder.file("kernels.so"), &out->code) ? HIPRTC_SUCCESS
                                                                : HIPRTC_ERROR_INTERNAL_ERROR;
    }
};

} // namespace

std::unique_ptr<Compiler> cpu_compiler()
{
    return std::make_unique<CpuCompiler>();
}

} // namespace softgpu::rtc
