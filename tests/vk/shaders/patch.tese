#version 460
layout(triangles, equal_spacing, ccw) in;
layout(location = 0) in vec3 tints[];
layout(location = 0) out vec3 color;
void main()
{
	vec3 at = gl_TessCoord;
	color = tints[0] * at.x + tints[1] * at.y + tints[2] * at.z;
	gl_Position = gl_in[0].gl_Position * at.x + gl_in[1].gl_Position * at.y + gl_in[2].gl_Position * at.z;
	gl_Position.xy *= 0.6 + 0.4 * at.x;
}
