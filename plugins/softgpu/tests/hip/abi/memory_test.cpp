// Allocations, copies, fills and questions about pointers.
#include "support.h"

#include <numeric>

using namespace test;

namespace
{

std::vector<unsigned char> ramp(size_t size)
{
    std::vector<unsigned char> bytes(size);
    std::iota(bytes.begin(), bytes.end(), static_cast<unsigned char>(1));
    return bytes;
}

} // namespace

TEST(memory, copies_there_and_back)
{
    const auto sent = ramp(1000);
    std::vector<unsigned char> received(1000);
    void *first = nullptr;
    void *second = nullptr;
    OK(hipMalloc(&first, sent.size()));
    OK(hipMalloc(&second, sent.size()));
    CHECK_EQ(live("allocation"), 2);
    CHECK_EQ(reinterpret_cast<uintptr_t>(first) % 256, 0u);
    OK(hipMemcpy(first, sent.data(), sent.size(), hipMemcpyHostToDevice));
    OK(hipMemcpyDtoD(second, first, sent.size()));
    OK(hipMemcpy(received.data(), second, sent.size(), hipMemcpyDefault));
    CHECK(received == sent);
    OK(hipFree(first));
    OK(hipFree(second));
}

TEST(memory, asynchronous_copies_follow_the_stream)
{
    const Stream stream;
    Gate gate;
    unsigned char *pinned = nullptr;
    void *device = nullptr;
    OK(hipHostMalloc(reinterpret_cast<void **>(&pinned), 64, 0));
    OK(hipMallocAsync(&device, 64, stream));
    std::memset(pinned, 1, 64);
    gate.hold(stream);
    OK(hipMemcpyHtoDAsync(device, pinned, 64, stream)); // returns though the stream is held
    OK(hipMemsetAsync(device, 2, 32, stream));
    OK(hipMemcpyDtoHAsync(pinned, device, 64, stream));
    OK(hipFreeAsync(device, stream));
    CHECK_EQ(hipStreamQuery(stream), hipErrorNotReady);
    gate.open();
    OK(hipStreamSynchronize(stream));
    CHECK_EQ(int{pinned[0]}, 2);
    CHECK_EQ(int{pinned[31]}, 2);
    CHECK_EQ(int{pinned[32]}, 1);
    OK(hipHostFree(pinned));
}

TEST(memory, pageable_copies_are_done_on_return)
{
    const Stream stream;
    const auto sent = ramp(64);
    std::vector<unsigned char> received(64);
    const Words words(16);
    OK(hipMemcpyAsync(words.get(), sent.data(), 64, hipMemcpyHostToDevice, stream));
    OK(hipMemcpyAsync(received.data(), words.get(), 64, hipMemcpyDeviceToHost, stream));
    CHECK(received == sent);
}

TEST(memory, copies_rectangles)
{
    const auto sent = ramp(6 * 10);
    const Words words(64, 0);
    std::vector<unsigned char> received(6 * 10, 0);
    OK(hipMemcpy2D(words.get(), 32, sent.data(), 10, 10, 6, hipMemcpyHostToDevice));
    OK(hipMemcpy2D(received.data(), 10, words.get(), 32, 10, 6, hipMemcpyDeviceToHost));
    CHECK(received == sent);
    hip_Memcpy2D part{};
    part.srcMemoryType = hipMemoryTypeDevice;
    part.srcDevice = words.get();
    part.srcPitch = 32;
    part.srcXInBytes = 2;
    part.srcY = 1;
    part.dstMemoryType = hipMemoryTypeHost;
    part.dstHost = received.data();
    part.dstPitch = 4;
    part.WidthInBytes = 4;
    part.Height = 2;
    OK(hipMemcpyParam2D(&part));
    CHECK_EQ(int{received[0]}, int{sent[12]});
    CHECK_EQ(int{received[7]}, int{sent[25]});
    CHECK_EQ(hipMemcpy2D(words.get(), 8, sent.data(), 10, 10, 6, hipMemcpyHostToDevice),
             hipErrorInvalidPitchValue);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidPitchValue);
}

TEST(memory, fills)
{
    const Words words(64, 0xdeadbeef);
    CHECK_EQ(words.read()[63], 0xdeadbeefu);
    OK(hipMemsetD8(words.get(), 0x11, 4));
    OK(hipMemsetD16(reinterpret_cast<char *>(words.get()) + 4, 0x2233, 3));
    OK(hipMemset2D(words.get() + 8, 32, 0x44, 4, 3));
    const auto values = words.read();
    CHECK_EQ(values[0], 0x11111111u);
    CHECK_EQ(values[1], 0x22332233u);
    CHECK_EQ(values[2], 0xdead2233u);
    CHECK_EQ(values[8], 0x44444444u);
    CHECK_EQ(values[9], 0xdeadbeefu);
    CHECK_EQ(values[16], 0x44444444u);
    CHECK_EQ(values[24], 0x44444444u);
    CHECK_EQ(values[32], 0xdeadbeefu);
}

TEST(memory, refuses_ranges_past_their_end)
{
    const Words words(4);
    char host[32] = {};
    CHECK_EQ(hipMemcpy(words.get(), host, 17, hipMemcpyHostToDevice), hipErrorInvalidValue);
    CHECK_EQ(hipMemcpy(words.get() + 2, host, 9, hipMemcpyHostToDevice), hipErrorInvalidValue);
    CHECK_EQ(hipMemset(words.get(), 0, 17), hipErrorInvalidValue);
    CHECK_EQ(hipMemset(host, 0, 4), hipErrorInvalidValue);
    CHECK_EQ(hipMemcpy(words.get(), host, 4, static_cast<hipMemcpyKind>(9)), hipErrorInvalidMemcpyDirection);
    CHECK_EQ(hipMemcpy(nullptr, host, 4, hipMemcpyHostToDevice), hipErrorInvalidValue);
    OK(hipMemcpy(words.get(), host, 0, hipMemcpyHostToDevice));
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(memory, says_what_a_pointer_is)
{
    const Words words(4);
    void *pinned = nullptr;
    int local = 0;
    OK(hipHostMalloc(&pinned, 8, 0x2));
    hipPointerAttribute_t attributes{};
    OK(hipPointerGetAttributes(&attributes, words.get() + 1));
    CHECK_EQ(attributes.type, hipMemoryTypeDevice);
    CHECK(attributes.hostPointer == nullptr && attributes.devicePointer == words.get() + 1);
    OK(hipPointerGetAttributes(&attributes, pinned));
    CHECK_EQ(attributes.type, hipMemoryTypeHost);
    CHECK_EQ(attributes.allocationFlags, 2u);
    OK(hipPointerGetAttributes(&attributes, &local));
    CHECK_EQ(attributes.type, hipMemoryTypeUnregistered);
    void *device = nullptr;
    OK(hipHostGetDevicePointer(&device, pinned, 0));
    CHECK(device != nullptr);
    CHECK_EQ(hipHostGetDevicePointer(&device, words.get(), 0), hipErrorInvalidValue);
    OK(hipHostFree(pinned));
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}

TEST(memory, registers_host_memory)
{
    std::vector<uint32_t> own(1024);
    OK(hipHostRegister(own.data(), own.size() * 4, 0));
    CHECK_EQ(hipHostRegister(own.data() + 8, 4, 0), hipErrorHostMemoryAlreadyRegistered);
    const Stream stream;
    OK(hipStreamWriteValue32(stream, &own[3], 33, 0));
    OK(hipStreamSynchronize(stream));
    CHECK_EQ(__atomic_load_n(&own[3], __ATOMIC_ACQUIRE), 33u);
    CHECK_EQ(hipFree(own.data()), hipErrorInvalidValue);
    OK(hipHostUnregister(own.data()));
    CHECK_EQ(hipHostUnregister(own.data()), hipErrorHostMemoryNotRegistered);
    CHECK_EQ(hipGetLastError(), hipErrorHostMemoryNotRegistered);
}

TEST(memory, free_waits_for_the_device)
{
    const Stream stream;
    uint32_t *words = nullptr;
    OK(hipMalloc(reinterpret_cast<void **>(&words), 4 * 256));
    for (int i = 0; i < 200; ++i)
        OK(hipMemsetD32Async(words, i, 256, stream));
    OK(hipFree(words)); // the address sanitizer would see a fill that comes later
}

TEST(memory, allocation_errors)
{
    void *pointer = &pointer;
    CHECK_EQ(hipMalloc(&pointer, size_t{1} << 50), hipErrorOutOfMemory);
    CHECK(pointer == nullptr);
    OK(hipMalloc(&pointer, 0));
    CHECK(pointer == nullptr);
    OK(hipFree(nullptr));
    CHECK_EQ(hipMalloc(nullptr, 4), hipErrorInvalidValue);
    CHECK_EQ(hipHostMalloc(&pointer, 4, 0x1000), hipErrorInvalidValue);
    int local = 0;
    CHECK_EQ(hipFree(&local), hipErrorInvalidValue);
    CHECK_EQ(hipHostFree(&local), hipErrorInvalidValue);
    OK(hipMalloc(&pointer, 4));
    OK(hipFree(pointer));
    CHECK_EQ(hipFree(pointer), hipErrorInvalidValue);
    size_t free = 0;
    size_t total = 0;
    OK(hipMemGetInfo(&free, &total));
    CHECK(free > 0 && free <= total);
    CHECK_EQ(hipGetLastError(), hipErrorInvalidValue);
}
