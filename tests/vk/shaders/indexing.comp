#version 460
#extension GL_EXT_nonuniform_qualifier : require
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer Out { uint words[]; };
layout(set = 0, binding = 1) readonly buffer In { uint words[]; } inputs[];
layout(push_constant) uniform Push { uint inputs_count, count; };
void main()
{
	uint i = gl_GlobalInvocationID.x;
	uint which = (i * 7919u) % (inputs_count / 2) * 2; /* the even ones */
	words[i] = inputs[nonuniformEXT(which)].words[i % 64] + i;
}
