/* SPDX-License-Identifier: MIT */
#include <yyjson.h>

#include "base/log.h"
#include "base/loop.h"
#include "device/device.h"
#include "device/renderers.h"
#include "pv/opengl.h"
#include "virgl/renderer.h"

enum pv_status pv_device_opengl_create(const struct pv_virgl_renderer_params *params, struct pv_renderer **out)
{
	enum pv_status status = pv_virgl_renderer_create(params, out);

	if (status == PV_OK)
		pv_log(PV_LOG_INFO, "device", "OpenGL for the guest: %s (%s)", pv_virgl_renderer_gl_name(*out),
		       pv_virgl_renderer_gl_version(*out));
	return status;
}

static char *describe(struct pv_renderer *renderer)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	/* Every call takes what a failed one before it left, and does nothing. */
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char *json = NULL;

	yyjson_mut_obj_add_str(doc, root, "library", "virglrenderer " PV_VIRGL_VERSION);
	yyjson_mut_obj_add_str(doc, root, "name", pv_virgl_renderer_gl_name(renderer));
	yyjson_mut_obj_add_str(doc, root, "version", pv_virgl_renderer_gl_version(renderer));
	yyjson_mut_doc_set_root(doc, root);
	if (doc)
		json = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	return json;
}

enum pv_status pv_opengl_describe(char **out_json)
{
	struct pv_renderer *renderer;
	struct pv_loop *loop;
	enum pv_status status;

	status = pv_loop_create(&loop);
	if (status != PV_OK)
		return status;
	status = pv_virgl_renderer_create(&(struct pv_virgl_renderer_params){.loop = loop}, &renderer);
	if (status == PV_OK) {
		*out_json = describe(renderer);
		if (!*out_json)
			status = PV_ERR_NO_MEMORY;
		pv_renderer_destroy(renderer);
	}
	pv_loop_destroy(loop);
	return status;
}
