/* SPDX-License-Identifier: MIT */
/* Requests and their answers, with a renderer that answers when the test says so. */
#include "gpu/gpu_test.h"

/* A renderer under the test's control. */

static struct {
	struct pv_renderer base;
	bool later; /* ops and fences wait for the test */
	uint64_t op_ids[64], fence_ids[64];
	int nr_ops, nr_fences, destroyed, resets, batches;
	enum pv_status status;
} fake;

static enum pv_status fake_op(uint64_t op_id)
{
	if (!fake.later)
		return fake.status;
	fake.op_ids[fake.nr_ops++] = op_id;
	return PV_PENDING;
}

static void fake_destroy(struct pv_renderer *r)
{
	(void)r;
}

static void fake_set_guest_map(struct pv_renderer *r, struct pv_guest_map *m)
{
	(void)r;
	(void)m;
}

static enum pv_status fake_create(struct pv_renderer *r, uint64_t op_id, const struct pv_resource_info *info)
{
	(void)r;
	assert_int_not_equal(info->id, 0);
	return fake_op(op_id);
}

static void fake_resource_destroy(struct pv_renderer *r, uint32_t id)
{
	(void)r;
	(void)id;
	fake.destroyed++;
}

static enum pv_status fake_attach(struct pv_renderer *r, uint64_t op_id, uint32_t id, const struct pv_guest_span *s,
				  size_t n)
{
	(void)r;
	(void)id;
	(void)s;
	(void)n;
	return fake_op(op_id);
}

static void fake_detach(struct pv_renderer *r, uint32_t id)
{
	(void)r;
	(void)id;
}

static enum pv_status fake_transfer(struct pv_renderer *r, uint64_t op_id, const struct pv_transfer *t)
{
	(void)r;
	(void)t;
	return fake_op(op_id);
}

static enum pv_status fake_get_frame(struct pv_renderer *r, uint32_t id, const struct pv_blob_layout *l,
				     struct pv_frame **out)
{
	(void)r;
	(void)id;
	return pv_frame_create(l ? l->width : 64, l ? l->height : 64, PV_GPU_FORMAT_B8G8R8A8, out);
}

static enum pv_status fake_update(struct pv_renderer *r, uint64_t op_id, uint32_t id, const struct pv_rect *rect)
{
	(void)r;
	(void)id;
	(void)rect;
	return fake_op(op_id);
}

static void fake_fence(struct pv_renderer *r, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	(void)ctx_id;
	(void)ring_idx;
	if (fake.later)
		fake.fence_ids[fake.nr_fences++] = fence_id;
	else
		r->events.fence_signalled(r->events.user, fence_id);
}

static void fake_finish_batch(struct pv_renderer *r)
{
	(void)r;
	fake.batches++;
}

static void fake_reset(struct pv_renderer *r)
{
	(void)r;
	fake.resets++;
}

static const struct pv_renderer_ops fake_ops = {
    .name = "fake",
    .destroy = fake_destroy,
    .set_guest_map = fake_set_guest_map,
    .resource_create = fake_create,
    .resource_destroy = fake_resource_destroy,
    .attach_backing = fake_attach,
    .detach_backing = fake_detach,
    .transfer_to_host = fake_transfer,
    .get_frame = fake_get_frame,
    .update_frame = fake_update,
    .create_fence = fake_fence,
    .finish_batch = fake_finish_batch,
    .reset = fake_reset,
};

static int set_up_fake(void **state)
{
	memset(&fake, 0, sizeof(fake));
	fake.base.ops = &fake_ops;
	return set_up(state, &fake.base);
}

static void pending_ops_answer_later_and_in_their_own_order(void **state)
{
	(void)state;
	struct queue_memory *q = &guest.queues[PV_GPU_QUEUE_CONTROL];
	struct pv_gpu_resource_create_2d c = {HDR(RESOURCE_CREATE_2D), .format = 1, .width = 4, .height = 4};

	fake.later = true;
	for (unsigned i = 0; i < 3; i++) {
		c.resource_id = i + 1;
		announce(PV_GPU_QUEUE_CONTROL, i, &c, sizeof(c));
	}
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(q->used.idx, 0);
	assert_int_equal(fake.nr_ops, 3);

	fake.base.events.op_done(fake.base.events.user, fake.op_ids[2], PV_OK);
	assert_int_equal(q->used.idx, 1);
	assert_int_equal(q->used.ring[0].id, 4);
	assert_int_equal(guest.response[2].hdr.type, PV_GPU_RESP_OK_NODATA);
	assert_int_equal(interrupts[0], 1);
	/* A failed creation leaves nothing behind. */
	fake.base.events.op_done(fake.base.events.user, fake.op_ids[0], PV_ERR_NO_MEMORY);
	assert_int_equal(guest.response[0].hdr.type, PV_GPU_RESP_ERR_OUT_OF_MEMORY);
	struct pv_gpu_stats stats;
	pv_gpu_get_stats(gpu, &stats);
	assert_int_equal(stats.resources, 2);
	assert_in_range(stats.host_bytes, 2 * pv_frame_cost_bytes(4, 4), 2 * pv_frame_cost_bytes(4, 4) + 4096);
	/* Twice, or made up: nothing happens. */
	fake.base.events.op_done(fake.base.events.user, fake.op_ids[0], PV_OK);
	fake.base.events.op_done(fake.base.events.user, UINT64_MAX, PV_OK);
	assert_int_equal(q->used.idx, 2);
}

static void fences_hold_the_answer_back_even_of_failed_commands(void **state)
{
	(void)state;
	struct queue_memory *q = &guest.queues[PV_GPU_QUEUE_CONTROL];
	struct pv_gpu_resource_ref c = {.hdr = {.type = PV_GPU_CMD_RESOURCE_UNREF,
						.flags = PV_GPU_FLAG_FENCE | PV_GPU_FLAG_INFO_RING_IDX,
						.fence_id = 77,
						.ctx_id = 5,
						.ring_idx = 3},
					.resource_id = 99};

	fake.later = true;
	announce(PV_GPU_QUEUE_CONTROL, 0, &c, sizeof(c));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(q->used.idx, 0);
	assert_int_equal(fake.nr_fences, 1);
	fake.base.events.fence_signalled(fake.base.events.user, fake.fence_ids[0]);
	assert_int_equal(q->used.idx, 1);
	assert_int_equal(guest.response[0].hdr.type, PV_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(guest.response[0].hdr.flags, PV_GPU_FLAG_FENCE | PV_GPU_FLAG_INFO_RING_IDX);
	assert_int_equal(guest.response[0].hdr.fence_id, 77);
	assert_int_equal(guest.response[0].hdr.ctx_id, 5);
	assert_int_equal(guest.response[0].hdr.ring_idx, 3);
}

static void answers_after_a_reset_find_nothing(void **state)
{
	(void)state;
	struct pv_gpu_resource_create_2d c = {
	    .hdr = {.type = PV_GPU_CMD_RESOURCE_CREATE_2D, .flags = PV_GPU_FLAG_FENCE},
	    .resource_id = 1,
	    .format = 1,
	    .width = 4,
	    .height = 4};

	fake.later = true;
	announce(PV_GPU_QUEUE_CONTROL, 0, &c, sizeof(c));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	pv_gpu_reset(gpu);
	assert_int_equal(fake.destroyed, 1);
	assert_int_equal(fake.resets, 1);
	fake.base.events.op_done(fake.base.events.user, fake.op_ids[0], PV_OK);

	/* The same slot is in use again, with another id. */
	assert_int_equal(pv_gpu_set_driver_features(gpu, PV_VIRTIO_F_VERSION_1), PV_OK);
	start_queues();
	announce(PV_GPU_QUEUE_CONTROL, 0, &c, sizeof(c));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	fake.base.events.op_done(fake.base.events.user, fake.op_ids[0], PV_OK);
	assert_int_equal(guest.queues[0].used.idx, 0);
	fake.base.events.op_done(fake.base.events.user, fake.op_ids[1], PV_OK);
	assert_int_equal(guest.queues[0].used.idx, 0); /* now the fence */
	fake.base.events.fence_signalled(fake.base.events.user, fake.fence_ids[0]);
	assert_int_equal(guest.queues[0].used.idx, 0); /* not the old one */
	fake.base.events.fence_signalled(fake.base.events.user, fake.fence_ids[1]);
	assert_int_equal(guest.queues[0].used.idx, 1);
}

static void announcing_a_buffer_twice_breaks_the_queue(void **state)
{
	(void)state;
	struct pv_gpu_resource_create_2d c = {HDR(RESOURCE_CREATE_2D), .format = 1, .width = 1, .height = 1};

	fake.later = true;
	pv_log_set_level(PV_LOG_ERROR);
	for (unsigned i = 0; i <= QUEUE_SIZE; i++) {
		c.resource_id = i + 1;
		if (i < 60)
			announce(PV_GPU_QUEUE_CONTROL, 0, &c, sizeof(c));
		else
			announce(PV_GPU_QUEUE_CONTROL, 1, &(struct pv_gpu_resource_ref){HDR(RESOURCE_UNREF)},
				 sizeof(struct pv_gpu_resource_ref));
		pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	}
	/* 60 wait, the rest were answered at once: still whole. */
	assert_int_equal(resets_needed, 0);
	for (unsigned i = 0; i < 5; i++) {
		c.resource_id = 1000 + i;
		if (fake.nr_ops < 64)
			announce(PV_GPU_QUEUE_CONTROL, 0, &c, sizeof(c));
		else
			break;
		pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	}
	announce(PV_GPU_QUEUE_CONTROL, 0, &c, sizeof(c));
	pv_gpu_queue_notify(gpu, PV_GPU_QUEUE_CONTROL);
	assert_int_equal(resets_needed, 1);
}

int main(void)
{
#define TEST(name, up) cmocka_unit_test_setup_teardown(name, up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(pending_ops_answer_later_and_in_their_own_order, set_up_fake),
	    TEST(fences_hold_the_answer_back_even_of_failed_commands, set_up_fake),
	    TEST(answers_after_a_reset_find_nothing, set_up_fake),
	    TEST(announcing_a_buffer_twice_breaks_the_queue, set_up_fake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
