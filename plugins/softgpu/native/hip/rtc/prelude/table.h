// Describes kernels to the runtime; the compiler appends a table made of softgpu_entry<>::named().
template <unsigned... I> struct softgpu_indices {};
template <unsigned N, unsigned... I> struct softgpu_count_to : softgpu_count_to<N - 1, N - 1, I...> {};
template <unsigned... I> struct softgpu_count_to<0, I...> {
    typedef softgpu_indices<I...> type;
};

template <class... A> struct softgpu_layout {
    struct table {
        unsigned offset[sizeof...(A) + 1];
    };
    static constexpr unsigned size[sizeof...(A) + 1] = {sizeof(A)..., 0};
    static constexpr table place()
    {
        const unsigned align[sizeof...(A) + 1] = {alignof(A)..., 1};
        table t = {};
        unsigned end = 0;
        for (unsigned i = 0; i < sizeof...(A); ++i) {
            t.offset[i] = (end + align[i] - 1) / align[i] * align[i];
            end = t.offset[i] + size[i];
        }
        return t;
    }
    static constexpr table places = place();
};

template <auto kernel> struct softgpu_entry;
template <class... A, void (*kernel)(A...)> struct softgpu_entry<kernel> {
    typedef softgpu_layout<A...> layout;

    static void threads(softgpu_block *block, A... arguments)
    {
        softgpu_current = block;
        blockIdx = {block->index.x, block->index.y, block->index.z};
        blockDim = {block->block.x, block->block.y, block->block.z};
        gridDim = {block->grid.x, block->grid.y, block->grid.z};
        while (block->left != 0) {
            softgpu_dim &next = block->next;
            threadIdx = {next.x, next.y, next.z};
            --block->left;
            if (++next.x == block->block.x) {
                next.x = 0;
                if (++next.y == block->block.y) {
                    next.y = 0;
                    ++next.z;
                }
            }
            kernel(arguments...);
        }
    }
    template <unsigned... I>
    static void unpack(softgpu_block *block, const char *packed, softgpu_indices<I...>)
    {
        (void)packed;
        threads(block, *reinterpret_cast<const A *>(packed + layout::places.offset[I])...);
    }
    static void run(softgpu_block *block, const char *packed)
    {
        unpack(block, packed, typename softgpu_count_to<sizeof...(A)>::type());
    }
    static softgpu_kernel named(const char *name)
    {
        return {name,         reinterpret_cast<const void *>(kernel),
                run,          sizeof...(A),
                layout::size, layout::places.offset};
    }
};
