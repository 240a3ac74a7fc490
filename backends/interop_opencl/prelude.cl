// The portable vocabulary as OpenCL C. For every source.
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#ifdef cl_khr_fp16
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
#define KERNEL __kernel
#define DEVICE_FUNCTION static
#define GLOBAL_MEM __global
#define CONSTANT_MEM __constant
#define LOCAL_MEM __local
#define LOCAL_BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define GLOBAL_ID(d) ((uint)get_global_id(d))
#define LOCAL_ID(d) ((uint)get_local_id(d))
#define GROUP_ID(d) ((uint)get_group_id(d))
#define GLOBAL_SIZE(d) ((uint)get_global_size(d))
#define LOCAL_SIZE(d) ((uint)get_local_size(d))
#define NUM_GROUPS(d) ((uint)get_num_groups(d))
