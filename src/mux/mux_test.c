/* SPDX-License-Identifier: MIT */
/* Who is asked what, with renderers that write down their calls. */
#include "mux/mux.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

struct fake {
	struct pv_renderer base;
	const char *name;
	uint32_t capset_id;
};

static char calls[4096];
static uint64_t done_op, signalled;

static struct fake *to_fake(struct pv_renderer *r)
{
	return PV_CONTAINER_OF(r, struct fake, base);
}

static void note(struct pv_renderer *r, const char *what, uint32_t id)
{
	size_t len = strlen(calls);

	snprintf(calls + len, sizeof(calls) - len, "%s.%s(%u) ", to_fake(r)->name, what, id);
}

#define assert_calls(text)                                                                                             \
	do {                                                                                                           \
		assert_string_equal(calls, text);                                                                      \
		calls[0] = '\0';                                                                                       \
	} while (0)

static void fake_destroy(struct pv_renderer *r)
{
	note(r, "destroy", 0);
	free(to_fake(r));
}

static void fake_map(struct pv_renderer *r, struct pv_guest_map *map)
{
	(void)map;
	note(r, "memory", 0);
}

static enum pv_status fake_create(struct pv_renderer *r, uint64_t op_id, const struct pv_resource_info *info)
{
	note(r, "create", info->id);
	return op_id == 13 ? PV_ERR_HOST : op_id == 99 ? PV_PENDING : PV_OK;
}

static void fake_resource_destroy(struct pv_renderer *r, uint32_t id)
{
	note(r, "drop", id);
}

static enum pv_status fake_backing(struct pv_renderer *r, uint64_t op_id, uint32_t id, const struct pv_guest_span *s,
				   size_t n)
{
	(void)op_id, (void)s, (void)n;
	note(r, "backing", id);
	return PV_OK;
}

static enum pv_status fake_get_frame(struct pv_renderer *r, uint32_t id, const struct pv_blob_layout *l,
				     struct pv_frame **out)
{
	(void)l, (void)out;
	note(r, "frame", id);
	return PV_ERR_HOST;
}

static void fake_fence(struct pv_renderer *r, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	(void)ring_idx;
	note(r, "fence", ctx_id);
	r->events.fence_signalled(r->events.user, fence_id);
}

static void fake_batch(struct pv_renderer *r)
{
	note(r, "batch", 0);
}

static void fake_reset(struct pv_renderer *r)
{
	note(r, "reset", 0);
}

static enum pv_status fake_window(struct pv_renderer *r, int fd, uint64_t size)
{
	(void)size;
	note(r, "window", (uint32_t)fd);
	return PV_OK;
}

static bool fake_capset_info(struct pv_renderer *r, uint32_t index, struct pv_capset_info *out)
{
	*out = (struct pv_capset_info){.id = to_fake(r)->capset_id + index};
	return index < 2;
}

static enum pv_status fake_capset(struct pv_renderer *r, uint32_t id, uint32_t version, void *buf, size_t *len)
{
	(void)version, (void)buf, (void)len;
	note(r, "capset", id);
	return PV_OK;
}

static enum pv_status fake_context(struct pv_renderer *r, uint64_t op_id, uint32_t ctx, uint32_t capset, const char *n)
{
	(void)op_id, (void)capset, (void)n;
	note(r, "context", ctx);
	return PV_OK;
}

static void fake_end(struct pv_renderer *r, uint32_t ctx)
{
	note(r, "end", ctx);
	r->events.op_done(r->events.user, 99, PV_ERR_GUEST);
}

static enum pv_status fake_attach(struct pv_renderer *r, uint64_t op_id, uint32_t ctx, uint32_t id)
{
	(void)op_id, (void)ctx;
	note(r, "attach", id);
	return PV_OK;
}

static void fake_detach(struct pv_renderer *r, uint32_t ctx, uint32_t id)
{
	(void)ctx;
	note(r, "detach", id);
}

static enum pv_status fake_submit(struct pv_renderer *r, uint64_t op_id, uint32_t ctx, const void *c, size_t len)
{
	(void)op_id, (void)c, (void)len;
	note(r, "submit", ctx);
	return PV_OK;
}

static enum pv_status fake_blob_map(struct pv_renderer *r, uint64_t op_id, uint32_t id, uint64_t offset)
{
	(void)op_id, (void)offset;
	note(r, "map", id);
	return PV_OK;
}

static enum pv_status fake_blob_unmap(struct pv_renderer *r, uint64_t op_id, uint32_t id)
{
	(void)op_id;
	note(r, "unmap", id);
	return PV_OK;
}

static uint64_t file_offset;

static enum pv_status fake_file(struct pv_renderer *r, uint64_t op_id, uint32_t id, int fd, uint64_t offset,
				uint64_t size)
{
	assert_int_equal(op_id, 0);
	assert_int_equal(fd, 7);
	assert_int_equal(size, 4096);
	file_offset = offset;
	note(r, "file", id);
	return PV_OK;
}

static void fake_no_backing(struct pv_renderer *r, uint32_t id)
{
	note(r, "no backing", id);
}

static enum pv_status fake_transfer(struct pv_renderer *r, uint64_t op_id, const struct pv_transfer_3d *t)
{
	(void)op_id;
	note(r, "transfer", t->resource_id);
	return PV_OK;
}

static const struct pv_renderer_ops ops_2d = {.name = "2d",
					      .destroy = fake_destroy,
					      .set_guest_map = fake_map,
					      .resource_create = fake_create,
					      .resource_destroy = fake_resource_destroy,
					      .attach_backing = fake_backing,
					      .get_frame = fake_get_frame,
					      .create_fence = fake_fence,
					      .finish_batch = fake_batch,
					      .reset = fake_reset};
/* As little as a 3D renderer may have. */
static const struct pv_renderer_ops ops_venus = {.name = "venus",
						 .destroy = fake_destroy,
						 .resource_create = fake_create,
						 .resource_destroy = fake_resource_destroy,
						 .create_fence = fake_fence,
						 .reset = fake_reset,
						 .set_window = fake_window,
						 .capset_info = fake_capset_info,
						 .capset = fake_capset,
						 .context_create = fake_context,
						 .context_destroy = fake_end,
						 .context_attach = fake_attach,
						 .context_detach = fake_detach,
						 .submit = fake_submit,
						 .blob_map = fake_blob_map,
						 .blob_unmap = fake_blob_unmap};
static const struct pv_renderer_ops ops_virgl = {.name = "virgl",
						 .destroy = fake_destroy,
						 .resource_create = fake_create,
						 .resource_destroy = fake_resource_destroy,
						 .detach_backing = fake_no_backing,
						 .get_frame = fake_get_frame,
						 .create_fence = fake_fence,
						 .reset = fake_reset,
						 .capset_info = fake_capset_info,
						 .capset = fake_capset,
						 .context_create = fake_context,
						 .context_destroy = fake_end,
						 .context_attach = fake_attach,
						 .context_detach = fake_detach,
						 .submit = fake_submit,
						 .transfer_3d = fake_transfer,
						 .attach_file = fake_file};

static void on_done(void *user, uint64_t op_id, enum pv_status status)
{
	(void)user, (void)status;
	done_op = op_id;
}

static void on_fence(void *user, uint64_t fence_id)
{
	(void)user;
	signalled = fence_id;
}

static struct pv_renderer *make_fake(const struct pv_renderer_ops *ops, uint32_t capset_id)
{
	struct fake *fake = calloc(1, sizeof(*fake));

	assert_non_null(fake);
	fake->base.ops = ops;
	fake->name = ops->name;
	fake->capset_id = capset_id;
	return &fake->base;
}

static struct pv_renderer *make(bool with_virgl)
{
	struct pv_renderer *children[] = {make_fake(&ops_venus, 4), with_virgl ? make_fake(&ops_virgl, 1) : NULL}, *mux;

	calls[0] = '\0';
	pv_log_set_level(PV_LOG_ERROR);
	assert_int_equal(pv_mux_create(make_fake(&ops_2d, 0), children, with_virgl ? 2 : 1, &mux), PV_OK);
	mux->events = (struct pv_renderer_events){.op_done = on_done, .fence_signalled = on_fence};
	return mux;
}

static enum pv_status create(struct pv_renderer *mux, uint64_t op, uint32_t id, enum pv_resource_kind kind,
			     uint32_t ctx)
{
	return mux->ops->resource_create(
	    mux, op, &(struct pv_resource_info){.id = id, .kind = kind, .ctx_id = ctx, .size_bytes = 4096});
}

static void everyone_gets_what_is_theirs(void **state)
{
	(void)state;
	struct pv_renderer *mux = make(true);
	struct pv_capset_info info;
	uint8_t buf[8];
	size_t len = sizeof(buf);

	assert_non_null(mux->ops->transfer_3d);
	assert_int_equal(mux->ops->set_window(mux, 7, 4096), PV_OK);
	assert_calls("venus.window(7) ");
	uint32_t ids[] = {4, 5, 1, 2};
	for (uint32_t i = 0; i < 4; i++) {
		assert_true(mux->ops->capset_info(mux, i, &info));
		assert_int_equal(info.id, ids[i]);
	}
	assert_false(mux->ops->capset_info(mux, 4, &info));
	assert_int_equal(mux->ops->capset(mux, 2, 0, buf, &len), PV_OK);
	assert_int_equal(mux->ops->capset(mux, 9, 0, buf, &len), PV_ERR_GUEST);
	assert_calls("virgl.capset(2) ");

	assert_int_equal(mux->ops->context_create(mux, 1, 10, 4, "a"), PV_OK);
	assert_int_equal(mux->ops->context_create(mux, 1, 11, 2, "b"), PV_OK);
	assert_int_equal(mux->ops->context_create(mux, 1, 12, 0, "c"), PV_OK);
	assert_int_equal(mux->ops->context_create(mux, 1, 13, 77, "d"), PV_ERR_GUEST);
	assert_calls("venus.context(10) virgl.context(11) virgl.context(12) ");

	assert_int_equal(create(mux, 1, 1, PV_RESOURCE_2D, 0), PV_OK);
	assert_int_equal(create(mux, 1, 2, PV_RESOURCE_GUEST_BLOB, 0), PV_OK);
	assert_int_equal(create(mux, 1, 3, PV_RESOURCE_HOST_BLOB, 10), PV_OK);
	assert_int_equal(create(mux, 1, 4, PV_RESOURCE_3D, 0), PV_OK);
	assert_int_equal(create(mux, 99, 5, PV_RESOURCE_HOST_BLOB, 10), PV_PENDING);
	assert_int_equal(create(mux, 13, 6, PV_RESOURCE_HOST_BLOB, 10), PV_ERR_HOST);
	assert_int_equal(create(mux, 1, 7, PV_RESOURCE_HOST_BLOB, 4711), PV_ERR_UNSUPPORTED);
	assert_calls("2d.create(1) 2d.create(2) venus.create(3) virgl.create(4) venus.create(5) venus.create(6) ");

	/* Only where both have the same owner; see below for 3 in 11. */
	for (uint32_t id = 1; id <= 4; id++) {
		if (id == 3)
			continue;
		assert_int_equal(mux->ops->context_attach(mux, 1, 10, id), PV_OK);
		assert_int_equal(mux->ops->context_attach(mux, 1, 11, id), PV_OK);
		mux->ops->context_detach(mux, 11, id);
	}
	assert_calls("virgl.attach(4) virgl.detach(4) ");
	assert_int_equal(mux->ops->context_attach(mux, 1, 10, 3), PV_OK);
	assert_calls("venus.attach(3) ");
	assert_int_equal(mux->ops->submit(mux, 1, 10, "", 0), PV_OK);
	assert_int_equal(mux->ops->blob_map(mux, 1, 3, 0), PV_OK);
	assert_int_equal(mux->ops->blob_map(mux, 1, 4, 0), PV_ERR_UNSUPPORTED);
	assert_int_equal(mux->ops->blob_unmap(mux, 1, 3), PV_OK);
	assert_int_equal(mux->ops->transfer_3d(mux, 1, &(struct pv_transfer_3d){.resource_id = 4}), PV_OK);
	assert_int_equal(mux->ops->transfer_3d(mux, 1, &(struct pv_transfer_3d){.resource_id = 3}), PV_ERR_UNSUPPORTED);
	assert_calls("venus.submit(10) venus.map(3) venus.unmap(3) virgl.transfer(4) ");
	/* What a child lacks. */
	assert_int_equal(mux->ops->attach_backing(mux, 1, 3, NULL, 0), PV_ERR_UNSUPPORTED);
	assert_int_equal(mux->ops->attach_backing(mux, 1, 1, NULL, 0), PV_OK);
	assert_int_equal(mux->ops->get_frame(mux, 3, NULL, NULL), PV_ERR_UNSUPPORTED);
	assert_int_equal(mux->ops->get_frame(mux, 4, NULL, NULL), PV_ERR_HOST);
	assert_int_equal(mux->ops->update_frame(mux, 1, 3, NULL), PV_OK);
	mux->ops->set_guest_map(mux, NULL);
	mux->ops->finish_batch(mux);
	assert_calls("2d.backing(1) virgl.frame(4) 2d.memory(0) 2d.batch(0) ");

	mux->ops->create_fence(mux, 5, 0, 0);
	mux->ops->create_fence(mux, 6, 10, 1);
	assert_int_equal(signalled, 6);
	mux->ops->create_fence(mux, 7, 4711, 1);
	assert_int_equal(signalled, 7);
	assert_calls("2d.fence(0) venus.fence(10) 2d.fence(4711) ");

	mux->ops->context_destroy(mux, 10);
	assert_int_equal(done_op, 99);
	mux->ops->resource_destroy(mux, 3);
	mux->ops->resource_destroy(mux, 3); /* now it would be the 2D renderer's */
	mux->ops->create_fence(mux, 8, 10, 1);
	assert_calls("venus.end(10) venus.drop(3) 2d.drop(3) 2d.fence(10) ");
	mux->ops->reset(mux);
	assert_calls("2d.reset(0) venus.reset(0) virgl.reset(0) ");
	assert_int_equal(mux->ops->submit(mux, 1, 11, "", 0), PV_ERR_UNSUPPORTED);
	pv_renderer_destroy(mux);
	assert_calls("venus.destroy(0) virgl.destroy(0) 2d.destroy(0) ");
}

static void blobs_come_into_opengl_contexts(void **state)
{
	(void)state;
	struct pv_renderer *mux = make(true);

	assert_int_equal(mux->ops->set_window(mux, 7, 1 << 20), PV_OK);
	assert_int_equal(mux->ops->context_create(mux, 1, 10, 4, "vulkan"), PV_OK);
	assert_int_equal(mux->ops->context_create(mux, 1, 11, 2, "x"), PV_OK);
	assert_int_equal(mux->ops->context_create(mux, 1, 12, 2, "y"), PV_OK);
	for (uint32_t id = 1; id <= 3; id++)
		assert_int_equal(create(mux, 1, id, PV_RESOURCE_HOST_BLOB, 10), PV_OK);
	calls[0] = '\0';

	/* In the window first, as Linux does it. */
	assert_int_equal(mux->ops->blob_map(mux, 1, 1, 8192), PV_OK);
	assert_int_equal(mux->ops->context_attach(mux, 1, 11, 1), PV_OK);
	assert_int_equal(file_offset, 8192);
	assert_int_equal(mux->ops->context_attach(mux, 1, 12, 1), PV_OK);
	assert_calls("venus.map(1) virgl.create(1) virgl.file(1) virgl.attach(1) virgl.attach(1) ");
	mux->ops->context_detach(mux, 12, 1);
	assert_calls("virgl.detach(1) ");

	/* Afterwards. */
	assert_int_equal(mux->ops->context_attach(mux, 1, 11, 2), PV_OK);
	assert_calls("virgl.create(2) virgl.attach(2) ");
	assert_int_equal(mux->ops->blob_map(mux, 1, 2, 4096), PV_OK);
	assert_int_equal(file_offset, 4096);
	assert_calls("venus.map(2) virgl.file(2) ");

	/* OpenGL lets go before the owner does, and ids can be used again. */
	assert_int_equal(mux->ops->blob_unmap(mux, 1, 1), PV_OK);
	mux->ops->resource_destroy(mux, 1);
	assert_calls("virgl.no backing(1) venus.unmap(1) virgl.drop(1) venus.drop(1) ");
	assert_int_equal(create(mux, 1, 1, PV_RESOURCE_HOST_BLOB, 10), PV_OK);
	mux->ops->context_detach(mux, 11, 1);
	assert_int_equal(mux->ops->blob_unmap(mux, 1, 1), PV_OK);
	mux->ops->resource_destroy(mux, 1);
	assert_calls("venus.create(1) venus.unmap(1) venus.drop(1) ");

	/* The other way round there is nothing to be had. */
	assert_int_equal(create(mux, 1, 4, PV_RESOURCE_3D, 0), PV_OK);
	assert_int_equal(mux->ops->context_attach(mux, 1, 10, 4), PV_OK);
	mux->ops->context_detach(mux, 10, 4);
	assert_calls("virgl.create(4) ");
	mux->ops->reset(mux);
	pv_renderer_destroy(mux);

	/* Nor without a window. */
	mux = make(true);
	assert_int_equal(mux->ops->context_create(mux, 1, 10, 4, "vulkan"), PV_OK);
	assert_int_equal(mux->ops->context_create(mux, 1, 11, 2, "x"), PV_OK);
	assert_int_equal(create(mux, 1, 1, PV_RESOURCE_HOST_BLOB, 10), PV_OK);
	calls[0] = '\0';
	assert_int_equal(mux->ops->context_attach(mux, 1, 11, 1), PV_OK);
	assert_calls("");
	pv_renderer_destroy(mux);
}

static void without_opengl(void **state)
{
	(void)state;
	struct pv_renderer *mux = make(false);

	assert_null(mux->ops->transfer_3d);
	/* A driver that chooses no set gets a context in which nothing can be done. */
	assert_int_equal(mux->ops->context_create(mux, 1, 1, 0, "console"), PV_OK);
	assert_int_equal(mux->ops->context_attach(mux, 1, 1, 5), PV_OK);
	assert_int_equal(mux->ops->submit(mux, 1, 1, "", 0), PV_ERR_UNSUPPORTED);
	assert_int_equal(create(mux, 1, 7, PV_RESOURCE_HOST_BLOB, 1), PV_ERR_UNSUPPORTED);
	assert_int_equal(create(mux, 1, 7, PV_RESOURCE_3D, 0), PV_ERR_UNSUPPORTED);
	mux->ops->context_destroy(mux, 1);
	assert_calls("");
	pv_renderer_destroy(mux);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(everyone_gets_what_is_theirs),
	    cmocka_unit_test(blobs_come_into_opengl_contexts),
	    cmocka_unit_test(without_opengl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
