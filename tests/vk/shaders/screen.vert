#version 460
/* One triangle over all of the target. */
layout(location = 0) out vec2 at;
void main()
{
	at = vec2(gl_VertexIndex << 1 & 2, gl_VertexIndex & 2);
	gl_Position = vec4(at * 2.0 - 1.0, 0.5, 1.0);
}
