#include "command.h"
#include "switches.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <ftw.h>
#include <memory>
#include <spawn.h>
#include <sstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace softgpu::rtc
{

namespace
{

int remove_entry(const char *path, const struct stat *, int, struct FTW *)
{
    return remove(path);
}

bool in_path(const std::string &name)
{
    const char *path = getenv("PATH");
    std::istringstream folders(path != nullptr ? path : "/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (access((folder + "/" + name).c_str(), X_OK) == 0)
            return true;
    return false;
}

// A preloaded sanitizer or profiler is meant for the program, not for its compiler.
std::vector<char *> environment_without_preload()
{
    std::vector<char *> kept;
    for (char **variable = environ; *variable != nullptr; ++variable)
        if (std::strncmp(*variable, "LD_PRELOAD=", 11) != 0)
            kept.push_back(*variable);
    kept.push_back(nullptr);
    return kept;
}

} // namespace

TemporaryFolder::TemporaryFolder()
{
    const char *base = getenv("TMPDIR");
    std::string name =
        std::string(base != nullptr && base[0] != '\0' ? base : "/tmp") + "/softgpu-hiprtc-XXXXXX";
    if (mkdtemp(name.data()) != nullptr)
        path_ = name;
}

TemporaryFolder::~TemporaryFolder()
{
    if (made())
        nftw(path_.c_str(), remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

bool TemporaryFolder::write(const std::string &name, std::string_view text) const
{
    if (name.empty() || name[0] == '/' || name.find("..") != std::string::npos)
        return false;
    for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1))
        if (mkdir(file(name.substr(0, slash)).c_str(), 0700) != 0 && errno != EEXIST)
            return false;
    const std::unique_ptr<FILE, int (*)(FILE *)> out(fopen(file(name).c_str(), "wbe"), fclose);
    return out && fwrite(text.data(), 1, text.size(), out.get()) == text.size();
}

bool read_file(const std::string &path, std::string *out)
{
    const std::unique_ptr<FILE, int (*)(FILE *)> file(fopen(path.c_str(), "rbe"), fclose);
    if (!file)
        return false;
    char block[65536];
    size_t count = 0;
    while ((count = fread(block, 1, sizeof block, file.get())) > 0)
        out->append(block, count);
    return ferror(file.get()) == 0;
}

std::vector<std::string> compiler_command()
{
    std::vector<std::string> words;
    std::istringstream chosen(softgpu_switch("CXX", ""));
    for (std::string word; chosen >> word;)
        words.push_back(word);
    if (!words.empty())
        return words;
    for (const char *name : {"g++", "c++", "clang++"})
        if (in_path(name))
            return {name};
    return {};
}

bool run_command(const std::vector<std::string> &arguments, const std::string &output_file, std::string *log)
{
    std::vector<char *> argv;
    for (const std::string &argument : arguments)
        argv.push_back(const_cast<char *>(argument.c_str()));
    argv.push_back(nullptr);
    std::vector<char *> environment = environment_without_preload();

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output_file.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    pid_t child = 0;
    const int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        *log += "cannot run " + arguments[0] + ": " + strerror(failed) + "\n";
        return false;
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    read_file(output_file, log);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

} // namespace softgpu::rtc
