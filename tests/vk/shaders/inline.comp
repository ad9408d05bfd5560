#version 460
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer Out { uint words[]; };
layout(set = 0, binding = 1) uniform Inline { uvec4 part[4]; } inlined;
layout(set = 0, binding = 2) uniform Dynamic { uvec4 part[4]; } uniforms;
void main()
{
	uint i = gl_LocalInvocationID.x;
	words[i] = inlined.part[i / 4 % 4][i % 4] ^ (uniforms.part[(i + 5) / 4 % 4][(i + 5) % 4] * i);
}
