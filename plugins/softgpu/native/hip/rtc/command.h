// Running the compiler.
#ifndef SOFTGPU_HIP_RTC_COMMAND_H
#define SOFTGPU_HIP_RTC_COMMAND_H
#include <string>
#include <string_view>
#include <vector>

namespace softgpu::rtc
{

// A folder that goes, with all that is in it, when the object does.
class TemporaryFolder
{
  public:
    TemporaryFolder();
    ~TemporaryFolder();
    TemporaryFolder(const TemporaryFolder &) = delete;
    TemporaryFolder &operator=(const TemporaryFolder &) = delete;

    bool made() const
    {
        return !path_.empty();
    }
    std::string file(const std::string &name) const
    {
        return path_ + "/" + name;
    }
    // Makes the folders in name, too. False: not written, or the name leads out of here.
    bool write(const std::string &name, std::string_view text) const;

  private:
    std::string path_;
};

bool read_file(const std::string &path, std::string *out);

// The words of SOFTGPU_CXX, or the first C++ compiler that PATH has. Empty: none.
std::vector<std::string> compiler_command();

// Runs it and appends what it prints to log. True: it ended with 0.
bool run_command(const std::vector<std::string> &arguments, const std::string &output_file, std::string *log);

} // namespace softgpu::rtc
#endif
