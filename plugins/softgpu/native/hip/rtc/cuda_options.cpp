#include "cuda_options.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace softgpu::rtc
{

namespace
{

using Words = std::vector<std::string>;

bool starts_with(const std::string &text, const char *prefix)
{
    return text.rfind(prefix, 0) == 0;
}

// What follows the name of an option that is given as one word or two; false: another option, or no value.
bool value_of(const Words &words, size_t *i, const char *name, std::string *value)
{
    const std::string &word = words[*i];
    if (word == name) {
        if (*i + 1 == words.size())
            return false;
        *value = words[++*i];
        return true;
    }
    if (!starts_with(word, name))
        return false;
    *value = word.substr(std::string(name).size());
    if (starts_with(*value, "="))
        value->erase(0, 1);
    return true;
}

bool architecture_of(const Words &words, size_t *i, std::string *value)
{
    static constexpr std::array<const char *, 3> names{"--offload-arch", "--gpu-architecture", "-arch"};
    return std::any_of(names.begin(), names.end(),
                       [&](const char *name) { return value_of(words, i, name, value); });
}

// NVRTC knows C++17 and 20. An older standard is not passed on: the headers need 17, as on the CPU.
std::string standard(const std::string &word)
{
    const std::string name = word.substr(word.find('=') + 1);
    const std::string version = name.size() >= 2 ? name.substr(name.size() - 2) : name;
    static constexpr std::array<const char *, 6> newer{"20", "2a", "23", "2b", "26", "2c"};
    const bool new_one =
        std::any_of(newer.begin(), newer.end(), [&](const char *one) { return version == one; });
    return new_one ? "--std=c++20" : "--std=c++17";
}

// Clang's, of no meaning to NVRTC: optimisation is always on, and AMD's GPU is not there.
bool ignored(const std::string &word)
{
    static constexpr std::array<const char *, 11> prefixes{
        "-O",      "-f",     "-W",    "--gpu-max-threads", "-mcpu", "-march",
        "-amdgpu", "--rocm", "-mno-", "-munsafe",          "--hip-"};
    return std::any_of(prefixes.begin(), prefixes.end(),
                       [&](const char *prefix) { return starts_with(word, prefix); });
}

// One or two words of the list, from i on. False: not an option that is known.
bool take_option(const Words &words, size_t *i, CudaOptions *out)
{
    const std::string &word = words[*i];
    std::string value;
    if (word.empty())
        return true;
    if (architecture_of(words, i, &value)) {
        for (const char *prefix : {"sm_", "compute_"})
            if (starts_with(value, prefix))
                out->architecture = std::atoi(value.c_str() + std::string(prefix).size());
    } else if (value_of(words, i, "-include", &value)) {
        out->words.push_back("--pre-include=" + value);
    } else if (value_of(words, i, "-D", &value)) {
        out->words.push_back("-D" + value);
    } else if (value_of(words, i, "-U", &value)) {
        out->words.push_back("-U" + value);
    } else if (value_of(words, i, "-I", &value)) {
        out->words.push_back("-I" + value);
    } else if (starts_with(word, "-std=") || starts_with(word, "--std=")) {
        out->words.front() = standard(word);
    } else if (word == "-mllvm") {
        return value_of(words, i, "-mllvm", &value);
    } else if (word == "-ffast-math") {
        out->words.emplace_back("--use_fast_math");
    } else if (word == "-ffp-contract=off") {
        out->words.emplace_back("--fmad=false");
    } else if (word == "-w") {
        out->words.emplace_back("--disable-warnings");
    } else if (starts_with(word, "-g")) {
        out->words.emplace_back("--generate-line-info");
    } else {
        return ignored(word);
    }
    return true;
}

} // namespace

bool translate_options(const Words &given, CudaOptions *out, std::string *log)
{
    out->words = {"--std=c++17"};
    for (size_t i = 0; i < given.size(); ++i) {
        const size_t at = i;
        if (!take_option(given, &i, out)) {
            *log += "error: unknown argument: '" + given[at] + "'\n";
            return false;
        }
    }
    return true;
}

} // namespace softgpu::rtc
