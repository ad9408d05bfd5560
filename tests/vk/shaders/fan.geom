#version 460
layout(triangles) in;
layout(triangle_strip, max_vertices = 6) out;
layout(location = 0) in vec3 tint[];
layout(location = 0) out vec3 color;
void main()
{
	for (int copy = 0; copy < 2; copy++) {
		for (int i = 0; i < 3; i++) {
			color = copy == 0 ? tint[i] : tint[2 - i];
			gl_Position = gl_in[i].gl_Position * vec4(copy == 0 ? 0.5 : -0.5, 0.5, 1.0, 1.0);
			EmitVertex();
		}
		EndPrimitive();
	}
}
