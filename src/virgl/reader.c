/* SPDX-License-Identifier: MIT */
/*
 * Two ways to read. Mesa's drivers copy into the frame within glReadPixels(), which can turn the rows; into a pixel
 * buffer object they may do just the same (llvmpipe), with one copy more. In other drivers that call keeps calls of
 * other threads out until the GPU has done it (NVIDIA, half a millisecond for a picture of 1280 x 720), so that it only
 * queues the read into a buffer there; the copy out of that needs no driver.
 */
#include "virgl/reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <EGL/egl.h>
#include <GL/glcorearb.h>

#include "base/log.h"
#include "base/mutex.h"
#include "base/thread.h"

#define MODULE "virgl"

/* Of Mesa's: rows are read from the last one on. */
#define GL_PACK_INVERT_MESA 0x8758

/* How often a wait for the GPU looks whether it is still wanted. */
#define LOOK_NS UINT64_C(100000000)

#define GL_FUNCTIONS(X)                                                                                                \
	X(PFNGLBINDBUFFERPROC, BindBuffer)                                                                             \
	X(PFNGLBINDFRAMEBUFFERPROC, BindFramebuffer)                                                                   \
	X(PFNGLBUFFERDATAPROC, BufferData)                                                                             \
	X(PFNGLCHECKFRAMEBUFFERSTATUSPROC, CheckFramebufferStatus)                                                     \
	X(PFNGLCLIENTWAITSYNCPROC, ClientWaitSync)                                                                     \
	X(PFNGLDELETEBUFFERSPROC, DeleteBuffers)                                                                       \
	X(PFNGLDELETEFRAMEBUFFERSPROC, DeleteFramebuffers)                                                             \
	X(PFNGLDELETESYNCPROC, DeleteSync)                                                                             \
	X(PFNGLFENCESYNCPROC, FenceSync)                                                                               \
	X(PFNGLFLUSHPROC, Flush)                                                                                       \
	X(PFNGLFRAMEBUFFERTEXTURE2DPROC, FramebufferTexture2D)                                                         \
	X(PFNGLGENBUFFERSPROC, GenBuffers)                                                                             \
	X(PFNGLGENFRAMEBUFFERSPROC, GenFramebuffers)                                                                   \
	X(PFNGLGETERRORPROC, GetError)                                                                                 \
	X(PFNGLGETINTEGERVPROC, GetIntegerv)                                                                           \
	X(PFNGLGETSTRINGIPROC, GetStringi)                                                                             \
	X(PFNGLMAPBUFFERRANGEPROC, MapBufferRange)                                                                     \
	X(PFNGLPIXELSTOREIPROC, PixelStorei)                                                                           \
	X(PFNGLREADPIXELSPROC, ReadPixels)                                                                             \
	X(PFNGLUNMAPBUFFERPROC, UnmapBuffer)

struct gl {
#define X(type, name) type name;
	GL_FUNCTIONS(X)
#undef X
};

struct pv_virgl_reader {
	/* Immutable after create. */
	struct pv_loop *loop;
	struct gl gl;
	EGLDisplay display;
	EGLContext shared; /* the library's that was current then */
	GLint major, minor;
	bool by_buffer;
	pthread_t thread;
	bool has_thread;

	/* The thread's own. */
	EGLContext context;
	GLuint framebuffer, buffer; /* no buffer: it reads into the frame */
	size_t buffer_bytes;

	struct pv_mutex lock;
	struct pv_condition work, progress;
	enum { BEGINNING, READING, FAILED } state PV_GUARDED_BY(lock);
	bool stop PV_GUARDED_BY(lock);
	/* First in, first out: to be read, and to be told of. The first of the former may be in hand. */
	struct pv_virgl_read *queue PV_GUARDED_BY(lock), *finished PV_GUARDED_BY(lock);
	bool is_posted PV_GUARDED_BY(lock); /* the task */
	struct pv_loop_task task;           /* tells */
};

static bool load(struct gl *gl)
{
#define X(type, name)                                                                                                  \
	gl->name = (type)eglGetProcAddress("gl" #name);                                                                \
	if (!gl->name)                                                                                                 \
		return false;
	GL_FUNCTIONS(X)
#undef X
	return true;
}

static void append(struct pv_virgl_read **list, struct pv_virgl_read *read)
{
	while (*list)
		list = &(*list)->next;
	read->next = NULL;
	*list = read;
}

static struct pv_virgl_read *take_first(struct pv_virgl_read **list)
{
	struct pv_virgl_read *read = *list;

	if (read)
		*list = read->next;
	return read;
}

/* ---- The thread ---- */

static bool is_wanted(struct pv_virgl_reader *self, const struct pv_virgl_read *read) PV_REQUIRES(self->lock)
{
	return !self->stop && !read->cancelled;
}

/* The GPU may have a lot to do before. */
static void wait_for_drawing(struct pv_virgl_reader *self, const struct pv_virgl_read *read)
{
	bool wanted = true;

	while (wanted && self->gl.ClientWaitSync(read->sync, 0, LOOK_NS) == GL_TIMEOUT_EXPIRED) {
		pv_mutex_lock(&self->lock);
		wanted = is_wanted(self, read);
		pv_mutex_unlock(&self->lock);
	}
}

/* Once it is, it lives on though its name may go. */
static bool attach(struct pv_virgl_reader *self, const struct pv_virgl_read *read)
{
	bool wanted;

	pv_mutex_lock(&self->lock);
	wanted = is_wanted(self, read);
	if (wanted)
		self->gl.FramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0,
					      read->is_rectangle ? GL_TEXTURE_RECTANGLE : GL_TEXTURE_2D, read->texture,
					      0);
	pv_mutex_unlock(&self->lock);
	return wanted;
}

static void detach(struct pv_virgl_reader *self)
{
	self->gl.FramebufferTexture2D(GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, 0, 0);
}

static void read_rows(struct pv_virgl_reader *self, const struct pv_virgl_read *read, void *to, uint32_t stride_bytes)
{
	const struct pv_rect *rect = &read->rect;
	uint32_t y = read->y_0_top ? read->height - rect->y - rect->height : rect->y;

	self->gl.PixelStorei(GL_PACK_ROW_LENGTH, (GLint)(stride_bytes / 4));
	self->gl.ReadPixels((GLint)rect->x, (GLint)y, (GLsizei)rect->width, (GLsizei)rect->height, GL_BGRA,
			    GL_UNSIGNED_INT_8_8_8_8_REV, to);
}

static uint8_t *place_of(const struct pv_virgl_read *read)
{
	return read->pixels + (size_t)read->rect.y * read->stride_bytes + (size_t)read->rect.x * 4;
}

/* From rows without gaps. */
static void copy_rows(const struct pv_virgl_read *read, const uint8_t *from)
{
	size_t row_bytes = (size_t)read->rect.width * 4;
	uint32_t height = read->rect.height;

	for (uint32_t y = 0; y < height; y++)
		memcpy(place_of(read) + (size_t)y * read->stride_bytes,
		       from + (read->y_0_top ? height - 1 - y : y) * row_bytes, row_bytes);
}

static bool read_by_buffer(struct pv_virgl_reader *self, const struct pv_virgl_read *read)
{
	const struct gl *gl = &self->gl;
	size_t bytes = (size_t)read->rect.width * 4 * read->rect.height;
	const void *rows;
	GLsync end;

	gl->BindBuffer(GL_PIXEL_PACK_BUFFER, self->buffer);
	if (bytes > self->buffer_bytes) {
		gl->BufferData(GL_PIXEL_PACK_BUFFER, (GLsizeiptr)bytes, NULL, GL_STREAM_READ);
		self->buffer_bytes = bytes;
	}
	read_rows(self, read, NULL, read->rect.width * 4);
	end = gl->FenceSync(GL_SYNC_GPU_COMMANDS_COMPLETE, 0);
	gl->Flush();
	while (gl->ClientWaitSync(end, 0, LOOK_NS) == GL_TIMEOUT_EXPIRED)
		;
	gl->DeleteSync(end);
	rows = gl->MapBufferRange(GL_PIXEL_PACK_BUFFER, 0, (GLsizeiptr)bytes, GL_MAP_READ_BIT);
	if (rows) {
		copy_rows(read, rows);
		gl->UnmapBuffer(GL_PIXEL_PACK_BUFFER);
	}
	gl->BindBuffer(GL_PIXEL_PACK_BUFFER, 0);
	return rows;
}

static void read_into_frame(struct pv_virgl_reader *self, const struct pv_virgl_read *read)
{
	self->gl.PixelStorei(GL_PACK_INVERT_MESA, read->y_0_top);
	read_rows(self, read, place_of(read), read->stride_bytes);
}

static bool read_attached(struct pv_virgl_reader *self, const struct pv_virgl_read *read)
{
	bool ok = true;

	if (pv_rect_is_empty(&read->rect))
		return true;
	if (self->gl.CheckFramebufferStatus(GL_FRAMEBUFFER) != GL_FRAMEBUFFER_COMPLETE)
		return false;
	if (self->buffer)
		ok = read_by_buffer(self, read);
	else
		read_into_frame(self, read);
	return self->gl.GetError() == GL_NO_ERROR && ok;
}

static void do_read(struct pv_virgl_reader *self, struct pv_virgl_read *read)
{
	if (read->sync)
		wait_for_drawing(self, read);
	if (!attach(self, read))
		return;
	read->ok = read_attached(self, read);
	detach(self);
	/* Errors are sticky, and may be of the attachment. */
	while (!read->ok && self->gl.GetError() != GL_NO_ERROR)
		;
}

static bool can_invert(const struct gl *gl)
{
	GLint n = 0;

	gl->GetIntegerv(GL_NUM_EXTENSIONS, &n);
	while (n-- > 0) {
		const char *name = (const char *)gl->GetStringi(GL_EXTENSIONS, (GLuint)n);

		if (name && strcmp(name, "GL_MESA_pack_invert") == 0)
			return true;
	}
	return false;
}

/* Its lock is left for the loop's. */
static void finish_first(struct pv_virgl_reader *self) PV_REQUIRES(self->lock)
{
	bool post = !self->is_posted;

	append(&self->finished, take_first(&self->queue));
	pv_condition_signal(&self->progress);
	self->is_posted = true;
	pv_mutex_unlock(&self->lock);
	if (post)
		pv_loop_post(self->loop, &self->task);
	pv_mutex_lock(&self->lock);
}

/* As the library's, and sharing its textures. */
static EGLContext make_context(const struct pv_virgl_reader *self)
{
	EGLint id = 0, type = 0, count = 0;
	EGLConfig config = NULL;
	const EGLint attributes[] = {EGL_CONTEXT_MAJOR_VERSION, self->major, EGL_CONTEXT_MINOR_VERSION, self->minor,
				     EGL_NONE};

	if (!eglQueryContext(self->display, self->shared, EGL_CONTEXT_CLIENT_TYPE, &type) || type != EGL_OPENGL_API ||
	    !eglQueryContext(self->display, self->shared, EGL_CONFIG_ID, &id))
		return EGL_NO_CONTEXT;
	/* 0: it has none (EGL_KHR_no_config_context), and neither has this one. */
	if (id != 0 &&
	    (!eglChooseConfig(self->display, (const EGLint[]){EGL_CONFIG_ID, id, EGL_NONE}, &config, 1, &count) ||
	     count != 1))
		return EGL_NO_CONTEXT;
	return eglBindAPI(EGL_OPENGL_API) ? eglCreateContext(self->display, config, self->shared, attributes)
					  : EGL_NO_CONTEXT;
}

static bool begin(struct pv_virgl_reader *self)
{
	const struct gl *gl = &self->gl;

	self->context = make_context(self);
	if (!self->context || !eglMakeCurrent(self->display, EGL_NO_SURFACE, EGL_NO_SURFACE, self->context))
		return false;
	if (self->by_buffer || !can_invert(gl))
		gl->GenBuffers(1, &self->buffer);
	gl->GenFramebuffers(1, &self->framebuffer);
	/*
	 * For drawing as well, though nothing is drawn: where a context without a surface has no framebuffer for it,
	 * NVIDIA's driver (580.159.04) takes 200 ms for a picture of 1280 x 720 in place of 300 us.
	 */
	gl->BindFramebuffer(GL_FRAMEBUFFER, self->framebuffer);
	return gl->GetError() == GL_NO_ERROR;
}

static void end(struct pv_virgl_reader *self)
{
	if (self->framebuffer)
		self->gl.DeleteFramebuffers(1, &self->framebuffer);
	if (self->buffer)
		self->gl.DeleteBuffers(1, &self->buffer);
	eglMakeCurrent(self->display, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
	if (self->context)
		eglDestroyContext(self->display, self->context);
	eglReleaseThread();
}

static void *run(void *user)
{
	struct pv_virgl_reader *self = user;
	bool has_begun = begin(self);

	pv_mutex_lock(&self->lock);
	self->state = has_begun ? READING : FAILED;
	pv_condition_signal(&self->progress);
	while (!self->stop) {
		struct pv_virgl_read *read = self->queue;

		if (!read) {
			pv_condition_wait(&self->work, &self->lock);
			continue;
		}
		pv_mutex_unlock(&self->lock);
		do_read(self, read);
		pv_mutex_lock(&self->lock);
		finish_first(self);
	}
	pv_mutex_unlock(&self->lock);
	end(self);
	return NULL;
}

/* ---- The loop's thread ---- */

static void tell(struct pv_virgl_reader *self)
{
	for (;;) {
		pv_mutex_lock(&self->lock);
		struct pv_virgl_read *read = take_first(&self->finished);
		pv_mutex_unlock(&self->lock);
		if (!read)
			return;
		if (read->sync)
			self->gl.DeleteSync(read->sync);
		read->done(read, read->ok);
	}
}

static void tell_later(struct pv_loop_task *task)
{
	struct pv_virgl_reader *self = PV_CONTAINER_OF(task, struct pv_virgl_reader, task);

	pv_mutex_lock(&self->lock);
	self->is_posted = false;
	pv_mutex_unlock(&self->lock);
	tell(self);
}

void pv_virgl_reader_begin(struct pv_virgl_reader *self, struct pv_virgl_read *read)
{
	read->ok = read->cancelled = false;
	read->sync = NULL;
	if (read->after_drawing) {
		/* The context that drew last is current; those before it were flushed when it became so. */
		read->sync = self->gl.FenceSync(GL_SYNC_GPU_COMMANDS_COMPLETE, 0);
		self->gl.Flush();
	}
	pv_mutex_lock(&self->lock);
	append(&self->queue, read);
	pv_condition_signal(&self->work);
	pv_mutex_unlock(&self->lock);
}

static bool take_if_finished(struct pv_virgl_reader *self, const struct pv_virgl_read *read) PV_REQUIRES(self->lock)
{
	for (struct pv_virgl_read **link = &self->finished; *link; link = &(*link)->next) {
		if (*link != read)
			continue;
		*link = read->next;
		return true;
	}
	return false;
}

bool pv_virgl_reader_read_now(struct pv_virgl_reader *self, struct pv_virgl_read *read)
{
	pv_virgl_reader_begin(self, read);
	pv_mutex_lock(&self->lock);
	while (!take_if_finished(self, read))
		pv_condition_wait(&self->progress, &self->lock);
	pv_mutex_unlock(&self->lock);
	if (read->sync)
		self->gl.DeleteSync(read->sync);
	return read->ok;
}

void pv_virgl_reader_cancel(struct pv_virgl_reader *self, struct pv_virgl_read *read)
{
	pv_mutex_lock(&self->lock);
	read->cancelled = true;
	pv_mutex_unlock(&self->lock);
}

/* ---- Life ---- */

/* The library's context is not used meanwhile. */
static bool wait_for_begin(struct pv_virgl_reader *self)
{
	bool has_begun;

	pv_mutex_lock(&self->lock);
	while (self->state == BEGINNING)
		pv_condition_wait(&self->progress, &self->lock);
	has_begun = self->state == READING;
	pv_mutex_unlock(&self->lock);
	return has_begun;
}

enum pv_status pv_virgl_reader_create(struct pv_loop *loop, bool by_buffer, struct pv_virgl_reader **out)
{
	struct pv_virgl_reader *self = calloc(1, sizeof(*self));
	enum pv_status status = PV_ERR_UNSUPPORTED;

	if (!self)
		return PV_ERR_NO_MEMORY;
	self->loop = loop;
	self->by_buffer = by_buffer;
	self->display = eglGetCurrentDisplay();
	self->shared = eglGetCurrentContext();
	self->task.run = tell_later;
	pv_mutex_init(&self->lock);
	pv_condition_init(&self->work);
	pv_condition_init(&self->progress);
	if (load(&self->gl)) {
		self->gl.GetIntegerv(GL_MAJOR_VERSION, &self->major);
		self->gl.GetIntegerv(GL_MINOR_VERSION, &self->minor);
		status = pv_thread_create("pv-gl-read", run, self, &self->thread);
		self->has_thread = status == PV_OK;
	}
	if (status == PV_OK && !wait_for_begin(self))
		status = PV_ERR_UNSUPPORTED;
	if (status != PV_OK) {
		pv_log(PV_LOG_ERROR, MODULE, "there is no OpenGL context to read pictures with");
		pv_virgl_reader_destroy(self);
		return status;
	}
	*out = self;
	return PV_OK;
}

void pv_virgl_reader_destroy(struct pv_virgl_reader *self)
{
	if (!self)
		return;
	pv_mutex_lock(&self->lock);
	self->stop = true;
	pv_condition_signal(&self->work);
	pv_mutex_unlock(&self->lock);
	if (self->has_thread)
		pthread_join(self->thread, NULL);
	pv_loop_cancel(self->loop, &self->task);
	while (self->queue)
		append(&self->finished, take_first(&self->queue));
	tell(self);
	pv_condition_finish(&self->work);
	pv_condition_finish(&self->progress);
	pv_mutex_finish(&self->lock);
	free(self);
}
