// The producer's half of the hand-written rings: Vulkan fills slots in batches and hands them over.
//
// The work of a frame is vkCmdFillBuffer of 64 KiB and a kernel that increments each word. Per block of slots
// there is one pair of binary semaphores and two prepared command buffers; twice as many batches as there are
// blocks may be in flight, as in interop.ring. Headers come from the `vulkan` package of Python: a machine
// with a driver need have no SDK.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <chrono>
#include <dlfcn.h>
#include <string>
#include <vector>

#define va_list ring_va_list // the package's header has a typedef of that name
extern "C" {
#include "vulkan.cdef.h"
}
#undef va_list

#define RING_CHECK(call)                                                                                               \
    do {                                                                                                               \
        const long status_ = static_cast<long>(call);                                                                  \
        if (status_ != 0) {                                                                                            \
            std::fprintf(stderr, "%s:%d: %s returned %ld\n", __FILE__, __LINE__, #call, status_);                      \
            std::exit(1);                                                                                              \
        }                                                                                                              \
    } while (0)

namespace ring {

constexpr uint32_t kWords = 16 * 1024;
constexpr VkDeviceSize kFrame = kWords * 4;

inline PFN_vkGetInstanceProcAddr loader()
{
    void *library = dlopen("libvulkan.so.1", RTLD_NOW);
    if (library == nullptr) {
        std::fprintf(stderr, "%s\n", dlerror());
        std::exit(1);
    }
    return reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
}

struct Vulkan {
    PFN_vkGetInstanceProcAddr get = loader();
    VkInstance instance = nullptr;
    VkPhysicalDevice physical = nullptr;
    VkDevice device = nullptr;
    VkQueue queue = nullptr;
    uint32_t family = 0;
    VkCommandPool pool = nullptr;
    VkSemaphore progress{};
    uint64_t submitted = 0;

    template <class F> F find(const char *name) const
    {
        auto found = reinterpret_cast<F>(get(instance, name));
        if (found == nullptr) {
            std::fprintf(stderr, "no %s\n", name);
            std::exit(1);
        }
        return found;
    }
#define RING_VK(name) find<PFN_##name>(#name)

    Vulkan()
    {
        VkApplicationInfo app{};
        app.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
        app.apiVersion = (1u << 22) | (2u << 12);
        VkInstanceCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
        info.pApplicationInfo = &app;
        RING_CHECK(RING_VK(vkCreateInstance)(&info, nullptr, &instance));
        uint32_t count = 1; // the first device, as interop takes; VK_INCOMPLETE says that there are more
        (void)RING_VK(vkEnumeratePhysicalDevices)(instance, &count, &physical);
        uint32_t families = 0;
        RING_VK(vkGetPhysicalDeviceQueueFamilyProperties)(physical, &families, nullptr);
        std::vector<VkQueueFamilyProperties> properties(families);
        RING_VK(vkGetPhysicalDeviceQueueFamilyProperties)(physical, &families, properties.data());
        while (family < families && !(properties[family].queueFlags & VK_QUEUE_COMPUTE_BIT)) family++;
        const float priority = 1.0f;
        VkDeviceQueueCreateInfo queues{};
        queues.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
        queues.queueFamilyIndex = family;
        queues.queueCount = 1;
        queues.pQueuePriorities = &priority;
        VkPhysicalDeviceTimelineSemaphoreFeatures timeline{};
        timeline.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
        timeline.timelineSemaphore = 1;
        const char *extensions[] = {"VK_KHR_external_memory_fd", "VK_KHR_external_semaphore_fd"};
        VkDeviceCreateInfo wanted{};
        wanted.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
        wanted.pNext = &timeline;
        wanted.queueCreateInfoCount = 1;
        wanted.pQueueCreateInfos = &queues;
        wanted.enabledExtensionCount = 2;
        wanted.ppEnabledExtensionNames = extensions;
        RING_CHECK(RING_VK(vkCreateDevice)(physical, &wanted, nullptr, &device));
        RING_VK(vkGetDeviceQueue)(device, family, 0, &queue);
        VkCommandPoolCreateInfo pools{};
        pools.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
        pools.queueFamilyIndex = family;
        RING_CHECK(RING_VK(vkCreateCommandPool)(device, &pools, nullptr, &pool));
        progress = semaphore(true, nullptr);
    }

    VkSemaphore semaphore(bool is_timeline, int *fd)
    {
        VkExportSemaphoreCreateInfo exported{};
        exported.sType = VK_STRUCTURE_TYPE_EXPORT_SEMAPHORE_CREATE_INFO;
        exported.handleTypes = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_OPAQUE_FD_BIT;
        VkSemaphoreTypeCreateInfo kind{};
        kind.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
        kind.semaphoreType = is_timeline ? VK_SEMAPHORE_TYPE_TIMELINE : VK_SEMAPHORE_TYPE_BINARY;
        kind.pNext = fd != nullptr ? &exported : nullptr;
        VkSemaphoreCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
        info.pNext = &kind;
        VkSemaphore made{};
        RING_CHECK(RING_VK(vkCreateSemaphore)(device, &info, nullptr, &made));
        if (fd != nullptr) {
            VkSemaphoreGetFdInfoKHR out{};
            out.sType = VK_STRUCTURE_TYPE_SEMAPHORE_GET_FD_INFO_KHR;
            out.semaphore = made;
            out.handleType = VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_OPAQUE_FD_BIT;
            RING_CHECK(RING_VK(vkGetSemaphoreFdKHR)(device, &out, fd));
        }
        return made;
    }

    VkBuffer share(VkDeviceSize size, int *fd, VkDeviceSize *allocated)
    {
        VkExternalMemoryBufferCreateInfo external{};
        external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO;
        external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
        VkBufferCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
        info.pNext = &external;
        info.size = size;
        info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
        VkBuffer buffer{};
        RING_CHECK(RING_VK(vkCreateBuffer)(device, &info, nullptr, &buffer));
        VkMemoryRequirements needs{};
        RING_VK(vkGetBufferMemoryRequirements)(device, buffer, &needs);
        VkPhysicalDeviceMemoryProperties memory{};
        RING_VK(vkGetPhysicalDeviceMemoryProperties)(physical, &memory);
        uint32_t type = 0;
        for (uint32_t index = memory.memoryTypeCount; index-- > 0;) {
            const bool local = memory.memoryTypes[index].propertyFlags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
            if ((needs.memoryTypeBits >> index & 1) && local) type = index;
        }
        VkExportMemoryAllocateInfo exported{};
        exported.sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO;
        exported.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
        VkMemoryAllocateInfo allocation{};
        allocation.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
        allocation.pNext = &exported;
        allocation.allocationSize = needs.size;
        allocation.memoryTypeIndex = type;
        VkDeviceMemory block{};
        RING_CHECK(RING_VK(vkAllocateMemory)(device, &allocation, nullptr, &block));
        RING_CHECK(RING_VK(vkBindBufferMemory)(device, buffer, block, 0));
        VkMemoryGetFdInfoKHR out{};
        out.sType = VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR;
        out.memory = block;
        out.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
        RING_CHECK(RING_VK(vkGetMemoryFdKHR)(device, &out, fd));
        *allocated = needs.size;
        return buffer;
    }

    // Take the buffer over (unless nobody has had it), fill every slot, give the buffer away.
    VkCommandBuffer record(VkBuffer buffer, uint32_t batch, bool used)
    {
        VkCommandBufferAllocateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
        info.commandPool = pool;
        info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
        info.commandBufferCount = 1;
        VkCommandBuffer made{};
        RING_CHECK(RING_VK(vkAllocateCommandBuffers)(device, &info, &made));
        VkCommandBufferBeginInfo begin{};
        begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
        begin.flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT;
        RING_CHECK(RING_VK(vkBeginCommandBuffer)(made, &begin));
        constexpr uint32_t outside = 0xFFFFFFFEu; // VK_QUEUE_FAMILY_EXTERNAL
        VkBufferMemoryBarrier barrier{};
        barrier.sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER;
        barrier.buffer = buffer;
        barrier.size = ~0ull;
        const VkPipelineStageFlags all = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
        auto order = RING_VK(vkCmdPipelineBarrier);
        if (used) {
            barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
            barrier.srcQueueFamilyIndex = outside;
            barrier.dstQueueFamilyIndex = family;
            order(made, all, all, 0, 0, nullptr, 1, &barrier, 0, nullptr);
        }
        auto fill = RING_VK(vkCmdFillBuffer);
        for (uint32_t slot = 0; slot < batch; slot++) fill(made, buffer, slot * kFrame, kFrame, 7 + slot);
        barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
        barrier.dstAccessMask = 0;
        barrier.srcQueueFamilyIndex = family;
        barrier.dstQueueFamilyIndex = outside;
        order(made, all, all, 0, 0, nullptr, 1, &barrier, 0, nullptr);
        RING_CHECK(RING_VK(vkEndCommandBuffer)(made));
        return made;
    }
};

struct Block {
    VkSemaphore ready{}, back{};
    VkCommandBuffer first{}, again{};
    bool used = false;
};

// Blocks of slots that frames go through. Numbers of blocks go on over all rings of a process.
struct Ring {
    uint32_t slots = 0, batch = 0, base = 0, next = 0;
    std::vector<Block> blocks;
};

// Consumer: import(block, memory fd, bytes, ready fd, back fd); take(block); launch(block, slot); give(block);
// finish(); wrong(block, slot): whether the slot holds other words than its fill plus one.
template <class Consumer> struct Rings {
    Consumer &consumer;
    Vulkan vulkan;
    std::vector<Ring> rings;
    uint32_t blocks = 0;
    PFN_vkQueueSubmit queue_submit = vulkan.find<PFN_vkQueueSubmit>("vkQueueSubmit");
    PFN_vkWaitSemaphores wait = vulkan.find<PFN_vkWaitSemaphores>("vkWaitSemaphores");

    explicit Rings(Consumer &wanted) : consumer(wanted) {}

    Ring &ring(uint32_t slots, uint32_t batch)
    {
        for (Ring &made : rings)
            if (made.slots == slots && made.batch == batch) return made;
        Ring made;
        made.slots = slots;
        made.batch = batch;
        made.base = blocks;
        made.blocks.resize(slots / batch);
        for (Block &block : made.blocks) {
            int memory = -1, ready = -1, back = -1;
            VkDeviceSize allocated = 0;
            VkBuffer buffer = vulkan.share(batch * kFrame, &memory, &allocated);
            block.ready = vulkan.semaphore(false, &ready);
            block.back = vulkan.semaphore(false, &back);
            block.first = vulkan.record(buffer, batch, false);
            block.again = vulkan.record(buffer, batch, true);
            consumer.import(blocks++, memory, allocated, ready, back);
        }
        rings.push_back(made);
        return rings.back();
    }

    void go(Ring &ring, uint32_t count)
    {
        const uint64_t room = ring.blocks.size() * 2 > 4 ? ring.blocks.size() * 2 : 4;
        const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
        for (uint32_t done = 0; done < count; done += ring.batch) {
            Block &block = ring.blocks[ring.next];
            const uint32_t number = ring.base + ring.next;
            if (vulkan.submitted >= room) {
                uint64_t oldest = vulkan.submitted - room + 1;
                VkSemaphoreWaitInfo info{};
                info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
                info.semaphoreCount = 1;
                info.pSemaphores = &vulkan.progress;
                info.pValues = &oldest;
                RING_CHECK(wait(vulkan.device, &info, 10'000'000'000ull));
            }
            const uint64_t values[] = {0, ++vulkan.submitted};
            const VkSemaphore signals[] = {block.ready, vulkan.progress};
            VkTimelineSemaphoreSubmitInfo timeline{};
            timeline.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
            timeline.signalSemaphoreValueCount = 2;
            timeline.pSignalSemaphoreValues = values;
            timeline.waitSemaphoreValueCount = block.used;
            timeline.pWaitSemaphoreValues = values;
            VkSubmitInfo submit{};
            submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
            submit.pNext = &timeline;
            submit.waitSemaphoreCount = block.used;
            submit.pWaitSemaphores = &block.back;
            submit.pWaitDstStageMask = &stage;
            submit.commandBufferCount = 1;
            submit.pCommandBuffers = block.used ? &block.again : &block.first;
            submit.signalSemaphoreCount = 2;
            submit.pSignalSemaphores = signals;
            RING_CHECK(queue_submit(vulkan.queue, 1, &submit, VkFence{}));
            consumer.take(number);
            for (uint32_t slot = 0; slot < ring.batch; slot++) consumer.launch(number, slot);
            consumer.give(number);
            block.used = true;
            ring.next = (ring.next + 1) % ring.blocks.size();
        }
        consumer.finish();
    }

    bool measure(uint32_t slots, uint32_t batch, uint32_t frames)
    {
        if (batch == 0 || slots < batch || slots % batch != 0) {
            std::fprintf(stderr, "slots must be a multiple of the batch, got %u and %u\n", slots, batch);
            return false;
        }
        Ring &chosen = ring(slots, batch);
        go(chosen, 4 * slots);
        const auto start = std::chrono::steady_clock::now();
        go(chosen, frames);
        const std::chrono::duration<double, std::micro> spent = std::chrono::steady_clock::now() - start;
        for (uint32_t number = 0; number < chosen.blocks.size(); number++)
            for (uint32_t slot = 0; slot < batch; slot++)
                if (consumer.wrong(chosen.base + number, slot)) {
                    std::fprintf(stderr, "block %u slot %u holds wrong words\n", number, slot);
                    return false;
                }
        std::printf("%.4f\n", spent.count() / frames);
        std::fflush(stdout);
        return true;
    }
};

// One figure for the arguments; without any, one for each line of standard input until it ends.
template <class Consumer> int run(Consumer &consumer, int argc, char **argv)
{
    if (argc != 1 && argc != 4) {
        std::fprintf(stderr, "usage: %s [SLOTS BATCH FRAMES]; without arguments, such lines are read\n", argv[0]);
        return 2;
    }
    Rings<Consumer> rings(consumer);
    bool right = true;
    if (argc == 4) {
        right = rings.measure(std::atoi(argv[1]), std::atoi(argv[2]), std::atoi(argv[3]));
    } else {
        unsigned int slots = 0, batch = 0, frames = 0;
        while (right && std::scanf("%u %u %u", &slots, &batch, &frames) == 3)
            right = rings.measure(slots, batch, frames);
    }
    std::fflush(stderr);
    std::_Exit(right ? 0 : 1); // nothing is left to run; the drivers free what the process held
}

} // namespace ring
