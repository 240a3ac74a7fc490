// What turns a program into a code object: one implementation per device layer.
#ifndef SOFTGPU_HIP_RTC_COMPILER_H
#define SOFTGPU_HIP_RTC_COMPILER_H
#include "abi.h"

#include <memory>
#include <string>
#include <vector>

namespace softgpu::rtc
{

struct Header {
    std::string name; // as the program includes it
    std::string text;
};

struct Program {
    std::string source;
    std::string name; // of the file, in messages
    std::vector<Header> headers;
    std::vector<std::string> expressions; // hiprtcAddNameExpression
};

struct Compiled {
    std::string code;
    std::string log;
    std::vector<std::string> lowered; // one name per expression
};

class Compiler
{
  public:
    virtual ~Compiler() = default;
    // HIPRTC_SUCCESS or the reason; the log is filled in either way.
    virtual hiprtcResult compile(const Program &program, const std::vector<std::string> &options,
                                 Compiled *out) = 0;
};

std::unique_ptr<Compiler> cpu_compiler();
std::unique_ptr<Compiler> cuda_compiler();

} // namespace softgpu::rtc
#endif
