/* SPDX-License-Identifier: MIT */
/* Views: the embedder's callbacks as one more display of the core. */
#include "pv/device.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"

struct pv_picture {
	_Atomic uint32_t refs;
	struct pv_loop *loop;   /* of its device */
	struct pv_frame *frame; /* a counted reference */
	struct pv_rect src;     /* the part of it that is shown */
};

struct pv_device_view {
	struct pv_display base;
	struct pv_loop *loop;
	struct pv_device_view_ops ops;
	void *user;
	struct view_head {
		struct pv_device_view *view;
		struct pv_frame *frame; /* a counted reference; NULL: off */
		/* New pixels are told of once they have been fetched, those that come meanwhile after the next fetch.
		 */
		struct pv_frame_waiter waiter;
		struct pv_frame *fetched; /* a counted reference while it waits */
		struct pv_rect damage, next_damage;
	} heads[PV_GPU_MAX_SCANOUTS];
};

static struct pv_device_view *from_display(struct pv_display *display)
{
	return PV_CONTAINER_OF(display, struct pv_device_view, base);
}

static void tell_damage(struct view_head *head)
{
	struct pv_device_rect public = {head->damage.x, head->damage.y, head->damage.width, head->damage.height};

	head->damage = (struct pv_rect){0};
	head->view->ops.damage(head->view->user, (uint32_t)(head - head->view->heads), &public);
}

static void stop_fetching(struct view_head *head)
{
	pv_frame_stop_waiting(&head->waiter);
	pv_frame_unref(head->fetched);
	head->fetched = NULL;
}

static void fetch(struct view_head *head)
{
	head->damage = pv_rect_union(&head->damage, &head->next_damage);
	head->next_damage = (struct pv_rect){0};
	if (pv_frame_fetch(head->frame, &head->waiter))
		tell_damage(head);
	else
		head->fetched = pv_frame_ref(head->frame);
}

static void fetched(struct pv_frame_waiter *waiter)
{
	struct view_head *head = PV_CONTAINER_OF(waiter, struct view_head, waiter);
	struct pv_frame *frame = head->fetched;

	head->fetched = NULL;
	/* A guest may turn its pages faster than they are fetched: the view is told all the same. */
	if (head->frame)
		tell_damage(head);
	if (head->frame && !head->fetched && !pv_rect_is_empty(&head->next_damage))
		fetch(head);
	pv_frame_unref(frame);
}

static void destroy(struct pv_display *display)
{
	struct pv_device_view *view = from_display(display);

	for (size_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		stop_fetching(&view->heads[i]);
		pv_frame_unref(view->heads[i].frame);
	}
	free(view);
}

static void set_scanout(struct pv_display *display, uint32_t scanout_id, struct pv_frame *frame,
			const struct pv_rect *src)
{
	struct pv_device_view *view = from_display(display);
	struct pv_picture *picture = NULL;

	struct view_head *head = &view->heads[scanout_id];

	pv_frame_unref(head->frame);
	head->frame = frame ? pv_frame_ref(frame) : NULL;
	/* Full damage follows; what is being fetched was of a picture that may have had another size. */
	head->damage = head->next_damage = (struct pv_rect){0};
	if (frame && head->fetched)
		head->damage = (struct pv_rect){.width = src->width, .height = src->height};
	if (frame) {
		/* Without memory for these few bytes the head goes dark, which is all that can be told. */
		picture = calloc(1, sizeof(*picture));
		if (picture) {
			if (!frame->fetch)
				pv_frame_refresh(frame);
			atomic_init(&picture->refs, 1);
			picture->loop = view->loop;
			picture->frame = pv_frame_ref(frame);
			picture->src = *src;
		}
	} else {
		stop_fetching(head);
	}
	view->ops.set_picture(view->user, scanout_id, picture);
	pv_picture_unref(picture);
}

static void damage(struct pv_display *display, uint32_t scanout_id, const struct pv_rect *rect)
{
	struct view_head *head = &from_display(display)->heads[scanout_id];

	if (!head->frame)
		return;
	head->next_damage = pv_rect_union(&head->next_damage, rect);
	if (!head->fetched)
		fetch(head);
}

static struct pv_device_cursor public_cursor(const struct pv_cursor *cursor)
{
	return (struct pv_device_cursor){
	    .scanout = cursor->scanout_id,
	    .x = cursor->x,
	    .y = cursor->y,
	    .hot_x = cursor->hot_x,
	    .hot_y = cursor->hot_y,
	    .visible = cursor->visible,
	    .pixels = cursor->pixels,
	};
}

static void set_cursor(struct pv_display *display, const struct pv_cursor *cursor)
{
	struct pv_device_view *view = from_display(display);
	struct pv_device_cursor public = public_cursor(cursor);

	if (view->ops.set_cursor)
		view->ops.set_cursor(view->user, &public);
}

static void move_cursor(struct pv_display *display, const struct pv_cursor *cursor)
{
	struct pv_device_view *view = from_display(display);
	struct pv_device_cursor public = public_cursor(cursor);

	if (view->ops.move_cursor)
		view->ops.move_cursor(view->user, &public);
}

static const struct pv_display_ops view_ops = {
    .name = "view",
    .destroy = destroy,
    .set_scanout = set_scanout,
    .damage = damage,
    .set_cursor = set_cursor,
    .move_cursor = move_cursor,
};

struct add_call {
	struct pv_device *device;
	struct pv_device_view *view;
};

static void add(void *user)
{
	struct add_call *call = user;

	pv_gpu_add_display(call->device->gpu, &call->view->base);
}

enum pv_status pv_device_add_view(struct pv_device *device, const struct pv_device_view_ops *ops, void *user,
				  struct pv_device_view **out)
{
	struct pv_device_view *view = calloc(1, sizeof(*view));
	struct add_call call = {device, view};

	if (!view)
		return PV_ERR_NO_MEMORY;
	view->base.ops = &view_ops;
	view->loop = device->loop;
	view->user = user;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++) {
		view->heads[i].view = view;
		view->heads[i].waiter.ready = fetched;
	}
	if (!pv_params_read(&view->ops, sizeof(view->ops), ops, ops->struct_size) || !view->ops.set_picture ||
	    !view->ops.damage) {
		free(view);
		return PV_ERR_ARGUMENT;
	}
	pv_loop_call(device->loop, add, &call);
	*out = view;
	return PV_OK;
}

static void take_off(void *user)
{
	struct add_call *call = user;

	pv_gpu_remove_display(call->device->gpu, &call->view->base);
}

void pv_device_remove_view(struct pv_device *device, struct pv_device_view *view)
{
	struct add_call call = {device, view};

	pv_loop_call(device->loop, take_off, &call);
}

void pv_picture_get_info(const struct pv_picture *picture, struct pv_picture_info *out)
{
	const struct pv_frame *frame = picture->frame;
	struct pv_picture_info info = {
	    .width = picture->src.width,
	    .height = picture->src.height,
	    .stride_bytes = frame->stride_bytes,
	    .format = frame->format,
	    .pixels = frame->pixels + (size_t)picture->src.y * frame->stride_bytes + (size_t)picture->src.x * 4,
	};

	info.struct_size = out->struct_size;
	memcpy(out, &info, out->struct_size < sizeof(info) ? out->struct_size : sizeof(info));
}

struct pv_picture *pv_picture_ref(struct pv_picture *picture)
{
	atomic_fetch_add_explicit(&picture->refs, 1, memory_order_relaxed);
	return picture;
}

void pv_picture_unref(struct pv_picture *picture)
{
	/* acq_rel: the last owner sees what the others did with it before it frees it. */
	if (!picture || atomic_fetch_sub_explicit(&picture->refs, 1, memory_order_acq_rel) != 1)
		return;
	pv_frame_unref(picture->frame);
	free(picture);
}

struct read_call {
	struct pv_frame *frame;
	struct pv_rect src;
	void *dst;
	uint32_t dst_stride_bytes;
};

static void read_pixels(void *user)
{
	struct read_call *call = user;

	pv_frame_read_xrgb(call->frame, &call->src, call->dst, call->dst_stride_bytes);
}

enum pv_status pv_picture_read_bgrx(struct pv_picture *picture, const struct pv_device_rect *rect, void *dst,
				    uint32_t dst_stride_bytes)
{
	struct read_call call = {
	    .frame = picture->frame,
	    .src = {rect->x, rect->y, rect->width, rect->height},
	    .dst = dst,
	    .dst_stride_bytes = dst_stride_bytes,
	};

	if (!pv_rect_fits(&call.src, picture->src.width, picture->src.height) || dst_stride_bytes / 4 < call.src.width)
		return PV_ERR_ARGUMENT;
	call.src.x += picture->src.x;
	call.src.y += picture->src.y;
	pv_loop_call(picture->loop, read_pixels, &call);
	return PV_OK;
}
