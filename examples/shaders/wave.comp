#version 450
// heights[y][x] of a standing wave on a square grid, one invocation per height.

layout(local_size_x = 16, local_size_y = 16) in;
layout(std430, set = 0, binding = 0) writeonly buffer Heights { float heights[]; };
layout(push_constant) uniform Arguments { uint size; };

void main() {
    uvec2 point = gl_GlobalInvocationID.xy;
    if (any(greaterThanEqual(point, uvec2(size)))) return;
    vec2 place = 2.0 * vec2(point) / float(size) - 1.0;
    heights[point.y * size + point.x] = sin(10.0 * place.x) * cos(10.0 * place.y);
}
