#version 450
// SPDX-License-Identifier: MIT
// A right triangle without vertex buffers: small for a draw, larger than the screen for a layer of fill.
layout(push_constant) uniform Push { vec2 offset; float size; };
layout(set = 0, binding = 0) uniform Tint { vec4 tint; };
layout(location = 0) out vec4 color;

void main()
{
	vec2 corner = vec2(gl_VertexIndex & 1, gl_VertexIndex >> 1);
	gl_Position = vec4(offset + corner * size, 0.0, 1.0);
	color = tint;
}
