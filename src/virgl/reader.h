/* SPDX-License-Identifier: MIT */
/*
 * Reads textures back without a wait on the device thread: glReadPixels() waits for the GPU, copies, or both. A thread
 * does it, in a GL context that shares textures with the library's.
 */
#ifndef PV_VIRGL_READER_H
#define PV_VIRGL_READER_H

#include "base/base.h"
#include "base/loop.h"

struct pv_virgl_reader;

/*
 * One read. The caller's storage, which is the reader's from begin() until `done`; pixels and texture stay as long, but
 * for pv_virgl_reader_cancel().
 */
struct pv_virgl_read {
	uint32_t texture; /* GL's name; GL_TEXTURE_2D or GL_TEXTURE_RECTANGLE */
	bool is_rectangle;
	bool y_0_top;          /* its rows are stored in the order of the picture's, the last one first */
	uint32_t height;       /* of the texture */
	struct pv_rect rect;   /* of the picture, from above; inside the texture */
	uint8_t *pixels;       /* of the picture; B8G8R8A8 */
	uint32_t stride_bytes; /* a multiple of 4 */
	bool after_drawing;    /* waits for all that the library has sent to the GPU */
	/* On the loop's thread. Not ok: the texture cannot be read. */
	void (*done)(struct pv_virgl_read *read, bool ok);

	/* The reader's. */
	void *sync;
	bool ok, cancelled;
	struct pv_virgl_read *next;
};

/*
 * On the loop's thread, where a GL context of the library's is current; so are the others. `by_buffer`: also where
 * another way is better, for tests. PV_ERR_UNSUPPORTED: EGL has no such context; logged.
 */
PV_MUST_USE enum pv_status pv_virgl_reader_create(struct pv_loop *loop, bool by_buffer, struct pv_virgl_reader **out);
/* Waits for the read in hand; all that were begun are done afterwards. NULL is fine. */
void pv_virgl_reader_destroy(struct pv_virgl_reader *reader);

/* They end in the order in which they were begun. */
void pv_virgl_reader_begin(struct pv_virgl_reader *reader, struct pv_virgl_read *read);
/* Begins it and waits for its end; `done` is not called. Tells whether the texture could be read. */
bool pv_virgl_reader_read_now(struct pv_virgl_reader *reader, struct pv_virgl_read *read);
/* The texture goes: it is not looked for any more after this call. `done` comes all the same. */
void pv_virgl_reader_cancel(struct pv_virgl_reader *reader, struct pv_virgl_read *read);

#endif
