// Without arguments: every test. With arguments: the tests so named, or one process-ending case (cases.cpp).
#include "check.h"
#include "cases.h"

#include <cstdlib>
#include <cstring>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

extern char **environ;

static int failures;
static bool failed;

std::vector<Test> &tests()
{
    static std::vector<Test> all;
    return all;
}

void report_failure(const char *file, int line, const std::string &what)
{
    failed = true;
    fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

int run_self(const char *argument)
{
    char self[] = "/proc/self/exe";
    std::string word = argument;
    char *argv[] = {self, word.data(), nullptr};
    pid_t child = 0;
    if (posix_spawn(&child, self, nullptr, nullptr, argv, environ) != 0)
        return -2;
    const auto start = Clock::now();
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (seconds_since(start) > 20) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -1;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Each test must give back what it took.
static const char *const kinds[] = {"memory", "mapping", "semaphore",  "stream",
                                    "event",  "module",  "allocation", "host_allocation"};

static void run(const Test &test)
{
    failed = false;
    long before[std::size(kinds)];
    for (size_t i = 0; i < std::size(kinds); ++i)
        before[i] = softgpu_live(kinds[i]);
    try {
        test.run();
    } catch (const Abandoned &) {
    }
    hipDeviceSynchronize();
    for (size_t i = 0; i < std::size(kinds) && !failed; ++i)
        if (softgpu_live(kinds[i]) != before[i])
            report_failure(test.name, 0, std::string("leaves an object: ") + kinds[i]);
    printf("%s %s\n", failed ? "FAILED" : "passed", test.name);
    fflush(stdout);
    failures += failed ? 1 : 0;
}

int main(int count, char **arguments)
{
    if (count == 2)
        if (void (*run_case)() = find_case(arguments[1])) {
            run_case();
            return 0;
        }
    int ran = 0;
    for (const Test &test : tests()) {
        bool wanted = count == 1;
        for (int i = 1; i < count; ++i)
            wanted = wanted || std::strcmp(arguments[i], test.name) == 0;
        if (wanted) {
            run(test);
            ++ran;
        }
    }
    printf("%d of %d failed\n", failures, ran);
    return failures == 0 && ran > 0 ? 0 : 1;
}
