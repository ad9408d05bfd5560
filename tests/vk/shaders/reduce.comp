#version 460
#extension GL_KHR_shader_subgroup_arithmetic : require
/* Sums, maxima and a hash by shared memory, subgroups and atomics. */
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) readonly buffer In { uint words[]; };
layout(set = 0, binding = 1) buffer Out { uint sums[64]; };
layout(push_constant) uniform Push { uint unused, count; };
shared uint part[64];
void main()
{
	uint local = gl_LocalInvocationID.x, i = gl_GlobalInvocationID.x;
	uint word = i < count ? words[i] : 0;
	part[local] = word;
	barrier();
	for (uint step = 32; step > 0; step >>= 1) {
		if (local < step)
			part[local] += part[local + step];
		barrier();
	}
	uint sum = subgroupAdd(word & 0xffff);
	if (subgroupElect())
		atomicAdd(sums[1], sum);
	if (local == 0) {
		atomicAdd(sums[0], part[0]);
		atomicXor(sums[2 + (gl_WorkGroupID.x & 31)], part[0]);
	}
	atomicMax(sums[40], word);
	atomicMin(sums[41], word);
}
