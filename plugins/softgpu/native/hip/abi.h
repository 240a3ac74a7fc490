// The part of HIP's public C ABI that this runtime offers, as of HIP 7.15 (ROCm 10.0).
//
// Written against the published interface, so no ROCm header is needed to build. Every size and offset that a
// caller relies on is asserted below.
#ifndef SOFTGPU_HIP_ABI_H
#define SOFTGPU_HIP_ABI_H
#include <cstddef>
#include <cstdint>

#define HIP_EXPORT __attribute__((visibility("default")))

enum hipError_t : int {
    hipSuccess = 0,
    hipErrorInvalidValue = 1,
    hipErrorOutOfMemory = 2,
    hipErrorNotInitialized = 3,
    hipErrorInvalidConfiguration = 9,
    hipErrorInvalidPitchValue = 12,
    hipErrorInvalidMemcpyDirection = 21,
    hipErrorNoDevice = 100,
    hipErrorInvalidDevice = 101,
    hipErrorInvalidImage = 200,
    hipErrorInvalidContext = 201,
    hipErrorMapFailed = 205,
    hipErrorNoBinaryForGpu = 209,
    hipErrorInvalidKernelFile = 218,
    hipErrorFileNotFound = 301,
    hipErrorSharedObjectInitFailed = 303,
    hipErrorOperatingSystem = 304,
    hipErrorInvalidHandle = 400,
    hipErrorNotFound = 500,
    hipErrorNotReady = 600,
    hipErrorIllegalAddress = 700,
    hipErrorLaunchOutOfResources = 701,
    hipErrorContextIsDestroyed = 709,
    hipErrorHostMemoryAlreadyRegistered = 712,
    hipErrorHostMemoryNotRegistered = 713,
    hipErrorLaunchFailure = 719,
    hipErrorNotSupported = 801,
    hipErrorUnknown = 999,
};

enum hipMemcpyKind : int {
    hipMemcpyHostToHost = 0,
    hipMemcpyHostToDevice = 1,
    hipMemcpyDeviceToHost = 2,
    hipMemcpyDeviceToDevice = 3,
    hipMemcpyDefault = 4,
    hipMemcpyDeviceToDeviceNoCU = 1024,
};

enum hipMemoryType : int {
    hipMemoryTypeUnregistered = 0,
    hipMemoryTypeHost = 1,
    hipMemoryTypeDevice = 2,
    hipMemoryTypeManaged = 3,
};

using hipStreamHandle = struct ihipStream_t *;
using hipEventHandle = struct ihipEvent_t *;
using hipModuleHandle = struct ihipModule_t *;
using hipFunctionHandle = struct ihipModuleSymbol_t *;
using hipExternalMemory_t = void *;
using hipExternalSemaphore_t = void *;
using hipArray_t = struct hipArray *;
using hipMipmappedArray_t = struct hipMipmappedArray *;
using hipSurfaceObject_t = struct __hip_surface *;
using hipHostFn_t = void (*)(void *);
using hipStreamCallback_t = void (*)(hipStreamHandle, hipError_t, void *);

constexpr unsigned hipStreamNonBlocking = 1;
constexpr unsigned hipEventBlockingSync = 1;
constexpr unsigned hipEventDisableTiming = 2;
constexpr unsigned hipEventInterprocess = 4;
constexpr unsigned hipEventReleaseToDevice = 0x40000000;
constexpr unsigned hipEventReleaseToSystem = 0x80000000;
constexpr unsigned hipExternalMemoryDedicated = 1;
constexpr unsigned hipArrayLayered = 1;
constexpr unsigned hipArraySurfaceLoadStore = 2;
constexpr unsigned hipArrayTextureGather = 8;
constexpr int hipChannelFormatKindSigned = 0;
constexpr int hipChannelFormatKindUnsigned = 1;
constexpr int hipChannelFormatKindFloat = 2;
constexpr int hipResourceTypeArray = 0;

struct hipUUID {
    char bytes[16];
};

struct hipPointerAttribute_t {
    hipMemoryType type;
    int device;
    void *devicePointer;
    void *hostPointer;
    int isManaged;
    unsigned allocationFlags;
};
static_assert(sizeof(hipPointerAttribute_t) == 32 && offsetof(hipPointerAttribute_t, isManaged) == 24);

struct hip_Memcpy2D {
    size_t srcXInBytes;
    size_t srcY;
    hipMemoryType srcMemoryType;
    const void *srcHost;
    void *srcDevice;
    void *srcArray;
    size_t srcPitch;
    size_t dstXInBytes;
    size_t dstY;
    hipMemoryType dstMemoryType;
    void *dstHost;
    void *dstDevice;
    void *dstArray;
    size_t dstPitch;
    size_t WidthInBytes;
    size_t Height;
};
static_assert(sizeof(hip_Memcpy2D) == 128 && offsetof(hip_Memcpy2D, dstXInBytes) == 56);

struct hipChannelFormatDesc {
    int x, y, z, w; // bits
    int f;          // hipChannelFormatKind
};
static_assert(sizeof(hipChannelFormatDesc) == 20);

struct hipExtent {
    size_t width, height, depth;
};

struct hipPos {
    size_t x, y, z;
};

struct hipPitchedPtr {
    void *ptr;
    size_t pitch, xsize, ysize;
};

// Positions and extent count texels of an array, and bytes where no array takes part.
struct hipMemcpy3DParms {
    hipArray_t srcArray;
    hipPos srcPos;
    hipPitchedPtr srcPtr;
    hipArray_t dstArray;
    hipPos dstPos;
    hipPitchedPtr dstPtr;
    hipExtent extent;
    hipMemcpyKind kind;
};
static_assert(sizeof(hipMemcpy3DParms) == 160 && offsetof(hipMemcpy3DParms, dstArray) == 64);
static_assert(offsetof(hipMemcpy3DParms, extent) == 128 && offsetof(hipMemcpy3DParms, kind) == 152);

// Only the array form is served.
struct hipResourceDesc {
    int resType;
    union {
        hipArray_t array;
        char others[56];
    } res;
};
static_assert(sizeof(hipResourceDesc) == 64 && offsetof(hipResourceDesc, res) == 8);

union hipExternalHandle {
    int fd;
    struct {
        void *handle;
        const void *name;
    } win32;
    const void *nvSci;
};

struct hipExternalMemoryHandleDesc {
    int type;
    hipExternalHandle handle;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(hipExternalMemoryHandleDesc) == 104 &&
              offsetof(hipExternalMemoryHandleDesc, handle) == 8);
static_assert(offsetof(hipExternalMemoryHandleDesc, size) == 24);
static_assert(offsetof(hipExternalMemoryHandleDesc, flags) == 32);

struct hipExternalMemoryBufferDesc {
    unsigned long long offset;
    unsigned long long size;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(hipExternalMemoryBufferDesc) == 88 &&
              offsetof(hipExternalMemoryBufferDesc, flags) == 16);

struct hipExternalMemoryMipmappedArrayDesc {
    unsigned long long offset;
    hipChannelFormatDesc formatDesc;
    hipExtent extent;
    unsigned flags;
    unsigned numLevels;
};
static_assert(sizeof(hipExternalMemoryMipmappedArrayDesc) == 64);
static_assert(offsetof(hipExternalMemoryMipmappedArrayDesc, extent) == 32);
static_assert(offsetof(hipExternalMemoryMipmappedArrayDesc, numLevels) == 60);

struct hipExternalSemaphoreHandleDesc {
    int type;
    hipExternalHandle handle;
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(hipExternalSemaphoreHandleDesc) == 96);
static_assert(offsetof(hipExternalSemaphoreHandleDesc, flags) == 24);

// Signal and wait parameters differ only in a member that AMD never reads.
struct hipExternalSemaphoreParams {
    unsigned long long fenceValue;
    unsigned char unread[64];
    unsigned flags;
    unsigned reserved[16];
};
static_assert(sizeof(hipExternalSemaphoreParams) == 144 && offsetof(hipExternalSemaphoreParams, flags) == 72);

struct hipDeviceProp_tR0600 {
    char name[256];
    hipUUID uuid;
    char luid[8];
    unsigned luidDeviceNodeMask;
    size_t totalGlobalMem;
    size_t sharedMemPerBlock;
    int regsPerBlock;
    int warpSize;
    size_t memPitch;
    int maxThreadsPerBlock;
    int maxThreadsDim[3];
    int maxGridSize[3];
    int clockRate;
    size_t totalConstMem;
    int major;
    int minor;
    size_t textureAlignment;
    size_t texturePitchAlignment;
    int deviceOverlap;
    int multiProcessorCount;
    int kernelExecTimeoutEnabled;
    int integrated;
    int canMapHostMemory;
    int computeMode;
    int textureLimits[40]; // maxTexture1D ... maxSurfaceCubemapLayered[1]
    size_t surfaceAlignment;
    int concurrentKernels;
    int ECCEnabled;
    int pciBusID;
    int pciDeviceID;
    int pciDomainID;
    int tccDriver;
    int asyncEngineCount;
    int unifiedAddressing;
    int memoryClockRate;
    int memoryBusWidth;
    int l2CacheSize;
    int persistingL2CacheMaxSize;
    int maxThreadsPerMultiProcessor;
    int streamPrioritiesSupported;
    int globalL1CacheSupported;
    int localL1CacheSupported;
    size_t sharedMemPerMultiprocessor;
    int regsPerMultiprocessor;
    int managedMemory;
    int isMultiGpuBoard;
    int multiGpuBoardGroupID;
    int hostNativeAtomicSupported;
    int singleToDoublePrecisionPerfRatio;
    int pageableMemoryAccess;
    int concurrentManagedAccess;
    int computePreemptionSupported;
    int canUseHostPointerForRegisteredMem;
    int cooperativeLaunch;
    int cooperativeMultiDeviceLaunch;
    size_t sharedMemPerBlockOptin;
    int pageableMemoryAccessUsesHostPageTables;
    int directManagedMemAccessFromHost;
    int maxBlocksPerMultiProcessor;
    int accessPolicyMaxWindowSize;
    size_t reservedSharedMemPerBlock;
    int hostRegisterSupported;
    int sparseHipArraySupported;
    int hostRegisterReadOnlySupported;
    int timelineSemaphoreInteropSupported;
    int memoryPoolsSupported;
    int gpuDirectRDMASupported;
    unsigned gpuDirectRDMAFlushWritesOptions;
    int gpuDirectRDMAWritesOrdering;
    unsigned memoryPoolSupportedHandleTypes;
    int deferredMappingHipArraySupported;
    int ipcEventSupported;
    int clusterLaunch;
    int unifiedFunctionPointers;
    int reserved[63];
    int hipReserved[32];
    char gcnArchName[256];
    size_t maxSharedMemoryPerMultiProcessor;
    int clockInstructionRate;
    unsigned arch;
    unsigned *hdpMemFlushCntl;
    unsigned *hdpRegFlushCntl;
    int cooperativeMultiDeviceUnmatchedFunc;
    int cooperativeMultiDeviceUnmatchedGridDim;
    int cooperativeMultiDeviceUnmatchedBlockDim;
    int cooperativeMultiDeviceUnmatchedSharedMem;
    int isLargeBar;
    int asicRevision;
};
static_assert(sizeof(hipDeviceProp_tR0600) == 1472 && offsetof(hipDeviceProp_tR0600, totalGlobalMem) == 288);
static_assert(offsetof(hipDeviceProp_tR0600, multiProcessorCount) == 388);
static_assert(offsetof(hipDeviceProp_tR0600, surfaceAlignment) == 568);
static_assert(offsetof(hipDeviceProp_tR0600, pciBusID) == 584);
static_assert(offsetof(hipDeviceProp_tR0600, unifiedAddressing) == 604);
static_assert(offsetof(hipDeviceProp_tR0600, timelineSemaphoreInteropSupported) == 740);
static_assert(offsetof(hipDeviceProp_tR0600, asicRevision) == 1468);

enum hiprtcResult : int {
    HIPRTC_SUCCESS = 0,
    HIPRTC_ERROR_OUT_OF_MEMORY = 1,
    HIPRTC_ERROR_PROGRAM_CREATION_FAILURE = 2,
    HIPRTC_ERROR_INVALID_INPUT = 3,
    HIPRTC_ERROR_INVALID_PROGRAM = 4,
    HIPRTC_ERROR_INVALID_OPTION = 5,
    HIPRTC_ERROR_COMPILATION = 6,
    HIPRTC_ERROR_BUILTIN_OPERATION_FAILURE = 7,
    HIPRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION = 8,
    HIPRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION = 9,
    HIPRTC_ERROR_NAME_EXPRESSION_NOT_VALID = 10,
    HIPRTC_ERROR_INTERNAL_ERROR = 11,
    HIPRTC_ERROR_LINKING = 100,
};

#endif
