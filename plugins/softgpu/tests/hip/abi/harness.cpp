#include "harness.h"
#include "support.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern char **environ;

// The leak sanitizer walks each thread's local storage and crashes, now and then, on the blocks of kernel
// files that were unloaded (GCC 12, glibc 2.36). Without that walk it does not see what the loader keeps
// there.
extern "C" HIP_EXPORT const char *__lsan_default_options();
extern "C" HIP_EXPORT const char *__lsan_default_suppressions();

const char *__lsan_default_options()
{
    return "use_tls=0:print_suppressions=0";
}

const char *__lsan_default_suppressions()
{
    return "leak:_dl_map_object_deps\nleak:_dl_open\nleak:__cxa_thread_atexit_impl\n";
}

namespace test
{

namespace
{

struct Test {
    const char *group;
    const char *name;
    void (*run)();
};

struct Child {
    const char *name;
    int (*run)();
};

std::vector<Test> &tests()
{
    static auto *const all = new std::vector<Test>;
    return *all;
}

std::vector<Child> &children()
{
    static auto *const all = new std::vector<Child>;
    return *all;
}

std::string running = "start";
long leaked_on_purpose = 0;

int count_files()
{
    const std::unique_ptr<DIR, int (*)(DIR *)> folder(opendir("/proc/self/fd"), closedir);
    int count = 0;
    while (readdir(folder.get()) != nullptr)
        ++count;
    return count;
}

// A driver opens files of its own with its first work.
void open_drivers()
{
    int count = 0;
    if (hipGetDeviceCount(&count) != hipSuccess) {
        hipGetLastError();
        return;
    }
    const Stream stream;
    const Words words(1);
    Gate gate;
    gate.hold(stream, 0);
    OK(hipStreamSynchronize(stream));
    CHECK_EQ(words.read()[0], 0u);
}

void run_one(const Test &test)
{
    running = std::string(test.group) + "." + test.name;
    const int files = count_files();
    test.run();
    // Work that a destroyed stream still had ends on its own thread.
    if (!soon([&] { return live("*") == leaked_on_purpose && count_files() <= files; }))
        fail(__FILE__, __LINE__,
             std::to_string(live("*") - leaked_on_purpose) + " objects and " +
                 std::to_string(count_files() - files) + " files are left");
    OK(hipGetLastError());
    printf("%s\n", running.c_str());
    fflush(stdout);
}

} // namespace

Registration::Registration(const char *group, const char *name, void (*run)())
{
    tests().push_back({group, name, run});
}

ChildRegistration::ChildRegistration(const char *name, int (*run)())
{
    children().push_back({name, run});
}

// _Exit: a runtime that blocks at exit must not hide what went wrong.
void fail(const char *file, int line, const std::string &message)
{
    fprintf(stderr, "%s: %s:%d: %s\n", running.c_str(), file, line, message.c_str());
    fflush(nullptr);
    _Exit(1);
}

void leaks(long objects)
{
    leaked_on_purpose += objects;
}

double now()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void nap(double seconds)
{
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

Ended run_child(const char *name)
{
    char file[] = "/tmp/softgpu-hip-test-XXXXXX";
    const int output = mkstemp(file);
    CHECK(output >= 0);
    unlink(file);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    std::string option = "--child";
    std::string which = name;
    char *arguments[] = {option.data(), option.data(), which.data(), nullptr};
    pid_t process = 0;
    const double start = now();
    OK(posix_spawn(&process, "/proc/self/exe", &actions, nullptr, arguments, environ));
    posix_spawn_file_actions_destroy(&actions);
    int status = 0;
    while (waitpid(process, &status, WNOHANG) == 0) {
        if (now() - start > 20.0) {
            kill(process, SIGKILL);
            waitpid(process, &status, 0);
            break;
        }
        nap(0.002);
    }
    Ended ended{WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                now() - start, ""};
    char text[4096];
    const ssize_t length = pread(output, text, sizeof text, 0);
    ended.output.assign(text, length > 0 ? static_cast<size_t>(length) : 0);
    close(output);
    return ended;
}

} // namespace test

int main(int count, char **arguments)
{
    if (count == 3 && std::strcmp(arguments[1], "--child") == 0) {
        for (const test::Child &child : test::children())
            if (std::strcmp(child.name, arguments[2]) == 0)
                return child.run();
        return 99;
    }
    int passed = 0;
    test::open_drivers();
    for (const test::Test &one : test::tests()) {
        if (count == 2 && std::strcmp(one.group, arguments[1]) == 0) {
            test::run_one(one);
            ++passed;
        }
    }
    if (passed == 0) {
        fprintf(stderr, "usage: softgpu_hip_abi_test GROUP\n");
        return 2;
    }
    printf("all %d passed\n", passed);
    return 0;
}
