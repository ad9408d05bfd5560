#version 460
#extension GL_EXT_buffer_reference : require
layout(local_size_x = 64) in;
layout(buffer_reference, buffer_reference_align = 4) buffer Words { uint words[]; };
layout(set = 0, binding = 0) buffer Out { uint sums[]; };
layout(push_constant) uniform Push { Words nowhere; };
void main()
{
	nowhere.words[gl_GlobalInvocationID.x] = 1;
	sums[gl_GlobalInvocationID.x] = nowhere.words[gl_GlobalInvocationID.x + 1];
}
