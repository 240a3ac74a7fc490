// The part of CUDA's driver interface that this layer uses.
//
// Written against the published interface, so no CUDA toolkit is needed to build. Every size and offset that
// the driver relies on is asserted below. Symbols carry the version that the library exports; cuda.h hides it
// behind macros.
#ifndef SOFTGPU_HIP_CUDA_ABI_H
#define SOFTGPU_HIP_CUDA_ABI_H
#include <cstddef>
#include <cstdint>

namespace softgpu::cuda
{

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = uint64_t;
using CUsurfObject = uint64_t;
using CUcontext = struct CUctx_st *;
using CUstream = struct CUstream_st *;
using CUevent = struct CUevent_st *;
using CUmodule = struct CUmod_st *;
using CUfunction = struct CUfunc_st *;
using CUarray = struct CUarray_st *;
using CUmipmappedArray = struct CUmipmappedArray_st *;
using CUexternalMemory = struct CUextMemory_st *;
using CUexternalSemaphore = struct CUextSemaphore_st *;

constexpr CUresult success = 0;
constexpr CUresult not_ready = 600;
constexpr CUresult unsupported_ptx_version = 222;

// The legacy default stream, whatever the calling program was compiled for.
inline CUstream legacy_stream()
{
    return reinterpret_cast<CUstream>(uintptr_t{1});
}

constexpr unsigned stream_non_blocking = 1;
constexpr unsigned event_disable_timing = 2;
constexpr unsigned host_portable = 1;
constexpr unsigned host_mapped = 2;
constexpr unsigned host_write_combined = 4;

constexpr int function_max_threads_per_block = 0;
constexpr int function_max_dynamic_shared_size = 8;

constexpr int memory_type_array = 3;
constexpr int memory_type_unified = 4;
constexpr int resource_type_array = 0;

constexpr int external_opaque_fd = 1;
constexpr int external_timeline_fd = 9;
constexpr unsigned external_memory_dedicated = 1;

struct CUuuid {
    char bytes[16];
};

struct CUDA_MEMCPY2D {
    size_t srcXInBytes, srcY;
    int srcMemoryType;
    const void *srcHost;
    CUdeviceptr srcDevice;
    CUarray srcArray;
    size_t srcPitch;
    size_t dstXInBytes, dstY;
    int dstMemoryType;
    void *dstHost;
    CUdeviceptr dstDevice;
    CUarray dstArray;
    size_t dstPitch;
    size_t WidthInBytes, Height;
};
static_assert(sizeof(CUDA_MEMCPY2D) == 128 && offsetof(CUDA_MEMCPY2D, dstXInBytes) == 56);

struct CUDA_MEMCPY3D {
    size_t srcXInBytes, srcY, srcZ, srcLOD;
    int srcMemoryType;
    const void *srcHost;
    CUdeviceptr srcDevice;
    CUarray srcArray;
    void *reserved0;
    size_t srcPitch, srcHeight;
    size_t dstXInBytes, dstY, dstZ, dstLOD;
    int dstMemoryType;
    void *dstHost;
    CUdeviceptr dstDevice;
    CUarray dstArray;
    void *reserved1;
    size_t dstPitch, dstHeight;
    size_t WidthInBytes, Height, Depth;
};
static_assert(sizeof(CUDA_MEMCPY3D) == 200 && offsetof(CUDA_MEMCPY3D, dstXInBytes) == 88);

struct CUDA_ARRAY3D_DESCRIPTOR {
    size_t Width, Height, Depth;
    int Format;
    unsigned NumChannels;
    unsigned Flags;
};
static_assert(sizeof(CUDA_ARRAY3D_DESCRIPTOR) == 40 && offsetof(CUDA_ARRAY3D_DESCRIPTOR, Format) == 24);

struct CUDA_RESOURCE_DESC {
    int resType;
    union {
        CUarray array;
        int reserved[32];
    } res;
    unsigned flags;
};
static_assert(sizeof(CUDA_RESOURCE_DESC) == 144 && offsetof(CUDA_RESOURCE_DESC, flags) == 136);

union ExternalHandle {
    int fd;
    struct {
        void *handle;
        const void *name;
    } win32;
};

struct CUDA_EXTERNAL_MEMORY_HANDLE_DESC {
    int type;
    ExternalHandle handle;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(CUDA_EXTERNAL_MEMORY_HANDLE_DESC) == 104 &&
              offsetof(CUDA_EXTERNAL_MEMORY_HANDLE_DESC, size) == 24);

struct CUDA_EXTERNAL_MEMORY_BUFFER_DESC {
    unsigned long long offset;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(CUDA_EXTERNAL_MEMORY_BUFFER_DESC) == 88);

struct CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC {
    unsigned long long offset;
    CUDA_ARRAY3D_DESCRIPTOR arrayDesc;
    unsigned numLevels;
    unsigned reserved[16];
};
static_assert(sizeof(CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC) == 120 &&
              offsetof(CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC, numLevels) == 48);

struct CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC {
    int type;
    ExternalHandle handle;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC) == 96);

// Signal and wait parameters are the same as far as Vulkan goes.
struct CUDA_EXTERNAL_SEMAPHORE_PARAMS {
    unsigned long long fenceValue;
    unsigned long long others[8];
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(CUDA_EXTERNAL_SEMAPHORE_PARAMS) == 144 &&
              offsetof(CUDA_EXTERNAL_SEMAPHORE_PARAMS, flags) == 72);

// CUdevice_attribute
enum class Attribute : int {
    MaxThreadsPerBlock = 1,
    MaxBlockDimX = 2,
    MaxBlockDimY = 3,
    MaxBlockDimZ = 4,
    MaxGridDimX = 5,
    MaxGridDimY = 6,
    MaxGridDimZ = 7,
    TotalConstantMemory = 9,
    WarpSize = 10,
    MaxPitch = 11,
    MaxRegistersPerBlock = 12,
    ClockRate = 13,
    TextureAlignment = 14,
    MultiprocessorCount = 16,
    KernelExecTimeout = 17,
    Integrated = 18,
    CanMapHostMemory = 19,
    ComputeMode = 20,
    MaximumTexture1DWidth = 21,
    MaximumTexture2DWidth = 22,
    MaximumTexture2DHeight = 23,
    MaximumTexture3DWidth = 24,
    MaximumTexture3DHeight = 25,
    MaximumTexture3DDepth = 26,
    SurfaceAlignment = 30,
    ConcurrentKernels = 31,
    EccEnabled = 32,
    PciBusId = 33,
    PciDeviceId = 34,
    MemoryClockRate = 36,
    GlobalMemoryBusWidth = 37,
    L2CacheSize = 38,
    MaxThreadsPerMultiprocessor = 39,
    AsyncEngineCount = 40,
    UnifiedAddressing = 41,
    PciDomainId = 50,
    TexturePitchAlignment = 51,
    ComputeCapabilityMajor = 75,
    ComputeCapabilityMinor = 76,
    StreamPrioritiesSupported = 78,
    GlobalL1CacheSupported = 79,
    LocalL1CacheSupported = 80,
    MaxSharedMemoryPerMultiprocessor = 81,
    MaxRegistersPerMultiprocessor = 82,
    ManagedMemory = 83,
    MultiGpuBoard = 84,
    MultiGpuBoardGroupId = 85,
    HostNativeAtomicSupported = 86,
    SingleToDoublePrecisionPerfRatio = 87,
    PageableMemoryAccess = 88,
    ConcurrentManagedAccess = 89,
    ComputePreemptionSupported = 90,
    CanUseHostPointerForRegisteredMem = 91,
    CooperativeLaunch = 95,
    MaxSharedMemoryPerBlockOptin = 97,
    HostRegisterSupported = 99,
    PageableMemoryAccessUsesHostPageTables = 100,
    DirectManagedMemAccessFromHost = 101,
    MaxBlocksPerMultiprocessor = 106,
    MaxPersistingL2CacheSize = 108,
    MaxAccessPolicyWindowSize = 109,
    ReservedSharedMemoryPerBlock = 111,
    TimelineSemaphoreInteropSupported = 114,
    CanUse64BitStreamMemOps = 122,
};

} // namespace softgpu::cuda
#endif
