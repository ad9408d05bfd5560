/* SPDX-License-Identifier: MIT */
/*
 * The library waits for the host's GPU on a thread of its own and makes a descriptor readable when something has ended;
 * what it was is told when we ask, on the loop's thread. So nothing is polled on a timer.
 */
#include "virgl/library.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <EGL/egl.h>

#include "base/log.h"
#include "base/socket.h"
#include "virgl/opengl.h"

#define MODULE "virgl"

/* The library has one instance for the process. Set and cleared by its owner's thread. */
static _Atomic(struct pv_virgl_library *) owner;

/* ---- Log ---- */

/* A guest can make it write as much as it likes. */
static void log_line(enum pv_log_level level, const char *text)
{
	size_t len = strcspn(text, "\r\n");

	if (len > 0)
		PV_LOG_LIMITED(level, MODULE, "%.*s", len < 400 ? (int)len : 400, text);
}

#ifdef PV_VIRGL_HAS_LOG_CALLBACK
static void log_message(enum virgl_log_level_flags level, const char *message, void *user)
{
	static const enum pv_log_level levels[] = {
	    [VIRGL_LOG_LEVEL_DEBUG] = PV_LOG_DEBUG,
	    [VIRGL_LOG_LEVEL_INFO] = PV_LOG_DEBUG,
	    [VIRGL_LOG_LEVEL_WARNING] = PV_LOG_WARNING,
	    [VIRGL_LOG_LEVEL_ERROR] = PV_LOG_WARNING,
	};

	(void)user;
	log_line((size_t)level < PV_ARRAY_LEN(levels) ? levels[level] : PV_LOG_DEBUG, message);
}

static void redirect_log(void)
{
	virgl_set_log_callback(log_message, NULL, NULL);
}
#else
static PV_PRINTF(1, 0) void log_message(const char *fmt, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, args);
	log_line(PV_LOG_WARNING, text);
}

static void redirect_log(void)
{
	(void)virgl_set_debug_callback(log_message);
}
#endif

/* ---- Fences ---- */

static void write_fence(void *cookie, uint32_t fence_id)
{
	struct pv_virgl_library *library = cookie;

	library->fence(library->user, fence_id);
}

static void write_context_fence(void *cookie, uint32_t ctx_id, uint32_t ring_idx, uint64_t fence_id)
{
	struct pv_virgl_library *library = cookie;

	(void)ring_idx;
	library->context_fence(library->user, ctx_id, fence_id);
}

static void fences_ready(void *user, uint32_t events)
{
	struct pv_virgl_library *library = user;

	(void)events;
	virgl_renderer_poll();
	library->polled(library->user);
}

/* ---- Render node ---- */

/* The library owns it from here on, whether it can use it or not. */
static int take_render_node(void *cookie)
{
	struct pv_virgl_library *library = cookie;
	int fd = library->render_node_fd;

	library->render_node_fd = -1;
	return fd;
}

static enum pv_status open_render_node(struct pv_virgl_library *library, const char *path)
{
	library->render_node_fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (library->render_node_fd >= 0)
		return PV_OK;
	pv_log(PV_LOG_ERROR, MODULE, "the render node %s cannot be opened: %s", path, strerror(errno));
	return PV_ERR_UNSUPPORTED;
}

/* ---- Life ---- */

typedef const unsigned char *get_string(unsigned int name);

static void copy_string(get_string *get, unsigned int name, char *to, size_t size)
{
	const unsigned char *text = get ? get(name) : NULL;
	size_t len = 0;

	for (; text && text[len] && len < size - 1; len++)
		to[len] = (char)(text[len] >= 0x20 && text[len] < 0x7f ? text[len] : '?');
	to[len] = '\0';
}

/* The library has a context that is current from here on. */
static void describe_gl(struct pv_virgl_library *library)
{
	get_string *get = (get_string *)eglGetProcAddress("glGetString");

	virgl_renderer_force_ctx_0();
	copy_string(get, 0x1F01 /* GL_RENDERER */, library->gl_name, sizeof(library->gl_name));
	copy_string(get, 0x1F02 /* GL_VERSION */, library->gl_version, sizeof(library->gl_version));
}

enum pv_status pv_virgl_library_init(struct pv_virgl_library *library, struct pv_loop *loop, const char *render_node)
{
	struct pv_virgl_library *none = NULL;
	int fd, flags = 0;
	enum pv_status status = pv_virgl_opengl_flags(&flags);

	if (status != PV_OK)
		return status;
	/*
	 * External blobs: the guest could map what the host's driver mapped, if we could put that into the window.
	 * Without this flag the library counts on it and offers GL_ARB_buffer_storage.
	 * Surfaceless: EGL chooses, and can draw on the CPU. The library puts it before a render node that is given.
	 */
	flags |= VIRGL_RENDERER_USE_EGL | VIRGL_RENDERER_THREAD_SYNC | VIRGL_RENDERER_USE_EXTERNAL_BLOB |
		 (render_node ? 0 : VIRGL_RENDERER_USE_SURFACELESS);
	if (!atomic_compare_exchange_strong_explicit(&owner, &none, library, memory_order_acquire,
						     memory_order_relaxed)) {
		pv_log(PV_LOG_ERROR, MODULE, "this process has an OpenGL renderer already, and virglrenderer is one");
		return PV_ERR_HOST;
	}
	redirect_log();
	library->render_node_fd = -1;
	status = render_node ? open_render_node(library, render_node) : PV_OK;
	if (status != PV_OK)
		goto out_owner;
	library->callbacks = (struct virgl_renderer_callbacks){.version = 3,
							       .write_fence = write_fence,
							       .write_context_fence = write_context_fence,
							       .get_drm_fd = take_render_node};
	int error = virgl_renderer_init(library, flags, &library->callbacks);
	pv_fd_close(&library->render_node_fd);
	if (error) {
		pv_log(PV_LOG_WARNING, MODULE, "virglrenderer cannot start (%d): has %s EGL and OpenGL?", error,
		       render_node ? render_node : "this host");
		status = PV_ERR_UNSUPPORTED;
		goto out_owner;
	}
	fd = virgl_renderer_get_poll_fd();
	if (fd < 0) {
		pv_log(PV_LOG_ERROR, MODULE, "virglrenderer has no thread for fences: is VIRGL_DISABLE_MT set?");
		status = PV_ERR_UNSUPPORTED;
		goto out_library;
	}
	status = pv_loop_add_fd(loop, fd, PV_LOOP_READ, fences_ready, library, &library->watch);
	if (status != PV_OK)
		goto out_library;
	describe_gl(library);
	return PV_OK;

out_library:
	virgl_renderer_cleanup(library);
out_owner:
	atomic_store_explicit(&owner, NULL, memory_order_release);
	return status;
}

void pv_virgl_library_finish(struct pv_virgl_library *library)
{
	pv_loop_remove_fd(library->watch);
	virgl_renderer_cleanup(library);
	atomic_store_explicit(&owner, NULL, memory_order_release);
}
