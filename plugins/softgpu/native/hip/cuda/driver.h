// libcuda.so.1, opened at run time.
#ifndef SOFTGPU_HIP_CUDA_DRIVER_H
#define SOFTGPU_HIP_CUDA_DRIVER_H
#include "abi.h"
#include "../abi.h"

#include <string>

namespace softgpu::cuda
{

// Name in this program, symbol of the library, arguments. Every function returns a CUresult.
#define SOFTGPU_CUDA_FUNCTIONS(X)                                                                            \
    X(cuInit, "cuInit", (unsigned))                                                                          \
    X(cuDeviceGetCount, "cuDeviceGetCount", (int *))                                                         \
    X(cuDeviceGet, "cuDeviceGet", (CUdevice *, int))                                                         \
    X(cuDeviceGetName, "cuDeviceGetName", (char *, int, CUdevice))                                           \
    X(cuDeviceGetUuid, "cuDeviceGetUuid_v2", (CUuuid *, CUdevice))                                           \
    X(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int *, Attribute, CUdevice))                            \
    X(cuDeviceTotalMem, "cuDeviceTotalMem_v2", (size_t *, CUdevice))                                         \
    X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (CUcontext *, CUdevice))                         \
    X(cuCtxGetCurrent, "cuCtxGetCurrent", (CUcontext *))                                                     \
    X(cuCtxGetDevice, "cuCtxGetDevice", (CUdevice *))                                                        \
    X(cuCtxPushCurrent, "cuCtxPushCurrent_v2", (CUcontext))                                                  \
    X(cuCtxPopCurrent, "cuCtxPopCurrent_v2", (CUcontext *))                                                  \
    X(cuCtxSynchronize, "cuCtxSynchronize", ())                                                              \
    X(cuCtxGetStreamPriorityRange, "cuCtxGetStreamPriorityRange", (int *, int *))                            \
    X(cuMemGetInfo, "cuMemGetInfo_v2", (size_t *, size_t *))                                                 \
    X(cuMemAlloc, "cuMemAlloc_v2", (CUdeviceptr *, size_t))                                                  \
    X(cuMemFree, "cuMemFree_v2", (CUdeviceptr))                                                              \
    X(cuMemFreeAsync, "cuMemFreeAsync", (CUdeviceptr, CUstream))                                             \
    X(cuMemHostAlloc, "cuMemHostAlloc", (void **, size_t, unsigned))                                         \
    X(cuMemFreeHost, "cuMemFreeHost", (void *))                                                              \
    X(cuMemHostRegister, "cuMemHostRegister_v2", (void *, size_t, unsigned))                                 \
    X(cuMemHostUnregister, "cuMemHostUnregister", (void *))                                                  \
    X(cuMemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2", (CUdeviceptr *, void *, unsigned))          \
    X(cuMemcpyAsync, "cuMemcpyAsync", (CUdeviceptr, CUdeviceptr, size_t, CUstream))                          \
    X(cuMemcpy2DAsync, "cuMemcpy2DAsync_v2", (const CUDA_MEMCPY2D *, CUstream))                              \
    X(cuMemcpy3DAsync, "cuMemcpy3DAsync_v2", (const CUDA_MEMCPY3D *, CUstream))                              \
    X(cuMemsetD8Async, "cuMemsetD8Async", (CUdeviceptr, unsigned char, size_t, CUstream))                    \
    X(cuMemsetD16Async, "cuMemsetD16Async", (CUdeviceptr, unsigned short, size_t, CUstream))                 \
    X(cuMemsetD32Async, "cuMemsetD32Async", (CUdeviceptr, unsigned, size_t, CUstream))                       \
    X(cuMemsetD2D8Async, "cuMemsetD2D8Async",                                                                \
      (CUdeviceptr, size_t, unsigned char, size_t, size_t, CUstream))                                        \
    X(cuStreamCreateWithPriority, "cuStreamCreateWithPriority", (CUstream *, unsigned, int))                 \
    X(cuStreamDestroy, "cuStreamDestroy_v2", (CUstream))                                                     \
    X(cuStreamQuery, "cuStreamQuery", (CUstream))                                                            \
    X(cuStreamSynchronize, "cuStreamSynchronize", (CUstream))                                                \
    X(cuStreamWaitEvent, "cuStreamWaitEvent", (CUstream, CUevent, unsigned))                                 \
    X(cuStreamWaitValue32, "cuStreamWaitValue32_v2", (CUstream, CUdeviceptr, uint32_t, unsigned))            \
    X(cuStreamWaitValue64, "cuStreamWaitValue64_v2", (CUstream, CUdeviceptr, uint64_t, unsigned))            \
    X(cuStreamWriteValue32, "cuStreamWriteValue32_v2", (CUstream, CUdeviceptr, uint32_t, unsigned))          \
    X(cuStreamWriteValue64, "cuStreamWriteValue64_v2", (CUstream, CUdeviceptr, uint64_t, unsigned))          \
    X(cuLaunchHostFunc, "cuLaunchHostFunc", (CUstream, hipHostFn_t, void *))                                 \
    X(cuEventCreate, "cuEventCreate", (CUevent *, unsigned))                                                 \
    X(cuEventDestroy, "cuEventDestroy_v2", (CUevent))                                                        \
    X(cuEventRecord, "cuEventRecord", (CUevent, CUstream))                                                   \
    X(cuEventQuery, "cuEventQuery", (CUevent))                                                               \
    X(cuEventSynchronize, "cuEventSynchronize", (CUevent))                                                   \
    X(cuEventElapsedTime, "cuEventElapsedTime", (float *, CUevent, CUevent))                                 \
    X(cuModuleLoadData, "cuModuleLoadData", (CUmodule *, const void *))                                      \
    X(cuModuleUnload, "cuModuleUnload", (CUmodule))                                                          \
    X(cuModuleGetFunction, "cuModuleGetFunction", (CUfunction *, CUmodule, const char *))                    \
    X(cuModuleGetGlobal, "cuModuleGetGlobal_v2", (CUdeviceptr *, size_t *, CUmodule, const char *))          \
    X(cuFuncGetAttribute, "cuFuncGetAttribute", (int *, int, CUfunction))                                    \
    X(cuFuncSetAttribute, "cuFuncSetAttribute", (CUfunction, int, int))                                      \
    X(cuLaunchKernel, "cuLaunchKernel",                                                                      \
      (CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **,  \
       void **))                                                                                             \
    X(cuImportExternalMemory, "cuImportExternalMemory",                                                      \
      (CUexternalMemory *, const CUDA_EXTERNAL_MEMORY_HANDLE_DESC *))                                        \
    X(cuExternalMemoryGetMappedBuffer, "cuExternalMemoryGetMappedBuffer",                                    \
      (CUdeviceptr *, CUexternalMemory, const CUDA_EXTERNAL_MEMORY_BUFFER_DESC *))                           \
    X(cuExternalMemoryGetMappedMipmappedArray, "cuExternalMemoryGetMappedMipmappedArray",                    \
      (CUmipmappedArray *, CUexternalMemory, const CUDA_EXTERNAL_MEMORY_MIPMAPPED_ARRAY_DESC *))             \
    X(cuDestroyExternalMemory, "cuDestroyExternalMemory", (CUexternalMemory))                                \
    X(cuMipmappedArrayGetLevel, "cuMipmappedArrayGetLevel", (CUarray *, CUmipmappedArray, unsigned))         \
    X(cuMipmappedArrayDestroy, "cuMipmappedArrayDestroy", (CUmipmappedArray))                                \
    X(cuSurfObjectCreate, "cuSurfObjectCreate", (CUsurfObject *, const CUDA_RESOURCE_DESC *))                \
    X(cuSurfObjectDestroy, "cuSurfObjectDestroy", (CUsurfObject))                                            \
    X(cuImportExternalSemaphore, "cuImportExternalSemaphore",                                                \
      (CUexternalSemaphore *, const CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC *))                                  \
    X(cuDestroyExternalSemaphore, "cuDestroyExternalSemaphore", (CUexternalSemaphore))                       \
    X(cuSignalExternalSemaphoresAsync, "cuSignalExternalSemaphoresAsync",                                    \
      (const CUexternalSemaphore *, const CUDA_EXTERNAL_SEMAPHORE_PARAMS *, unsigned, CUstream))             \
    X(cuWaitExternalSemaphoresAsync, "cuWaitExternalSemaphoresAsync",                                        \
      (const CUexternalSemaphore *, const CUDA_EXTERNAL_SEMAPHORE_PARAMS *, unsigned, CUstream))

struct Driver {
#define SOFTGPU_CUDA_MEMBER(name, symbol, arguments) CUresult(*name) arguments = nullptr;
    SOFTGPU_CUDA_FUNCTIONS(SOFTGPU_CUDA_MEMBER)
#undef SOFTGPU_CUDA_MEMBER
    // Of CUDA 12.4 and later; null in older drivers.
    CUresult (*cuFuncLoad)(CUfunction) = nullptr;
    CUresult (*cuFuncGetParamInfo)(CUfunction, size_t, size_t *, size_t *) = nullptr;
};

// Opened and initialised at the first call; nullptr when that failed, for the reason that `why` gets.
const Driver *find_driver(std::string *why = nullptr);

// For the layer's objects, which exist only where the driver was found.
const Driver &driver();

// HIP took CUDA's numbers over; what it does not have is an unknown error.
hipError_t translate(CUresult code);

// The number of devices that the driver lists; 0 when it cannot be opened.
int cuda_device_count(std::string *why = nullptr);

} // namespace softgpu::cuda
#endif
