#version 460
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 tint;
layout(location = 0) out vec3 color;
layout(push_constant) uniform Push { vec2 offset; float scale, depth; };
void main()
{
	color = tint / (1.0 + float(gl_InstanceIndex));
	gl_Position = vec4(position.xy * scale + offset, position.z + depth, 1.0);
	gl_PointSize = 1.0;
}
