// Tests in groups: the program runs the group that it is given, and each test must leave nothing behind.
#ifndef SOFTGPU_HIP_TEST_HARNESS_H
#define SOFTGPU_HIP_TEST_HARNESS_H
#include <sstream>
#include <string>

namespace test
{

[[noreturn]] void fail(const char *file, int line, const std::string &message);

template <class Value, class Wanted>
void check_equal(const char *file, int line, const char *text, const Value &value, const Wanted &wanted)
{
    if (value == wanted)
        return;
    std::ostringstream message;
    message << text << " is " << value << ", not " << wanted;
    fail(file, line, message.str());
}

struct Registration {
    Registration(const char *group, const char *name, void (*run)());
};

// What a child process does, by name: for ways to end that a test cannot survive.
struct ChildRegistration {
    ChildRegistration(const char *name, int (*run)());
};

struct Ended {
    int exit_status; // -1 if a signal ended it
    int signal;      // 0 if it exited
    double seconds;
    std::string output; // of its standard error
};
// Runs this program again for one child, for at most 20 seconds.
Ended run_child(const char *name);

// This test leaves that many objects for good, because AMD's runtime does.
void leaks(long objects);

double now();
// Polls until it holds; false after 5 seconds.
template <class Condition> bool soon(Condition condition);
void nap(double seconds);

} // namespace test

template <class Condition> bool test::soon(Condition condition)
{
    const double limit = now() + 5.0;
    while (!condition()) {
        if (now() > limit)
            return false;
        nap(0.0005);
    }
    return true;
}

#define CHECK(truth)                                                                                         \
    do {                                                                                                     \
        if (!(truth))                                                                                        \
            test::fail(__FILE__, __LINE__, "not so: " #truth);                                               \
    } while (0)
#define CHECK_EQ(value, wanted) test::check_equal(__FILE__, __LINE__, #value, value, wanted)
#define OK(call) test::check_equal(__FILE__, __LINE__, #call, static_cast<int>(call), 0)
#define TEST(group, name)                                                                                    \
    static void group##_##name();                                                                            \
    static const test::Registration group##_##name##_registration(#group, #name, group##_##name);            \
    static void group##_##name()
#define CHILD(name)                                                                                          \
    static int child_##name();                                                                               \
    static const test::ChildRegistration child_##name##_registration(#name, child_##name);                   \
    static int child_##name()

#endif
