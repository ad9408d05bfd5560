#version 460
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
layout(local_size_x = 64) in;
layout(buffer_reference, buffer_reference_align = 16) buffer Node;
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Node { Node next; uint64_t value; };
layout(set = 0, binding = 0) buffer Out { uint64_t sums[]; };
layout(push_constant) uniform Push { Node first; };
void main()
{
	Node node = first;
	uint64_t sum = 0;
	for (uint i = 0; i < 100 + gl_LocalInvocationID.x; i++) {
		sum = sum * 3 + node.value;
		node = node.next;
	}
	sums[gl_LocalInvocationID.x] = sum;
}
