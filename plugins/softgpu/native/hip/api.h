// Every function that libamdhip64.so and libhiprtc.so export under HIP's names. The files that define them
// include this, so the two cannot drift apart; the C++ tests call the libraries through it.
#ifndef SOFTGPU_HIP_API_H
#define SOFTGPU_HIP_API_H
#include "abi.h"

extern "C" {

// devices: api_device.cpp
HIP_EXPORT hipError_t hipInit(unsigned flags);
HIP_EXPORT hipError_t hipGetDeviceCount(int *count);
HIP_EXPORT hipError_t hipSetDevice(int index);
HIP_EXPORT hipError_t hipGetDevice(int *index);
HIP_EXPORT hipError_t hipDeviceGet(int *device, int ordinal);
HIP_EXPORT hipError_t hipGetDevicePropertiesR0600(hipDeviceProp_tR0600 *out, int index);
HIP_EXPORT hipError_t hipGetDeviceProperties(hipDeviceProp_tR0600 *out, int index);
HIP_EXPORT hipError_t hipDeviceGetAttribute(int *out, int attribute, int index);
HIP_EXPORT hipError_t hipDeviceGetName(char *name, int length, int index);
HIP_EXPORT hipError_t hipDeviceGetUuid(hipUUID *uuid, int index);
HIP_EXPORT hipError_t hipDeviceGetPCIBusId(char *text, int length, int index);
HIP_EXPORT hipError_t hipDeviceSynchronize();
HIP_EXPORT hipError_t hipRuntimeGetVersion(int *version);
HIP_EXPORT hipError_t hipDriverGetVersion(int *version);

// errors: errors.cpp
HIP_EXPORT const char *hipGetErrorName(hipError_t error);
HIP_EXPORT const char *hipGetErrorString(hipError_t error);
HIP_EXPORT hipError_t hipDrvGetErrorName(hipError_t error, const char **out);
HIP_EXPORT hipError_t hipDrvGetErrorString(hipError_t error, const char **out);
HIP_EXPORT hipError_t hipGetLastError();
HIP_EXPORT hipError_t hipPeekAtLastError();

// memory: api_memory.cpp
HIP_EXPORT hipError_t hipMalloc(void **out, size_t size);
HIP_EXPORT hipError_t hipMallocAsync(void **out, size_t size, hipStreamHandle stream);
HIP_EXPORT hipError_t hipFree(void *pointer);
HIP_EXPORT hipError_t hipFreeAsync(void *pointer, hipStreamHandle stream);
HIP_EXPORT hipError_t hipHostMalloc(void **out, size_t size, unsigned flags);
HIP_EXPORT hipError_t hipHostFree(void *pointer);
HIP_EXPORT hipError_t hipHostRegister(void *pointer, size_t size, unsigned flags);
HIP_EXPORT hipError_t hipHostUnregister(void *pointer);
HIP_EXPORT hipError_t hipHostGetDevicePointer(void **out, void *host, unsigned flags);
HIP_EXPORT hipError_t hipMemGetInfo(size_t *free, size_t *total);
HIP_EXPORT hipError_t hipPointerGetAttributes(hipPointerAttribute_t *out, const void *pointer);

// copies and fills: api_copy.cpp
HIP_EXPORT hipError_t hipMemcpy(void *dst, const void *src, size_t size, hipMemcpyKind kind);
HIP_EXPORT hipError_t hipMemcpyWithStream(void *dst, const void *src, size_t size, hipMemcpyKind kind,
                                          hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemcpyAsync(void *dst, const void *src, size_t size, hipMemcpyKind kind,
                                     hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemcpyHtoD(void *dst, const void *src, size_t size);
HIP_EXPORT hipError_t hipMemcpyDtoH(void *dst, void *src, size_t size);
HIP_EXPORT hipError_t hipMemcpyDtoD(void *dst, void *src, size_t size);
HIP_EXPORT hipError_t hipMemcpyHtoDAsync(void *dst, const void *src, size_t size, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemcpyDtoHAsync(void *dst, void *src, size_t size, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemcpyDtoDAsync(void *dst, void *src, size_t size, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemcpy2D(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width,
                                  size_t height, hipMemcpyKind kind);
HIP_EXPORT hipError_t hipMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch, size_t width,
                                       size_t height, hipMemcpyKind kind, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemcpyParam2D(const hip_Memcpy2D *param);
HIP_EXPORT hipError_t hipMemcpyParam2DAsync(const hip_Memcpy2D *param, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemset(void *dst, int value, size_t size);
HIP_EXPORT hipError_t hipMemsetAsync(void *dst, int value, size_t size, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemsetD8(void *dst, unsigned char value, size_t count);
HIP_EXPORT hipError_t hipMemsetD8Async(void *dst, unsigned char value, size_t count, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemsetD16(void *dst, unsigned short value, size_t count);
HIP_EXPORT hipError_t hipMemsetD16Async(void *dst, unsigned short value, size_t count,
                                        hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemsetD32(void *dst, int value, size_t count);
HIP_EXPORT hipError_t hipMemsetD32Async(void *dst, int value, size_t count, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemset2D(void *dst, size_t pitch, int value, size_t width, size_t height);
HIP_EXPORT hipError_t hipMemset2DAsync(void *dst, size_t pitch, int value, size_t width, size_t height,
                                       hipStreamHandle stream);

// images in imported memory: api_array.cpp, and their copies: api_copy_array.cpp
HIP_EXPORT hipError_t hipExternalMemoryGetMappedMipmappedArray(
    hipMipmappedArray_t *out, hipExternalMemory_t handle, const hipExternalMemoryMipmappedArrayDesc *desc);
HIP_EXPORT hipError_t hipGetMipmappedArrayLevel(hipArray_t *out, hipMipmappedArray_t handle, unsigned level);
HIP_EXPORT hipError_t hipMipmappedArrayGetLevel(hipArray_t *out, hipMipmappedArray_t handle, unsigned level);
HIP_EXPORT hipError_t hipFreeMipmappedArray(hipMipmappedArray_t handle);
HIP_EXPORT hipError_t hipMipmappedArrayDestroy(hipMipmappedArray_t handle);
HIP_EXPORT hipError_t hipArrayGetInfo(hipChannelFormatDesc *format, hipExtent *extent, unsigned *flags,
                                      hipArray_t array);
HIP_EXPORT hipError_t hipCreateSurfaceObject(hipSurfaceObject_t *out, const hipResourceDesc *desc);
HIP_EXPORT hipError_t hipDestroySurfaceObject(hipSurfaceObject_t surface);
HIP_EXPORT hipError_t hipMemcpy3D(const hipMemcpy3DParms *parameters);
HIP_EXPORT hipError_t hipMemcpy3DAsync(const hipMemcpy3DParms *parameters, hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemcpy2DToArray(hipArray_t dst, size_t x, size_t y, const void *src, size_t pitch,
                                         size_t width, size_t height, hipMemcpyKind kind);
HIP_EXPORT hipError_t hipMemcpy2DToArrayAsync(hipArray_t dst, size_t x, size_t y, const void *src,
                                              size_t pitch, size_t width, size_t height, hipMemcpyKind kind,
                                              hipStreamHandle stream);
HIP_EXPORT hipError_t hipMemcpy2DFromArray(void *dst, size_t pitch, hipArray_t src, size_t x, size_t y,
                                           size_t width, size_t height, hipMemcpyKind kind);
HIP_EXPORT hipError_t hipMemcpy2DFromArrayAsync(void *dst, size_t pitch, hipArray_t src, size_t x, size_t y,
                                                size_t width, size_t height, hipMemcpyKind kind,
                                                hipStreamHandle stream);

// streams: api_stream.cpp
HIP_EXPORT hipError_t hipStreamCreate(hipStreamHandle *out);
HIP_EXPORT hipError_t hipStreamCreateWithFlags(hipStreamHandle *out, unsigned flags);
HIP_EXPORT hipError_t hipStreamCreateWithPriority(hipStreamHandle *out, unsigned flags, int priority);
HIP_EXPORT hipError_t hipDeviceGetStreamPriorityRange(int *least, int *greatest);
HIP_EXPORT hipError_t hipStreamDestroy(hipStreamHandle stream);
HIP_EXPORT hipError_t hipStreamSynchronize(hipStreamHandle stream);
HIP_EXPORT hipError_t hipStreamQuery(hipStreamHandle stream);
HIP_EXPORT hipError_t hipStreamWaitEvent(hipStreamHandle stream, hipEventHandle event, unsigned flags);
HIP_EXPORT hipError_t hipStreamGetFlags(hipStreamHandle stream, unsigned *flags);
HIP_EXPORT hipError_t hipStreamGetPriority(hipStreamHandle stream, int *priority);
HIP_EXPORT hipError_t hipStreamGetDevice(hipStreamHandle stream, int *device);
HIP_EXPORT hipError_t hipLaunchHostFunc(hipStreamHandle stream, hipHostFn_t function, void *data);
HIP_EXPORT hipError_t hipStreamAddCallback(hipStreamHandle stream, hipStreamCallback_t function, void *data,
                                           unsigned flags);
HIP_EXPORT hipError_t hipStreamWaitValue32(hipStreamHandle stream, void *pointer, uint32_t value,
                                           unsigned flags, uint32_t mask);
HIP_EXPORT hipError_t hipStreamWaitValue64(hipStreamHandle stream, void *pointer, uint64_t value,
                                           unsigned flags, uint64_t mask);
HIP_EXPORT hipError_t hipStreamWriteValue32(hipStreamHandle stream, void *pointer, uint32_t value, unsigned);
HIP_EXPORT hipError_t hipStreamWriteValue64(hipStreamHandle stream, void *pointer, uint64_t value, unsigned);

// events: api_event.cpp
HIP_EXPORT hipError_t hipEventCreate(hipEventHandle *out);
HIP_EXPORT hipError_t hipEventCreateWithFlags(hipEventHandle *out, unsigned flags);
HIP_EXPORT hipError_t hipEventRecord(hipEventHandle event, hipStreamHandle stream);
HIP_EXPORT hipError_t hipEventQuery(hipEventHandle event);
HIP_EXPORT hipError_t hipEventSynchronize(hipEventHandle event);
HIP_EXPORT hipError_t hipEventElapsedTime(float *milliseconds, hipEventHandle start, hipEventHandle stop);
HIP_EXPORT hipError_t hipEventDestroy(hipEventHandle event);

// modules: api_module.cpp
HIP_EXPORT hipError_t hipModuleLoadData(hipModuleHandle *out, const void *image);
HIP_EXPORT hipError_t hipModuleLoadDataEx(hipModuleHandle *out, const void *image, unsigned, int *, void **);
HIP_EXPORT hipError_t hipModuleLoad(hipModuleHandle *out, const char *path);
HIP_EXPORT hipError_t hipModuleUnload(hipModuleHandle module);
HIP_EXPORT hipError_t hipModuleGetFunction(hipFunctionHandle *out, hipModuleHandle module, const char *name);
HIP_EXPORT hipError_t hipModuleGetGlobal(void **address, size_t *size, hipModuleHandle module,
                                         const char *name);
HIP_EXPORT hipError_t hipModuleLaunchKernel(hipFunctionHandle function, unsigned grid_x, unsigned grid_y,
                                            unsigned grid_z, unsigned block_x, unsigned block_y,
                                            unsigned block_z, unsigned shared, hipStreamHandle stream,
                                            void **parameters, void **extra);

// external memory and semaphores: api_external.cpp
HIP_EXPORT hipError_t hipImportExternalMemory(hipExternalMemory_t *out,
                                              const hipExternalMemoryHandleDesc *desc);
HIP_EXPORT hipError_t hipExternalMemoryGetMappedBuffer(void **out, hipExternalMemory_t handle,
                                                       const hipExternalMemoryBufferDesc *desc);
HIP_EXPORT hipError_t hipDestroyExternalMemory(hipExternalMemory_t handle);
HIP_EXPORT hipError_t hipImportExternalSemaphore(hipExternalSemaphore_t *out,
                                                 const hipExternalSemaphoreHandleDesc *desc);
HIP_EXPORT hipError_t hipSignalExternalSemaphoresAsync(const hipExternalSemaphore_t *semaphores,
                                                       const hipExternalSemaphoreParams *params,
                                                       unsigned count, hipStreamHandle stream);
HIP_EXPORT hipError_t hipWaitExternalSemaphoresAsync(const hipExternalSemaphore_t *semaphores,
                                                     const hipExternalSemaphoreParams *params, unsigned count,
                                                     hipStreamHandle stream);
HIP_EXPORT hipError_t hipDestroyExternalSemaphore(hipExternalSemaphore_t handle);

// hiprtc: rtc/api.cpp
using hiprtcProgram = struct _hiprtcProgram *;
HIP_EXPORT hiprtcResult hiprtcVersion(int *major, int *minor);
HIP_EXPORT const char *hiprtcGetErrorString(hiprtcResult result);
HIP_EXPORT hiprtcResult hiprtcCreateProgram(hiprtcProgram *out, const char *source, const char *name,
                                            int header_count, const char *const *headers,
                                            const char *const *include_names);
HIP_EXPORT hiprtcResult hiprtcDestroyProgram(hiprtcProgram *handle);
HIP_EXPORT hiprtcResult hiprtcAddNameExpression(hiprtcProgram handle, const char *expression);
HIP_EXPORT hiprtcResult hiprtcCompileProgram(hiprtcProgram handle, int count, const char *const *options);
HIP_EXPORT hiprtcResult hiprtcGetLoweredName(hiprtcProgram handle, const char *expression, const char **out);
HIP_EXPORT hiprtcResult hiprtcGetProgramLogSize(hiprtcProgram handle, size_t *size);
HIP_EXPORT hiprtcResult hiprtcGetProgramLog(hiprtcProgram handle, char *log);
HIP_EXPORT hiprtcResult hiprtcGetCodeSize(hiprtcProgram handle, size_t *size);
HIP_EXPORT hiprtcResult hiprtcGetCode(hiprtcProgram handle, char *code);

} // extern "C"
#endif
