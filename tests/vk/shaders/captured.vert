#version 460
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 tint;
layout(location = 0) out vec3 color;
layout(location = 1, xfb_buffer = 0, xfb_stride = 16, xfb_offset = 0) out vec4 captured;
void main()
{
	color = tint;
	captured = vec4(position * 2.0, float(gl_VertexIndex));
	gl_Position = vec4(position, 1.0);
}
