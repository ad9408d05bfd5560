#version 460
layout(vertices = 3) out;
layout(location = 0) in vec3 tint[];
layout(location = 0) out vec3 tints[];
void main()
{
	tints[gl_InvocationID] = tint[gl_InvocationID];
	gl_out[gl_InvocationID].gl_Position = gl_in[gl_InvocationID].gl_Position;
	gl_TessLevelOuter[gl_InvocationID] = 3.0;
	gl_TessLevelInner[0] = 4.0;
}
