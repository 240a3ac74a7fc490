#include "fd_policy.h"
#include "runtime.h"

#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace softgpu
{

namespace
{

// A layer that takes the fd gets a duplicate of its own. CUDA closes that on some failures too, so it is
// closed here only if it still is the same open file.
hipError_t import_duplicate(int fd, const std::function<hipError_t(int)> &import)
{
    struct stat before;
    const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (duplicate < 0 || fstat(duplicate, &before) != 0)
        return hipErrorInvalidValue;
    const hipError_t error = import(duplicate);
    struct stat after;
    if (error != hipSuccess && fstat(duplicate, &after) == 0 && after.st_dev == before.st_dev &&
        after.st_ino == before.st_ino)
        close(duplicate);
    return error;
}

} // namespace

hipError_t import_fd(int fd, bool layer_takes_fd, const std::function<hipError_t(int)> &import)
{
    const char *policy = mode_switch("HIP_FD", "keep", "keep");
    const bool consume_always = std::strcmp(policy, "consume-always") == 0;
    const bool consume = consume_always || std::strcmp(policy, "consume") == 0;
    const hipError_t error = layer_takes_fd ? import_duplicate(fd, import) : import(fd);
    if (error == hipSuccess) {
        if (consume)
            close(fd);
        return hipSuccess;
    }
    if (!consume_always)
        return error == hipErrorUnknown ? hipErrorInvalidValue : error;
    close(fd); // as CUDA does with a foreign file, which it calls an unknown error
    return hipErrorUnknown;
}

} // namespace softgpu
