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
	struct pv_frame *frames[PV_GPU_MAX_SCANOUTS]; /* counted references */
};

static struct pv_device_view *from_display(struct pv_display *display)
{
	return PV_CONTAINER_OF(display, struct pv_device_view, base);
}

static void destroy(struct pv_display *display)
{
	struct pv_device_view *view = from_display(display);

	for (size_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		pv_frame_unref(view->frames[i]);
	free(view);
}

static void set_scanout(struct pv_display *display, uint32_t scanout_id, struct pv_frame *frame,
			const struct pv_rect *src)
{
	struct pv_device_view *view = from_display(display);
	struct pv_picture *picture = NULL;

	pv_frame_unref(view->frames[scanout_id]);
	view->frames[scanout_id] = frame ? pv_frame_ref(frame) : NULL;
	if (frame) {
		/* Without memory for these few bytes the head goes dark, which is all that can be told. */
		picture = calloc(1, sizeof(*picture));
		if (picture) {
			pv_frame_refresh(frame);
			atomic_init(&picture->refs, 1);
			picture->loop = view->loop;
			picture->frame = pv_frame_ref(frame);
			picture->src = *src;
		}
	}
	view->ops.set_picture(view->user, scanout_id, picture);
	pv_picture_unref(picture);
}

static void damage(struct pv_display *display, uint32_t scanout_id, const struct pv_rect *rect)
{
	struct pv_device_view *view = from_display(display);
	struct pv_device_rect public = {rect->x, rect->y, rect->width, rect->height};

	/* The view reads pixels itself, or may. */
	if (view->frames[scanout_id])
		pv_frame_refresh(view->frames[scanout_id]);
	view->ops.damage(view->user, scanout_id, &public);
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
