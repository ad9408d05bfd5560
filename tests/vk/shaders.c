/* SPDX-License-Identifier: MIT */
#include "shaders.h"

#include "address_comp.h"
#include "captured_vert.h"
#include "color_frag.h"
#include "fan_geom.h"
#include "fill_comp.h"
#include "images_comp.h"
#include "indexing_comp.h"
#include "inline_comp.h"
#include "input_frag.h"
#include "lost_comp.h"
#include "mesh_vert.h"
#include "patch_tesc.h"
#include "patch_tese.h"
#include "rays_comp.h"
#include "reduce_comp.h"
#include "screen_vert.h"
#include "squares_mesh.h"
#include "step_comp.h"
#include "texture_frag.h"
#include "views_vert.h"

#define CODE(name) const struct shader_code name = {name##_words, sizeof(name##_words)}

CODE(address_comp);
CODE(captured_vert);
CODE(color_frag);
CODE(fan_geom);
CODE(fill_comp);
CODE(images_comp);
CODE(indexing_comp);
CODE(inline_comp);
CODE(input_frag);
CODE(lost_comp);
CODE(mesh_vert);
CODE(patch_tesc);
CODE(patch_tese);
CODE(rays_comp);
CODE(reduce_comp);
CODE(screen_vert);
CODE(squares_mesh);
CODE(step_comp);
CODE(texture_frag);
CODE(views_vert);
