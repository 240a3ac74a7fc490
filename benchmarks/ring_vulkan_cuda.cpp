// A ring of frames from Vulkan to CUDA, by hand: what interop.links.rings.frame_ring is held against. Built by ring.py with
// nvcc -x cu.
#include "ring_vulkan.hpp"

#include <cuda_runtime.h>

__global__ void increment(unsigned int *words, unsigned int count)
{
    const unsigned int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count) words[index] += 1;
}

namespace {

struct Cuda {
    struct Block {
        unsigned int *words = nullptr;
        cudaExternalSemaphore_t ready{}, back{};
    };
    std::vector<Block> blocks;
    cudaStream_t stream{};

    Cuda() { RING_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }

    static cudaExternalSemaphore_t semaphore(int fd)
    {
        cudaExternalSemaphoreHandleDesc wanted{};
        wanted.type = cudaExternalSemaphoreHandleTypeOpaqueFd;
        wanted.handle.fd = fd;
        cudaExternalSemaphore_t made{};
        RING_CHECK(cudaImportExternalSemaphore(&made, &wanted));
        return made;
    }

    void import(unsigned int, int memory, VkDeviceSize bytes, int ready, int back)
    {
        cudaExternalMemoryHandleDesc wanted{};
        wanted.type = cudaExternalMemoryHandleTypeOpaqueFd;
        wanted.handle.fd = memory;
        wanted.size = bytes;
        cudaExternalMemory_t external{};
        RING_CHECK(cudaImportExternalMemory(&external, &wanted));
        cudaExternalMemoryBufferDesc range{};
        range.size = bytes;
        void *address = nullptr;
        RING_CHECK(cudaExternalMemoryGetMappedBuffer(&address, external, &range));
        blocks.push_back({static_cast<unsigned int *>(address), semaphore(ready), semaphore(back)});
    }

    void take(unsigned int block)
    {
        const cudaExternalSemaphoreWaitParams none{};
        RING_CHECK(cudaWaitExternalSemaphoresAsync(&blocks[block].ready, &none, 1, stream));
    }

    void launch(unsigned int block, unsigned int slot)
    {
        increment<<<ring::kWords / 256, 256, 0, stream>>>(blocks[block].words + slot * ring::kWords, ring::kWords);
    }

    void give(unsigned int block)
    {
        const cudaExternalSemaphoreSignalParams none{};
        RING_CHECK(cudaSignalExternalSemaphoresAsync(&blocks[block].back, &none, 1, stream));
    }

    void finish() { RING_CHECK(cudaStreamSynchronize(stream)); }

    bool wrong(unsigned int block, unsigned int slot)
    {
        std::vector<unsigned int> words(ring::kWords);
        const auto *from = blocks[block].words + slot * ring::kWords;
        RING_CHECK(cudaMemcpy(words.data(), from, ring::kFrame, cudaMemcpyDeviceToHost));
        for (unsigned int word : words)
            if (word != 8 + slot) return true;
        return false;
    }
};

} // namespace

int main(int argc, char **argv)
{
    Cuda consumer;
    return ring::run(consumer, argc, argv);
}
