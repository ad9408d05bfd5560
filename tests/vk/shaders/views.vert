#version 460
#extension GL_EXT_multiview : require
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 tint;
layout(location = 0) out vec3 color;
layout(push_constant) uniform Push { vec2 offset; float scale, depth; };
void main()
{
	color = tint.zxy * (1.0 - 0.3 * float(gl_ViewIndex));
	gl_Position = vec4(position.xy * scale + offset + 0.2 * float(gl_ViewIndex), position.z + depth, 1.0);
}
