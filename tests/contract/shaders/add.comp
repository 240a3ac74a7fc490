#version 450
// target[i] = source[i] + term, for the first `count` words.

layout(local_size_x = 64) in;
layout(std430, set = 0, binding = 0) readonly buffer Source { uint source[]; };
layout(std430, set = 0, binding = 1) writeonly buffer Target { uint target[]; };
layout(push_constant) uniform Arguments { uint count; uint term; };

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < count) target[i] = source[i] + term;
}
