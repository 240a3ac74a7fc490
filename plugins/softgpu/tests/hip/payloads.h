// SwiftShader's payloads, made here from scratch: what the runtime reads is checked against a second writing
// of the layout, not against itself.
#ifndef SOFTGPU_TESTS_HIP_PAYLOADS_H
#define SOFTGPU_TESTS_HIP_PAYLOADS_H
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

class MemoryFile
{
  public:
    explicit MemoryFile(size_t size, const char *name = "SwiftShader.Memory") : size_(size + 15)
    {
        fd_ = memfd_create(name, MFD_CLOEXEC);
        REQUIRE(fd_ >= 0 && ftruncate(fd_, static_cast<off_t>(size_)) == 0);
        void *address = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
        REQUIRE(address != MAP_FAILED);
        data_ = static_cast<unsigned char *>(address);
    }
    ~MemoryFile()
    {
        munmap(data_, size_);
        close(fd_);
    }
    MemoryFile(const MemoryFile &) = delete;
    MemoryFile &operator=(const MemoryFile &) = delete;
    int fd() const
    {
        return fd_;
    }
    unsigned char *data()
    {
        return data_;
    }

  private:
    size_t size_;
    int fd_;
    unsigned char *data_;
};

// The other side of a binary semaphore: what SwiftShader's queue would do.
class SemaphoreFile
{
  public:
    SemaphoreFile()
    {
        fd_ = memfd_create("SwiftShader.Semaphore", MFD_CLOEXEC);
        REQUIRE(fd_ >= 0 && ftruncate(fd_, 4096) == 0);
        void *address = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
        REQUIRE(address != MAP_FAILED);
        shared_ = static_cast<Shared *>(address);
        pthread_mutexattr_t mutex;
        pthread_mutexattr_init(&mutex);
        pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
        pthread_mutex_init(&shared_->mutex, &mutex);
        pthread_mutexattr_destroy(&mutex);
        pthread_condattr_t condition;
        pthread_condattr_init(&condition);
        pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
        pthread_cond_init(&shared_->condition, &condition);
        pthread_condattr_destroy(&condition);
        shared_->references = 1;
    }
    ~SemaphoreFile()
    {
        munmap(shared_, 4096);
        close(fd_);
    }
    SemaphoreFile(const SemaphoreFile &) = delete;
    SemaphoreFile &operator=(const SemaphoreFile &) = delete;

    int fd() const
    {
        return fd_;
    }
    void signal()
    {
        pthread_mutex_lock(&shared_->mutex);
        shared_->signalled = true;
        pthread_cond_broadcast(&shared_->condition);
        pthread_mutex_unlock(&shared_->mutex);
    }
    bool signalled()
    {
        pthread_mutex_lock(&shared_->mutex);
        const bool answer = shared_->signalled;
        pthread_mutex_unlock(&shared_->mutex);
        return answer;
    }
    int references()
    {
        pthread_mutex_lock(&shared_->mutex);
        const int answer = shared_->references;
        pthread_mutex_unlock(&shared_->mutex);
        return answer;
    }

  private:
    struct Shared {
        pthread_mutex_t mutex;
        pthread_cond_t condition;
        int references;
        bool signalled;
    };
    static_assert(sizeof(pthread_mutex_t) == 40 && sizeof(pthread_cond_t) == 48);

    int fd_;
    Shared *shared_;
};

inline bool is_open(int fd)
{
    return lseek(fd, 0, SEEK_CUR) >= 0;
}

inline hipExternalMemoryHandleDesc memory_desc(int fd, unsigned long long size)
{
    hipExternalMemoryHandleDesc desc{};
    desc.type = 1;
    desc.handle.fd = fd;
    desc.size = size;
    return desc;
}

inline hipExternalSemaphoreHandleDesc semaphore_desc(int fd)
{
    hipExternalSemaphoreHandleDesc desc{};
    desc.type = 1;
    desc.handle.fd = fd;
    return desc;
}

#endif
