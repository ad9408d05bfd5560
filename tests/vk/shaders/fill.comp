#version 460
/* words[i] = i * factor + constant */
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint constant = 7;
layout(set = 0, binding = 0) buffer Words { uint words[]; };
layout(push_constant) uniform Push { uint factor, count, offset, unused; };
void main()
{
	uint i = gl_GlobalInvocationID.x;
	if (i < count)
		words[i + offset] = i * factor + constant;
}
