#version 460
#extension GL_EXT_ray_query : require
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer Out { float distances[]; };
layout(set = 0, binding = 1) uniform accelerationStructureEXT scene;
void main()
{
	uint i = gl_GlobalInvocationID.x;
	vec3 from = vec3(float(i % 64) / 32.0 - 1.0, float(i / 64) / 32.0 - 1.0, -1.0);
	rayQueryEXT query;
	rayQueryInitializeEXT(query, scene, gl_RayFlagsNoneEXT, 0xff, from, 0.0, vec3(0.0, 0.0, 1.0), 100.0);
	while (rayQueryProceedEXT(query)) {
	}
	if (rayQueryGetIntersectionTypeEXT(query, true) == gl_RayQueryCommittedIntersectionTriangleEXT)
		distances[i] = rayQueryGetIntersectionTEXT(query, true);
	else
		distances[i] = -1.0;
}
