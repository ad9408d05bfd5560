#version 450
// SPDX-License-Identifier: MIT
// The constant differs between pipelines, so that no cache of shaders can serve two of them.
layout(constant_id = 0) const float dim = 1.0;
layout(location = 0) in vec4 color;
layout(location = 0) out vec4 result;

void main()
{
	result = vec4(color.rgb * dim, color.a);
}
