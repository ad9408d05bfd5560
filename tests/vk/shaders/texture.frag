#version 460
layout(set = 0, binding = 0) uniform sampler2D source;
layout(location = 0) in vec2 at;
layout(location = 0) out vec4 result;
layout(push_constant) uniform Push { vec2 offset; float scale, stretch; };
void main()
{
	vec2 where = vec2(at.x * stretch, at.y * at.y * 4.0) - 0.5;
	result = texture(source, where);
}
