#version 460
/* One step of a hash over each word. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer Words { uint words[]; };
layout(push_constant) uniform Push { uint round, count, offset, unused; };
void main()
{
	uint i = gl_GlobalInvocationID.x;
	if (i < count)
		words[i] = words[i] * 1664525u + 1013904223u + round;
}
