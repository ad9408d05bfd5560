#version 450
// SPDX-License-Identifier: MIT
// Integer arithmetic without memory, as long as it was told.
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint rounds; };
layout(set = 0, binding = 0) buffer Results { uint results[]; };

void main()
{
	uint state = gl_GlobalInvocationID.x + 1u;
	for (uint i = 0u; i < rounds; i++)
		state = state * 1664525u + 1013904223u ^ state >> 13;
	results[gl_GlobalInvocationID.x] = state;
}
