// What a compiled kernel file and the CPU layer know of each other. This text is also compiled into every
// kernel file, in front of the prelude, so it includes nothing and uses built-in types only.
#ifndef SOFTGPU_KERNEL_ABI_H
#define SOFTGPU_KERNEL_ABI_H

#define SOFTGPU_KERNEL_ABI 1u
#define SOFTGPU_SHARED_BYTES 65536u // dynamic shared memory of a block
#define SOFTGPU_MAX_BLOCK 1024u

struct softgpu_dim {
    unsigned x, y, z;
};

// One block in execution. run() starts threads until none is left; a thread that meets a barrier parks its
// stack and another stack goes on with the same block.
struct softgpu_block {
    softgpu_dim next; // the thread to start next
    unsigned left;    // threads not yet started
    softgpu_dim index, block, grid;
    void (*barrier)(softgpu_block *);
};

struct softgpu_kernel {
    const char *name; // null ends the table
    const void *function;
    void (*run)(softgpu_block *, const char *packed);
    unsigned count; // arguments
    const unsigned *sizes;
    const unsigned *offsets; // in the packed form, natural alignment
};

struct softgpu_kernel_file {
    unsigned abi;
    const softgpu_kernel *kernels;
};

// Each kernel file exports: extern "C" const softgpu_kernel_file softgpu_file;

#endif
