#ifndef SOFTGPU_HIP_RTC_PRELUDE_TEXT_H
#define SOFTGPU_HIP_RTC_PRELUDE_TEXT_H
#include <string_view>

namespace softgpu::rtc
{

std::string_view prelude();

} // namespace softgpu::rtc
#endif
