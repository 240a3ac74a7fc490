"""The portable kernels that the cases run."""

from __future__ import annotations

ADD = """
KERNEL void add(GLOBAL_MEM unsigned int *data, unsigned int amount, unsigned int count)
{
    size_t i = GLOBAL_ID(0);
    if (i < count) data[i] += amount;
}
"""

ADD_TENFOLD = ADD.replace("+= amount", "+= 10 * amount")

SAXPY = """
DEVICE_FUNCTION float multiply_add(float a, float x, float y) { return a * x + y; }

KERNEL void saxpy(GLOBAL_MEM float *y, CONSTANT_MEM float *x, float a, int n)
{
    int i = GLOBAL_ID(0);
    if (i < n) y[i] = multiply_add(a, x[i], y[i]);
}
"""

IDS = """
/* KERNEL void not_a_kernel(int x) { } */
KERNEL void ids(GLOBAL_MEM unsigned int *out, unsigned int width, unsigned int height, unsigned int depth)
{
    unsigned int x = GLOBAL_ID(0), y = GLOBAL_ID(1), z = GLOBAL_ID(2);
    if (x >= width || y >= height || z >= depth) return;
    unsigned int at = ((z * height + y) * width + x) * 4;
    out[at] = x + 1000 * y + 1000000 * z;
    out[at + 1] = GROUP_ID(0) * LOCAL_SIZE(0) + LOCAL_ID(0) == x
        && GROUP_ID(1) * LOCAL_SIZE(1) + LOCAL_ID(1) == y
        && GROUP_ID(2) * LOCAL_SIZE(2) + LOCAL_ID(2) == z;
    out[at + 2] = LOCAL_ID(0) < LOCAL_SIZE(0) && GROUP_ID(0) < NUM_GROUPS(0)
        && NUM_GROUPS(0) * LOCAL_SIZE(0) >= GLOBAL_SIZE(0);
    out[at + 3] = GLOBAL_SIZE(0) >= width && GLOBAL_SIZE(1) >= height && GLOBAL_SIZE(2) >= depth;
}
"""

SCALARS = """
KERNEL void scalars(
    GLOBAL_MEM long *out, char a, uchar b, short c, long d, ushort e, int f, ulong g, unsigned int h, float i)
{
    if (GLOBAL_ID(0) != 0) return;
    out[0] = a; out[1] = b; out[2] = c; out[3] = d; out[4] = e; out[5] = f; out[6] = (long)g; out[7] = h;
    out[8] = (long)(i * 4);
}
"""

MATHS = """
KERNEL void maths(GLOBAL_MEM float *out, CONSTANT_MEM float *x, int n)
{
    int i = GLOBAL_ID(0);
    if (i >= n) return;
    out[i] = sin(x[i]);
    out[n + i] = sqrt(fabs(x[i]));
    out[2 * n + i] = exp(-x[i] * x[i]) + floor(x[i]);
}
"""

REVERSE = """
KERNEL void reverse(GLOBAL_MEM int *data)
{
    LOCAL_MEM int tile[16];
    tile[LOCAL_ID(0)] = data[GLOBAL_ID(0)];
    LOCAL_BARRIER;
    data[GLOBAL_ID(0)] = tile[LOCAL_SIZE(0) - 1 - LOCAL_ID(0)];
}
"""

SPIN = """
KERNEL void spin(GLOBAL_MEM unsigned int *data, unsigned int rounds)
{
    unsigned int value = data[0];
    for (unsigned int i = 0; i < rounds; i++) value = value * 1664525u + 1013904223u;
    data[0] = value;
}
"""

EVERY = (ADD, ADD_TENFOLD, SAXPY, IDS, SCALARS, MATHS, REVERSE, SPIN)
