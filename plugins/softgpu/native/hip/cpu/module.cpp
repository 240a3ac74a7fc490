#include "module.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

namespace softgpu::cpu
{

namespace
{

// hipModuleLoadData gets no size; the file's own headers say where its last byte is.
hipError_t file_size(const char *bytes, size_t *size)
{
    Elf64_Ehdr header;
    if (std::memcmp(bytes, ELFMAG, SELFMAG) != 0)
        return hipErrorInvalidImage;
    std::memcpy(&header, bytes, sizeof header);
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
        return hipErrorNoBinaryForGpu; // a code object for a real GPU
    if (header.e_shentsize != sizeof(Elf64_Shdr) && header.e_shnum != 0)
        return hipErrorInvalidImage;
    size_t end = std::max(header.e_shoff + size_t{header.e_shnum} * header.e_shentsize,
                          header.e_phoff + size_t{header.e_phnum} * header.e_phentsize);
    for (unsigned i = 0; i < header.e_shnum; ++i) {
        Elf64_Shdr section;
        std::memcpy(&section, bytes + header.e_shoff + i * sizeof section, sizeof section);
        if (section.sh_type != SHT_NOBITS)
            end = std::max<size_t>(end, section.sh_offset + section.sh_size);
    }
    *size = end;
    return hipSuccess;
}

bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t written = write(fd, bytes, size);
        if (written <= 0)
            return false;
        bytes += written;
        size -= static_cast<size_t>(written);
    }
    return true;
}

} // namespace

hipError_t Image::open(const void *bytes, size_t size)
{
    fd_ = memfd_create("softgpu.kernel", MFD_CLOEXEC);
    if (fd_ < 0 || !write_all(fd_, static_cast<const char *>(bytes), size))
        return hipErrorOutOfMemory;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd_);
    library_ = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) {
        fprintf(stderr, "softgpu hip: hipModuleLoadData: %s\n", dlerror());
        return hipErrorSharedObjectInitFailed;
    }
    file_ = static_cast<const softgpu_kernel_file *>(dlsym(library_, "softgpu_file"));
    return file_ != nullptr && file_->abi == SOFTGPU_KERNEL_ABI ? hipSuccess : hipErrorNoBinaryForGpu;
}

hipError_t Image::load(const void *bytes, std::shared_ptr<Image> *out)
{
    size_t size = 0;
    const hipError_t unreadable = file_size(static_cast<const char *>(bytes), &size);
    if (unreadable != hipSuccess)
        return unreadable;
    std::shared_ptr<Image> image(new Image);
    const hipError_t error = image->open(bytes, size);
    if (error == hipSuccess)
        *out = std::move(image);
    return error;
}

// glibc knows a library by the name it was opened with. A number that is free again would name the next one
// too, so the fd stays open for as long as the library does: for ever, should something pin it.
Image::~Image()
{
    bool loaded = false;
    if (library_ != nullptr) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd_);
        dlclose(library_);
        if (void *still = dlopen(path, RTLD_NOW | RTLD_NOLOAD)) {
            dlclose(still);
            loaded = true;
        }
    }
    if (fd_ >= 0 && !loaded)
        close(fd_);
}

// By the name that a lowered name expression got, else by symbol, as on a GPU: so a kernel that is not extern
// "C" answers to its mangled name only.
const softgpu_kernel *Image::kernel(const char *name) const
{
    const void *symbol = dlsym(library_, name);
    for (const softgpu_kernel *kernel = file_->kernels; kernel->name != nullptr; ++kernel)
        if ((symbol != nullptr && kernel->function == symbol) ||
            (kernel->name[0] == '$' && std::strcmp(kernel->name, name) == 0))
            return kernel;
    return nullptr;
}

hipError_t Image::global(const char *name, void **address, size_t *size) const
{
    void *symbol = dlsym(library_, name);
    Dl_info info;
    ElfW(Sym) *entry = nullptr;
    if (symbol == nullptr || dladdr1(symbol, &info, reinterpret_cast<void **>(&entry), RTLD_DL_SYMENT) == 0 ||
        entry == nullptr || ELF64_ST_TYPE(entry->st_info) != STT_OBJECT)
        return hipErrorNotFound;
    *address = symbol;
    *size = entry->st_size;
    return hipSuccess;
}

bool CpuFunction::pack(const Arguments &arguments, std::vector<char> *out) const
{
    const unsigned count = kernel_.count;
    const size_t size = count == 0 ? 0 : kernel_.offsets[count - 1] + kernel_.sizes[count - 1];
    if (arguments.packed != nullptr) {
        if (arguments.packed_size < size)
            return false;
        const auto *first = static_cast<const char *>(arguments.packed);
        out->assign(first, first + size);
        return true;
    }
    if (count > 0 && arguments.addresses == nullptr)
        return false;
    out->resize(size);
    for (unsigned i = 0; i < count; ++i) {
        if (arguments.addresses[i] == nullptr)
            return false;
        std::memcpy(out->data() + kernel_.offsets[i], arguments.addresses[i], kernel_.sizes[i]);
    }
    return true;
}

hipError_t CpuModule::function(const char *name, std::shared_ptr<Function> *out)
{
    const softgpu_kernel *kernel = image_->kernel(name);
    if (kernel == nullptr)
        return hipErrorNotFound;
    *out = std::make_shared<CpuFunction>(image_, *kernel);
    return hipSuccess;
}

hipError_t CpuModule::global(const char *name, void **address, size_t *size)
{
    return image_->global(name, address, size);
}

} // namespace softgpu::cpu
