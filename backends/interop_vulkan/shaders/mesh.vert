#version 450
// One vertex of a grid of heights. Each instance is a strip between two rows; vertices alternate between them.

layout(std430, set = 0, binding = 0) readonly buffer Heights { float heights[]; };

layout(push_constant) uniform View {
    mat4 camera;   // world to clip space
    ivec2 grid;    // columns, rows
    vec2 extent;   // half the width and depth of the grid in the world
    float relief;  // world units per unit of height
};

layout(location = 0) out vec3 normal;
layout(location = 1) out float level;

float height_at(ivec2 point) {
    ivec2 inside = clamp(point, ivec2(0), grid - 1);
    return heights[inside.y * grid.x + inside.x];
}

void main() {
    ivec2 point = ivec2(gl_VertexIndex >> 1, gl_InstanceIndex + (gl_VertexIndex & 1));
    vec2 spacing = 2.0 * extent / vec2(grid - 1);
    vec2 rise = vec2(
        height_at(point + ivec2(1, 0)) - height_at(point - ivec2(1, 0)),
        height_at(point + ivec2(0, 1)) - height_at(point - ivec2(0, 1)));
    vec2 slope = relief * rise / (2.0 * spacing);
    normal = normalize(vec3(-slope.x, 1.0, -slope.y));
    level = height_at(point);
    vec2 ground = vec2(point) * spacing - extent;
    gl_Position = camera * vec4(ground.x, relief * level, ground.y, 1.0);
}
