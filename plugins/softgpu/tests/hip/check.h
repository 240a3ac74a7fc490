// A test is a function named with TEST(name); CHECK goes on after a failure, REQUIRE ends the test.
#ifndef SOFTGPU_TESTS_HIP_CHECK_H
#define SOFTGPU_TESTS_HIP_CHECK_H
#include "api.h"
#include "switches.h"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

struct Test {
    const char *name;
    void (*run)();
};
std::vector<Test> &tests();
void report_failure(const char *file, int line, const std::string &what);
struct Abandoned {};

struct Registration {
    Registration(const char *name, void (*run)())
    {
        tests().push_back({name, run});
    }
};

#define TEST(name)                                                                                           \
    static void test_##name();                                                                               \
    static const Registration registration_##name(#name, test_##name);                                       \
    static void test_##name()

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            report_failure(__FILE__, __LINE__, #condition);                                                  \
    } while (false)

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            report_failure(__FILE__, __LINE__, #condition);                                                  \
            throw Abandoned();                                                                               \
        }                                                                                                    \
    } while (false)

// Compares error codes and prints both.
#define EXPECT(code, call)                                                                                   \
    do {                                                                                                     \
        const auto expected_ = code;                                                                         \
        const auto answer_ = call;                                                                           \
        if (expected_ != answer_)                                                                            \
            report_failure(__FILE__, __LINE__,                                                               \
                           std::string(#call) + " answered " + std::to_string(answer_) + ", not " +          \
                               std::to_string(expected_));                                                   \
    } while (false)

// The call must succeed for the test to make sense.
#define OK(call)                                                                                             \
    do {                                                                                                     \
        const auto answer_ = call;                                                                           \
        if (answer_ != 0) {                                                                                  \
            report_failure(__FILE__, __LINE__, std::string(#call) + " answered " + std::to_string(answer_)); \
            throw Abandoned();                                                                               \
        }                                                                                                    \
    } while (false)

// A switch set for the length of a scope.
class Switched
{
  public:
    Switched(const char *key, const char *value) : key_(key)
    {
        softgpu_control(key, value);
    }
    ~Switched()
    {
        softgpu_control(key_, nullptr);
    }
    Switched(const Switched &) = delete;
    Switched &operator=(const Switched &) = delete;

  private:
    const char *key_;
};

// Host memory that streams can wait on, or devices copy to without blocking the caller.
template <class T> class Pinned
{
  public:
    explicit Pinned(size_t count = 1)
    {
        OK(hipHostMalloc(reinterpret_cast<void **>(&data_), count * sizeof(T), 0));
        for (size_t i = 0; i < count; ++i)
            set(i, T{});
    }
    ~Pinned()
    {
        hipHostFree(data_);
    }
    Pinned(const Pinned &) = delete;
    Pinned &operator=(const Pinned &) = delete;
    T *data()
    {
        return data_;
    }
    void set(size_t i, T value)
    {
        __atomic_store_n(data_ + i, value, __ATOMIC_RELEASE);
    }
    T get(size_t i = 0)
    {
        return __atomic_load_n(data_ + i, __ATOMIC_ACQUIRE);
    }

  private:
    T *data_ = nullptr;
};

// Runs this program again with one argument, in a process of its own: for what ends a process. Returns the
// exit status, or 128 + the signal; -1 when it hung.
int run_self(const char *argument);

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start);

#endif
