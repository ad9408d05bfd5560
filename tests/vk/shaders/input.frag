#version 460
layout(input_attachment_index = 0, set = 0, binding = 0) uniform subpassInput before;
layout(location = 0) in vec2 at;
layout(location = 0) out vec4 result;
void main()
{
	vec4 color = subpassLoad(before);
	result = vec4(1.0 - color.rgb, 1.0) * (0.5 + 0.5 * at.x);
}
