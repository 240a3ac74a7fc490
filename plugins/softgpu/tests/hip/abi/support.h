// Objects that the tests need, each closed by its destructor.
#ifndef SOFTGPU_HIP_TEST_SUPPORT_H
#define SOFTGPU_HIP_TEST_SUPPORT_H
#include "api.h"
#include "harness.h"
#include "payload.h"

#include <cstring>
#include <vector>

namespace test
{

// The layer under test: SOFTGPU_HIP_DEVICE. Over CUDA, what is exported here is what the stand-in for its
// driver (tests/support/libcuda.c) takes; on a GPU only Vulkan could export, and these tests do not run.
bool on_cuda();

// The runtime's counters and switches: each library has its own.
long live(const char *kind);
long calls(const char *function);

class Switch
{
  public:
    Switch(const char *key, const char *value);
    ~Switch();
    Switch(const Switch &) = delete;
    Switch &operator=(const Switch &) = delete;

  private:
    const char *key_;
};

class Stream
{
  public:
    explicit Stream(unsigned flags = hipStreamNonBlocking);
    ~Stream();
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;
    operator hipStreamHandle() const
    {
        return handle_;
    }

  private:
    hipStreamHandle handle_ = nullptr;
};

class Event
{
  public:
    explicit Event(unsigned flags = 0);
    ~Event();
    Event(const Event &) = delete;
    Event &operator=(const Event &) = delete;
    operator hipEventHandle() const
    {
        return handle_;
    }

  private:
    hipEventHandle handle_ = nullptr;
};

// Pinned memory for one word that streams wait for. Opened by its destructor at the latest.
class Gate
{
  public:
    Gate();
    ~Gate();
    Gate(const Gate &) = delete;
    Gate &operator=(const Gate &) = delete;
    void hold(hipStreamHandle stream, uint32_t value = 1); // until it is opened so far
    void open(uint32_t value = 1);
    uint32_t *word() const
    {
        return word_;
    }

  private:
    uint32_t *word_ = nullptr;
};

// Device memory of 32-bit words.
class Words
{
  public:
    explicit Words(size_t count, uint32_t value = 0);
    ~Words();
    Words(const Words &) = delete;
    Words &operator=(const Words &) = delete;
    uint32_t *get() const
    {
        return data_;
    }
    std::vector<uint32_t> read() const; // waits for the null stream

  private:
    uint32_t *data_ = nullptr;
    size_t count_;
};

// A file as SwiftShader exports its memory: the name counts, and it is 15 bytes longer than the memory. Any
// other name is a file that no import takes.
class VulkanMemory
{
  public:
    explicit VulkanMemory(size_t size, const char *name = "SwiftShader.Memory.7");
    ~VulkanMemory();
    VulkanMemory(const VulkanMemory &) = delete;
    VulkanMemory &operator=(const VulkanMemory &) = delete;
    int fd = -1; // the exporter's; a test may close it and set it to -1
    unsigned char *data = nullptr;
    size_t size;

  private:
    size_t length_ = 0; // of the file
};

class VulkanSemaphore
{
  public:
    VulkanSemaphore();
    ~VulkanSemaphore();
    VulkanSemaphore(const VulkanSemaphore &) = delete;
    VulkanSemaphore &operator=(const VulkanSemaphore &) = delete;
    // The exporter's side.
    void signal() const;
    bool signalled() const;
    bool wait(double seconds) const; // takes the signal; false: none came
    int fd = -1;

  private:
    softgpu_semaphore *payload_ = nullptr;
    uint64_t *word_ = nullptr; // of the stand-in for CUDA's driver
};

bool is_open(int fd);
hipExternalMemoryHandleDesc memory_desc(int fd, uint64_t size, int type = 1, unsigned flags = 0);
hipExternalMemoryBufferDesc buffer_desc(uint64_t offset, uint64_t size, unsigned flags = 0);
hipExternalSemaphoreHandleDesc semaphore_desc(int fd, int type = 1);

// A program, compiled and loaded; fails the test when it does not compile.
std::string compile(const std::string &source, const std::vector<const char *> &options = {});

class Module
{
  public:
    explicit Module(const std::string &source, const std::vector<const char *> &options = {});
    ~Module();
    Module(const Module &) = delete;
    Module &operator=(const Module &) = delete;
    hipFunctionHandle function(const char *name) const;
    hipModuleHandle handle = nullptr;
};

// Launches in one dimension with the address form of arguments.
template <class... A>
hipError_t launch(hipFunctionHandle function, unsigned grid, unsigned block, hipStreamHandle stream,
                  A... arguments)
{
    void *addresses[] = {static_cast<void *>(&arguments)..., nullptr};
    return hipModuleLaunchKernel(function, grid, 1, 1, block, 1, 1, 0, stream, addresses, nullptr);
}

} // namespace test
#endif
