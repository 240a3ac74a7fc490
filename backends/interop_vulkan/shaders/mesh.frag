#version 450
// Colour by height, from -1 (violet) over 0 (teal) to 1 (yellow), and light by slope.

layout(location = 0) in vec3 normal;
layout(location = 1) in float level;
layout(location = 0) out vec4 colour;

// Evenly spaced in lightness, so that the order of heights survives in grey and for colour-blind eyes.
const int STOPS = 6;
const vec3 stops[STOPS] = vec3[](
    vec3(0.27, 0.00, 0.33), vec3(0.25, 0.27, 0.53), vec3(0.16, 0.47, 0.56),
    vec3(0.13, 0.66, 0.52), vec3(0.48, 0.82, 0.32), vec3(0.99, 0.91, 0.14));

void main() {
    float place = clamp(0.5 + 0.5 * level, 0.0, 1.0) * float(STOPS - 1);
    int below = min(int(place), STOPS - 2);
    vec3 pigment = mix(stops[below], stops[below + 1], place - float(below));
    float light = 0.35 + 0.65 * max(dot(normalize(normal), normalize(vec3(-0.5, 0.8, 0.3))), 0.0);
    colour = vec4(pigment * light, 1.0);
}
