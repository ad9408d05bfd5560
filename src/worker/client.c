/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. Messages go out at the end of a batch; a worker's life is an epoch. It ends with its process,
 * nothing less: only then does nobody write to the window or to guest memory any more. Until then (it was killed, or
 * broke the protocol and is being killed) ops are kept without being sent. Then everything pending is answered,
 * contexts and resources of that epoch answer with errors but for their end, and rings get their last words. The next
 * worker is started at once, later each time one did not live long.
 *
 * One that hangs is no better than a dead one. While something is pending it is sent a PING now and then, which its
 * loop answers whatever the GPU is doing; silence for several of them in a row is its end. They are counted, not timed:
 * if this process was stopped as well, no time has passed for anybody.
 *
 * Nothing the worker sends is trusted: it runs drivers that run the guest's shaders.
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/pages.h"
#include "base/socket.h"
#include "worker/client_internal.h"

#define MODULE "worker"

/* Drivers that compile what they need at the start take seconds. */
#define START_TIMEOUT_NS UINT64_C(30000000000)
/* The VMM may be waiting: its user is told why. */
#define START_NOTICE_NS UINT64_C(5000000000)
/* One that lived shorter is no reason to start the next at once. */
#define SHORT_LIFE_NS    UINT64_C(10000000000)
#define FIRST_DELAY_NS   UINT64_C(1000000000)
#define LONGEST_DELAY_NS UINT64_C(60000000000)
/* OpenGL is drawn in the loop, and a software renderer can take seconds for a picture. */
#define WATCH_INTERVAL_NS UINT64_C(5000000000)
#define MAX_UNANSWERED    6
/* A worker that does not read: ops that can fail do, and it is ended when even the others do not fit. */
#define SOFT_QUEUE_BYTES (64u << 20)
#define HARD_QUEUE_BYTES (128u << 20)
/* Messages taken in a row before others have their turn. */
#define MAX_READS 16

/* ---- What waits ---- */

uint64_t pv_worker_client_add_pending(struct pv_worker_client *client, struct pv_worker_pending what)
{
	what.epoch = client->epoch;
	return pv_worker_pendings_add(&client->pending, &what);
}

/* The fences of one timeline signal in their order. */
static void settle(struct pv_worker_client *client, const struct pv_worker_pending *fence)
{
	struct pv_worker_context *context = pv_id_map_get(&client->contexts, fence->ctx_id);

	/* It may be another context of the same id. */
	if (context && (int32_t)(fence->serial - context->since_serial) > 0)
		context->settled = fence->asked;
}

void pv_worker_client_asked(struct pv_worker_client *client, uint32_t ctx_id)
{
	struct pv_worker_context *context = pv_id_map_get(&client->contexts, ctx_id);

	if (context)
		context->asked++;
}

void pv_worker_client_answer(struct pv_worker_client *client, uint32_t index, enum pv_status status)
{
	struct pv_worker_pending done = pv_worker_pendings_remove(&client->pending, index);
	const struct pv_renderer_events *events = &client->base.events;
	struct pv_worker_resource *resource;

	switch (done.kind) {
	case PV_WORKER_PENDING_OWN_FENCE:
		settle(client, &done);
		events->fence_signalled(events->user, done.id);
		return;
	case PV_WORKER_PENDING_FENCE:
		events->fence_signalled(events->user, done.id);
		return;
	case PV_WORKER_PENDING_MAP:
		resource = pv_id_map_get(&client->resources, done.resource_id);
		/* It may be another resource of the same id. */
		if (status != PV_OK && resource && resource->map_token >> 32 == done.serial)
			resource->mapped = false;
		break;
	case PV_WORKER_PENDING_UNMAP:
		status = PV_OK;
		break;
	case PV_WORKER_PENDING_FLUSH:
		resource = pv_id_map_get(&client->resources, done.resource_id);
		if (resource)
			pv_worker_resource_flushed(resource, &done.rect);
		break;
	case PV_WORKER_PENDING_FETCH:
		resource = pv_id_map_get(&client->resources, done.resource_id);
		if (resource && resource->frame && resource->fetch_token >> 32 == done.serial)
			pv_frame_fetched(resource->frame);
		return;
	default:
		break;
	}
	events->op_done(events->user, done.id, status);
}

/* ---- Sending ---- */

static void lose(struct pv_worker_client *client, const char *reason);

/* Until nothing is pending any more. */
static void watch(struct pv_worker_client *client)
{
	if (client->watching || client->state != PV_WORKER_UP || client->pending.first == PV_WORKER_NONE)
		return;
	client->watching = true;
	client->unanswered = 0;
	pv_loop_arm_timer(client->timer, pv_now_ns() + client->watch_interval_ns);
}

void pv_worker_client_flush(struct pv_worker_client *client)
{
	enum pv_status status;

	if (!pv_worker_client_can_send(client) || pv_worker_channel_pending_bytes(&client->channel) == 0)
		return;
	watch(client);
	status = pv_worker_channel_flush(&client->channel);
	pv_loop_set_events(client->watch, status == PV_PENDING ? PV_LOOP_READ | PV_LOOP_WRITE : PV_LOOP_READ);
	if (status != PV_OK && status != PV_PENDING)
		lose(client, "its socket is closed");
}

bool pv_worker_client_can_send(const struct pv_worker_client *client)
{
	return client->state == PV_WORKER_UP || client->state == PV_WORKER_STARTING;
}

/* For what cannot fail: without it the worker would no longer know what the guest has. */
void *pv_worker_client_put(struct pv_worker_client *client, enum pv_worker_request type, size_t len, int fd)
{
	void *message = NULL;

	if (!pv_worker_client_can_send(client))
		return NULL;
	if (pv_worker_channel_pending_bytes(&client->channel) < HARD_QUEUE_BYTES)
		message = pv_worker_channel_put(&client->channel, (uint16_t)type, len, fd);
	if (!message)
		lose(client, "it does not take its messages");
	return message;
}

void pv_worker_client_send_ids(struct pv_worker_client *client, enum pv_worker_request type, struct pv_worker_ids ids)
{
	struct pv_worker_ids *message = pv_worker_client_put(client, type, sizeof(*message), -1);

	if (message)
		*message = ids;
}

enum pv_status pv_worker_client_begin(struct pv_worker_client *client, struct pv_worker_pending op,
				      enum pv_worker_request type, size_t len, void **out_message, uint64_t *out_token)
{
	bool can_send = pv_worker_client_can_send(client);

	pv_worker_client_asked(client, op.ctx_id);
	if (can_send && pv_worker_channel_pending_bytes(&client->channel) > SOFT_QUEUE_BYTES)
		return PV_ERR_NO_MEMORY;
	*out_token = pv_worker_client_add_pending(client, op);
	if (!*out_token)
		return PV_ERR_NO_MEMORY;
	*out_message = can_send ? pv_worker_channel_put(&client->channel, (uint16_t)type, len, -1) : NULL;
	if (!*out_message && can_send) {
		(void)pv_worker_pendings_remove(&client->pending, (uint32_t)*out_token);
		return PV_ERR_NO_MEMORY;
	}
	return PV_PENDING;
}

bool pv_worker_client_is_current(const struct pv_worker_client *client, uint32_t epoch)
{
	return client->state != PV_WORKER_DOWN && epoch == client->epoch;
}

struct pv_worker_context *pv_worker_client_context(struct pv_worker_client *client, uint32_t ctx_id)
{
	struct pv_worker_context *context = pv_id_map_get(&client->contexts, ctx_id);

	return context && pv_worker_client_is_current(client, context->epoch) ? context : NULL;
}

struct pv_worker_resource *pv_worker_client_resource(struct pv_worker_client *client, uint32_t resource_id)
{
	struct pv_worker_resource *resource = pv_id_map_get(&client->resources, resource_id);

	return resource && pv_worker_client_is_current(client, resource->epoch) ? resource : NULL;
}

/* ---- The life of a worker ---- */

static void start(struct pv_worker_client *client);
static void ended(void *user);
static void ready(void *user, uint32_t events);

bool pv_worker_client_reads_memory(const struct pv_worker_client *client)
{
	return client->known && client->ready.wants_memory;
}

/* A message for each file, then one that says where the parts lie. */
void pv_worker_client_send_memory(struct pv_worker_client *client)
{
	struct pv_guest_part parts[PV_GUEST_MAX_REGIONS];
	int fds[PV_WORKER_MAX_FILES];
	size_t nr_files = PV_WORKER_MAX_FILES, n;
	struct pv_worker_memory *message;

	n = pv_guest_map_parts(client->map, parts, fds, &nr_files);
	for (size_t i = 0; i < nr_files; i++)
		(void)pv_worker_client_put(client, PV_WORKER_FILE, 0, fds[i]);
	message = pv_worker_client_put(client, PV_WORKER_MEMORY, sizeof(*message) + n * sizeof(parts[0]), -1);
	if (message) {
		message->nr_parts = n;
		if (n)
			memcpy(message->parts, parts, n * sizeof(parts[0]));
	}
	pv_worker_client_flush(client);
}

void pv_worker_client_send_window(struct pv_worker_client *client)
{
	struct pv_worker_window *message =
	    pv_worker_client_put(client, PV_WORKER_WINDOW, sizeof(*message), client->window_fd);

	if (message)
		message->size_bytes = client->window_bytes;
}

static void look_at_it(struct pv_worker_client *client)
{
	client->watching = false;
	if (client->unanswered == MAX_UNANSWERED) {
		lose(client, "it hangs");
		return;
	}
	if (client->pending.first == PV_WORKER_NONE)
		return;
	if (client->unanswered++ == 0)
		(void)pv_worker_client_put(client, PV_WORKER_PING, 0, -1);
	if (client->state != PV_WORKER_UP)
		return;
	client->watching = true;
	pv_loop_arm_timer(client->timer, pv_now_ns() + client->watch_interval_ns);
	pv_worker_client_flush(client);
}

static void expired(void *user)
{
	struct pv_worker_client *client = user;

	if (client->state == PV_WORKER_STARTING)
		lose(client, "it took too long to start");
	else if (client->state == PV_WORKER_UP)
		look_at_it(client);
	else if (client->state == PV_WORKER_DOWN)
		start(client);
}

static uint64_t next_delay(struct pv_worker_client *client)
{
	uint64_t delay = client->delay_ns;

	if (pv_now_ns() - client->started_ns >= SHORT_LIFE_NS)
		return client->delay_ns = 0;
	client->delay_ns = delay ? pv_min_u64(delay * 2, LONGEST_DELAY_NS) : FIRST_DELAY_NS;
	return delay;
}

static void start_later(struct pv_worker_client *client, uint64_t delay_ns)
{
	pv_log(PV_LOG_WARNING, MODULE, "the next one is started in %llu seconds",
	       (unsigned long long)(delay_ns / 1000000000));
	pv_loop_arm_timer(client->timer, pv_now_ns() + delay_ns);
}

static enum pv_status launch(struct pv_worker_client *client)
{
	struct pv_worker_hello *hello;
	int fds[2];
	enum pv_status status = pv_socket_pair(fds);

	if (status != PV_OK)
		return status;
	client->started_ns = pv_now_ns();
	client->reason = NULL;
	client->nr_confirmed = 0;
	status = client->launcher.start(client->launcher.user, fds[1], ended, client, &client->worker);
	if (status != PV_OK) {
		client->worker = NULL;
		pv_fd_close(&fds[0]);
		return status;
	}
	pv_worker_channel_init(&client->channel, fds[0]);
	client->state = PV_WORKER_STARTING;
	status = pv_loop_add_fd(client->loop, client->channel.fd, PV_LOOP_READ, ready, client, &client->watch);
	hello = status == PV_OK ? pv_worker_channel_put(&client->channel, PV_WORKER_HELLO, sizeof(*hello), -1) : NULL;
	if (!hello) {
		lose(client, "this host has no memory");
		return PV_OK; /* It ends and is tried again. */
	}
	*hello = client->hello;
	hello->version = PV_WORKER_VERSION;
	return PV_OK;
}

static void start(struct pv_worker_client *client)
{
	if (launch(client) != PV_OK) {
		pv_log(PV_LOG_ERROR, MODULE, "the renderers' process cannot be started");
		start_later(client, LONGEST_DELAY_NS);
		return;
	}
	client->restarts++;
	if (client->window_fd >= 0)
		pv_worker_client_send_window(client);
	if (pv_worker_client_reads_memory(client))
		pv_worker_client_send_memory(client);
	pv_worker_client_flush(client);
	pv_loop_arm_timer(client->timer, pv_now_ns() + client->start_timeout_ns);
}

/* From now on it is only waited for its end. */
static void lose(struct pv_worker_client *client, const char *reason)
{
	if (client->state == PV_WORKER_DOWN || client->state == PV_WORKER_DYING)
		return;
	client->state = PV_WORKER_DYING;
	client->watching = false;
	client->reason = reason;
	pv_loop_disarm_timer(client->timer);
	pv_loop_remove_fd(client->watch);
	client->watch = NULL;
	pv_worker_channel_finish(&client->channel);
	client->launcher.kill(client->worker);
}

/* The guest looks at words of a ring to see whether somebody is there. The window is a file of ours of a fixed size. */
static void say_last_words(struct pv_worker_client *client)
{
	for (uint32_t i = 0; i < client->resources.capacity; i++) {
		const struct pv_worker_resource *resource = client->resources.slots[i].value;

		if (client->resources.slots[i].id == 0 || resource->epoch != client->epoch || !resource->mapped)
			continue;
		for (uint32_t n = 0; n < resource->nr_last_words; n++) {
			const struct pv_worker_word *word = &resource->last_words[n];
			void *bytes;

			if (pv_pages_map_file(client->window_fd, resource->map_offset + word->offset_bytes,
					      sizeof(uint32_t), &bytes) != PV_OK)
				continue;
			atomic_fetch_or_explicit((_Atomic uint32_t *)bytes, word->bits, memory_order_seq_cst);
			pv_pages_unmap_file(bytes, sizeof(uint32_t));
		}
	}
}

static uint32_t count_contexts(const struct pv_worker_client *client)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < client->contexts.capacity; i++)
		n += client->contexts.slots[i].id != 0 &&
		     ((const struct pv_worker_context *)client->contexts.slots[i].value)->epoch == client->epoch;
	return n;
}

static void ended(void *user)
{
	struct pv_worker_client *client = user;
	uint32_t epoch = client->epoch;
	long long pid = client->launcher.pid(client->worker);
	char how[PV_WORKER_HOW_BYTES];
	uint64_t delay_ns;

	lose(client, NULL);
	client->launcher.release(client->worker, how);
	client->worker = NULL;
	pv_log(PV_LOG_ERROR, MODULE, "the renderers' process %lld is gone: %s%s%s; contexts lost: %u", pid,
	       client->reason ? client->reason : "", client->reason ? ": " : "", how, count_contexts(client));
	say_last_words(client);
	if (client->base.events.lost)
		client->base.events.lost(client->base.events.user);
	client->epoch++;
	client->state = PV_WORKER_DOWN;
	/* Before the guest hears of it, so that what it makes next has somebody to go to. */
	delay_ns = next_delay(client);
	if (delay_ns)
		start_later(client, delay_ns);
	else
		start(client);
	while (client->pending.first != PV_WORKER_NONE && client->pending.entries[client->pending.first].epoch == epoch)
		pv_worker_client_answer(client, client->pending.first, PV_ERR_HOST);
	pv_worker_client_flush(client);
}

/* ---- What the worker says ---- */

static bool ends_with_zero(const char *text)
{
	return memchr(text, 0, PV_WORKER_NAME_BYTES) != NULL;
}

static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static const char *take_capset(struct pv_worker_client *client, const struct pv_worker_message *message)
{
	const struct pv_worker_capset *guess = message->payload;
	struct pv_worker_capset head;
	struct pv_worker_known_capset *known = &client->capsets[client->nr_confirmed];

	if (message->len < sizeof(head))
		return "a capability set is too short";
	memcpy(&head, guess, sizeof(head));
	if (client->state != PV_WORKER_STARTING || client->nr_confirmed == PV_ARRAY_LEN(client->capsets) ||
	    head.info.id == 0 || head.len_bytes > PV_WORKER_MAX_CAPSET_BYTES ||
	    head.len_bytes > message->len - sizeof(head) || head.info.max_size_bytes > PV_WORKER_MAX_CAPSET_BYTES ||
	    head.info.max_version >= PV_WORKER_MAX_VERSIONS)
		return "an impossible capability set";
	if (client->known) {
		/*
		 * The guest's driver has read them, and they stay. What they say may differ (VirGL's are not the same
		 * bytes in two processes); what they are may not.
		 */
		if (client->nr_confirmed == client->nr_capsets || known->info.id != head.info.id ||
		    known->version != head.version || known->len_bytes != head.len_bytes)
			return "its renderers are no longer those that the guest knows";
	} else {
		*known = (struct pv_worker_known_capset){
		    .info = head.info, .version = head.version, .len_bytes = head.len_bytes};
		memcpy(known->bytes, guess->bytes, head.len_bytes);
		client->nr_capsets++;
	}
	client->nr_confirmed++;
	return NULL;
}

static const char *take_ready(struct pv_worker_client *client, const struct pv_worker_message *message)
{
	struct pv_worker_ready copy;

	if (client->state != PV_WORKER_STARTING || message->len != sizeof(copy))
		return "it is ready when nobody asked";
	memcpy(&copy, message->payload, sizeof(copy));
	if (copy.status > PV_ERR_UNSUPPORTED || copy.status == PV_PENDING)
		return "an answer that there is not";
	if (!ends_with_zero(copy.device) || !ends_with_zero(copy.driver))
		return "names without an end";
	if (copy.version != PV_WORKER_VERSION)
		return "it is of another version of this program";
	make_printable(copy.device);
	make_printable(copy.driver);
	if (client->known &&
	    (copy.status != PV_OK || client->nr_confirmed != client->nr_capsets ||
	     copy.has_opengl != client->ready.has_opengl || copy.wants_memory != client->ready.wants_memory))
		return copy.status != PV_OK ? "its renderers do not start any more"
					    : "its renderers are no longer those that the guest knows";
	client->state = PV_WORKER_UP;
	pv_loop_disarm_timer(client->timer);
	if (client->known) {
		pv_log(PV_LOG_INFO, MODULE, "the renderers are back, in process %lld",
		       (long long)client->launcher.pid(client->worker));
	} else {
		/* Once: another thread tells people of it. */
		client->ready = copy;
		client->known = true;
	}
	return NULL;
}

static const char *take_done(struct pv_worker_client *client, const struct pv_worker_message *message)
{
	struct pv_worker_done done;
	uint32_t index;

	if (message->len != sizeof(done))
		return "an answer of the wrong size";
	memcpy(&done, message->payload, sizeof(done));
	if (done.status > PV_ERR_UNSUPPORTED || done.status == PV_PENDING)
		return "an answer that there is not";
	index = pv_worker_pendings_find(&client->pending, done.token);
	/* Forgotten ones are normal: a reset, or the end of a context, was on its way. */
	if (index != PV_WORKER_NONE)
		pv_worker_client_answer(client, index, (enum pv_status)done.status);
	return NULL;
}

static const char *take_last_word(struct pv_worker_client *client, const struct pv_worker_message *message)
{
	struct pv_worker_last_word word;
	struct pv_worker_resource *resource;

	if (message->len != sizeof(word))
		return "a last word of the wrong size";
	memcpy(&word, message->payload, sizeof(word));
	resource = pv_worker_client_resource(client, word.resource_id);
	/* The guest may have destroyed it in the meantime. */
	if (!resource || resource->info.kind != PV_RESOURCE_HOST_BLOB || word.offset_bytes % sizeof(uint32_t) ||
	    !pv_range_fits(word.offset_bytes, sizeof(uint32_t), resource->info.size_bytes))
		return NULL;
	resource->last_words[resource->nr_last_words % PV_WORKER_MAX_WORDS] =
	    (struct pv_worker_word){word.offset_bytes, word.bits};
	if (resource->nr_last_words < PV_WORKER_MAX_WORDS)
		resource->nr_last_words++;
	return NULL;
}

static const char *take_memory_bytes(struct pv_worker_client *client, const struct pv_worker_message *message)
{
	struct pv_worker_memory_bytes memory;
	struct pv_worker_context *context;

	if (message->len != sizeof(memory))
		return "a number of the wrong size";
	memcpy(&memory, message->payload, sizeof(memory));
	context = pv_worker_client_context(client, memory.ctx_id);
	if (context)
		context->memory_bytes = memory.size_bytes;
	return NULL;
}

static const char *take_dma_buf(struct pv_worker_client *client, const struct pv_worker_message *message)
{
	const struct pv_worker_resource *resource;
	struct pv_worker_dma_buf event;
	struct pv_dma_buf buf;

	if (!message->has_fd || !client->hello.with_dma_bufs)
		return "a dma-buf that nobody asked for, or without one";
	if (message->len != sizeof(event))
		return "a dma-buf of the wrong size";
	memcpy(&event, message->payload, sizeof(event));
	resource = pv_worker_client_resource(client, event.resource_id);
	/* The guest may have destroyed it, or have it shown in another way, in the meantime. */
	if (!resource || !resource->frame || resource->frame_number != event.frame_number || resource->frame->dma_buf ||
	    client->nr_dma_bufs == PV_DMA_BUF_MAX)
		return NULL;
	buf = (struct pv_dma_buf){.fd = pv_worker_channel_take_fd(&client->channel),
				  .stride_bytes = event.stride_bytes,
				  .fourcc = event.fourcc,
				  .modifier = event.modifier,
				  .y_0_top = event.y_0_top};
	pv_frame_set_dma_buf(resource->frame, &buf);
	client->nr_dma_bufs += resource->frame->dma_buf != NULL;
	return NULL;
}

/* Returns what is wrong; NULL: nothing. */
static const char *take_message(struct pv_worker_client *client, const struct pv_worker_message *message)
{
	if (message->type == PV_WORKER_DMA_BUF)
		return take_dma_buf(client, message);
	if (message->has_fd)
		return "an fd that nobody asked for";
	switch (message->type) {
	case PV_WORKER_CAPSET:
		return take_capset(client, message);
	case PV_WORKER_READY:
		return take_ready(client, message);
	case PV_WORKER_DONE:
		return take_done(client, message);
	case PV_WORKER_PONG:
		client->unanswered = 0;
		return NULL;
	case PV_WORKER_LAST_WORD:
		return take_last_word(client, message);
	case PV_WORKER_MEMORY_BYTES:
		return take_memory_bytes(client, message);
	default:
		return "a message that there is not";
	}
}

/* Reads once. PV_PENDING: nothing was there. */
static enum pv_status receive(struct pv_worker_client *client)
{
	enum pv_status status = pv_worker_channel_receive(&client->channel);
	struct pv_worker_message message;

	if (status == PV_ERR_PEER)
		lose(client, NULL);
	else if (status == PV_ERR_NO_MEMORY)
		lose(client, "no memory for its messages");
	while (status == PV_OK && pv_worker_client_can_send(client)) {
		const char *wrong;

		status = pv_worker_channel_next(&client->channel, &message);
		if (status == PV_PENDING)
			return PV_OK;
		wrong = status == PV_OK ? take_message(client, &message) : "no message at all";
		if (wrong)
			lose(client, wrong);
	}
	return status;
}

static void ready(void *user, uint32_t events)
{
	struct pv_worker_client *client = user;

	if (events & PV_LOOP_WRITE)
		pv_worker_client_flush(client);
	for (int i = 0; i < MAX_READS && pv_worker_client_can_send(client); i++)
		if (receive(client) != PV_OK)
			break;
	/* What the core did in between. */
	pv_worker_client_flush(client);
}

/* ---- The whole ---- */

void pv_worker_client_destroy(struct pv_worker_client *client)
{
	pv_loop_remove_fd(client->watch);
	/* The worker ends when its socket does. */
	pv_worker_channel_finish(&client->channel);
	if (client->worker)
		client->launcher.release(client->worker, (char[PV_WORKER_HOW_BYTES]){0});
	pv_loop_remove_timer(client->timer);
	pv_id_map_finish(&client->contexts);
	pv_id_map_finish(&client->resources);
	pv_guest_map_unref(client->map);
	pv_worker_pendings_finish(&client->pending);
	free(client);
}

static enum pv_status did_not_start(struct pv_worker_client *client, const char *reason)
{
	char how[PV_WORKER_HOW_BYTES];

	lose(client, reason);
	client->launcher.release(client->worker, how);
	client->worker = NULL;
	pv_log(PV_LOG_ERROR, MODULE,
	       "the renderers' process did not start: %s%s%s; most likely a GPU driver is to blame",
	       client->reason ? client->reason : "", client->reason ? ": " : "", how);
	return PV_ERR_HOST;
}

/* The only wait. */
static enum pv_status wait_until_ready(struct pv_worker_client *client)
{
	uint64_t deadline_ns = client->started_ns + client->start_timeout_ns;
	uint64_t notice_ns = client->started_ns + START_NOTICE_NS;

	pv_worker_client_flush(client);
	while (client->state == PV_WORKER_STARTING) {
		uint64_t now_ns = pv_now_ns(), until_ns = pv_min_u64(deadline_ns, notice_ns);
		struct pollfd fd = {.fd = client->channel.fd, .events = POLLIN};

		if (now_ns >= deadline_ns)
			return did_not_start(client, "it took too long");
		if (now_ns >= notice_ns) {
			pv_log(PV_LOG_WARNING, MODULE, "the GPU's driver takes long to start, in process %lld",
			       (long long)client->launcher.pid(client->worker));
			notice_ns = UINT64_MAX;
		} else if (poll(&fd, 1, (int)((until_ns - now_ns) / 1000000 + 1)) > 0) {
			(void)receive(client);
		}
	}
	return client->state == PV_WORKER_UP ? (enum pv_status)client->ready.status : did_not_start(client, NULL);
}

enum pv_status pv_worker_client_create(const struct pv_worker_client_params *params, struct pv_renderer **out)
{
	struct pv_worker_client *client = calloc(1, sizeof(*client));
	enum pv_status status;

	if (!client)
		return PV_ERR_NO_MEMORY;
	client->base.ops = &pv_worker_client_ops;
	client->loop = params->loop;
	client->launcher = params->launcher;
	client->hello = params->hello;
	client->start_timeout_ns = params->start_timeout_ns ? params->start_timeout_ns : START_TIMEOUT_NS;
	client->watch_interval_ns = params->watch_interval_ns ? params->watch_interval_ns : WATCH_INTERVAL_NS;
	client->channel.fd = client->channel.current_fd = client->window_fd = -1;
	pv_worker_pendings_init(&client->pending);
	status = pv_loop_add_timer(client->loop, expired, client, &client->timer);
	if (status == PV_OK)
		status = launch(client);
	if (status == PV_OK)
		status = wait_until_ready(client);
	if (status != PV_OK) {
		pv_renderer_destroy(&client->base);
		return status;
	}
	if (client->ready.has_opengl)
		client->base.ops = &pv_worker_client_opengl_ops;
	*out = &client->base;
	return PV_OK;
}

void pv_worker_client_status(struct pv_renderer *renderer, struct pv_worker_client_status *out)
{
	const struct pv_worker_client *client = pv_worker_client_of(renderer);

	*out = (struct pv_worker_client_status){
	    .pid = client->worker ? client->launcher.pid(client->worker) : 0,
	    .restarts = client->restarts,
	    .device = client->ready.device,
	    .driver = client->ready.driver,
	};
}
