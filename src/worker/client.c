/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. Each op becomes a message and, if somebody waits for it, an entry in `pending`, whose token the
 * worker repeats. Messages go out at the end of a batch. What must be answered at once is known here: capability sets
 * from the start, pictures because their memory is ours.
 *
 * A worker's life is an epoch. It ends with its process, nothing less: only then does nobody write to the window or to
 * guest memory any more. Until then (it was killed, or broke the protocol and is being killed) ops are kept without
 * being sent. Then everything pending is answered, contexts and resources of that epoch answer with errors but for
 * their end, and rings get their last words. The next worker is started at once, later each time one did not live long.
 *
 * Nothing the worker sends is trusted: it runs drivers that run the guest's shaders.
 */
#include "worker/client.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/id_map.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/pages.h"
#include "base/socket.h"
#include "gpu/protocol.h"
#include "worker/channel.h"

#define MODULE "worker"

/* Drivers that compile what they need at the start take seconds. */
#define START_TIMEOUT_NS UINT64_C(30000000000)
/* One that lived shorter is no reason to start the next at once. */
#define SHORT_LIFE_NS    UINT64_C(10000000000)
#define FIRST_DELAY_NS   UINT64_C(1000000000)
#define LONGEST_DELAY_NS UINT64_C(60000000000)
/* A worker that does not read: ops that can fail do, and it is ended when even the others do not fit. */
#define SOFT_QUEUE_BYTES (64u << 20)
#define HARD_QUEUE_BYTES (128u << 20)
#define MAX_LAST_WORDS   8 /* of a resource */
/* Messages taken in a row before others have their turn. */
#define MAX_READS 16

enum state {
	DOWN,     /* there is no worker; the timer may be running */
	STARTING, /* what is sent waits in the socket */
	UP,
	DYING, /* its end is not known yet */
};

enum kind { OP, FENCE, CREATE, MAP, UNMAP };

/* Something that waits for the worker. */
struct pending {
	uint64_t id;
	uint32_t serial, epoch;
	enum kind kind;
	uint32_t ctx_id, resource_id;
	uint32_t next, prev; /* in the list of used or (next only) free ones; NONE: the end */
};
#define NONE UINT32_MAX

struct context {
	uint32_t id, epoch;
	uint64_t memory_bytes; /* as the worker said last */
};

struct last_word {
	uint64_t offset_bytes;
	uint32_t bits;
};

struct resource {
	uint32_t id, epoch;
	struct pv_resource_info info;
	bool mapped;
	uint64_t map_offset, map_token;
	struct pv_frame *frame; /* counted; NULL: none was asked for */
	struct last_word last_words[MAX_LAST_WORDS];
	uint32_t nr_last_words;
};

struct capset {
	struct pv_capset_info info;
	uint32_t version, len_bytes;
	uint8_t bytes[PV_WORKER_MAX_CAPSET_BYTES];
};

struct client {
	struct pv_renderer base;
	struct pv_loop *loop;
	struct pv_worker_launcher launcher;
	struct pv_worker_hello hello;
	uint64_t start_timeout_ns;

	enum state state;
	uint32_t epoch;
	void *worker; /* of the launcher; NULL: none */
	struct pv_worker_channel channel;
	struct pv_loop_fd *watch;
	struct pv_loop_timer *timer; /* to the start, or to its end */
	uint64_t started_ns, delay_ns;
	uint32_t restarts;
	const char *reason; /* why it is DYING; NULL: it went by itself */

	/* Immutable once the first worker is ready, as is what it is good for. */
	struct pv_worker_ready ready;
	struct capset capsets[PV_WORKER_MAX_CAPSETS * PV_WORKER_MAX_VERSIONS];
	size_t nr_capsets;
	size_t nr_confirmed; /* by the worker that is STARTING */
	bool known;          /* that time has come */

	int window_fd; /* borrowed; -1: none */
	uint64_t window_bytes;
	struct pv_guest_map *map; /* counted; NULL: none */

	struct pv_id_map contexts, resources;
	struct pending *pending;
	uint32_t nr_pending; /* entries, used and free */
	uint32_t first, last, first_free;
	uint32_t next_serial;
};

static struct client *client_of(struct pv_renderer *renderer)
{
	return PV_CONTAINER_OF(renderer, struct client, base);
}

/* ---- What waits ---- */

static bool grow_pending(struct client *client)
{
	uint32_t n = client->nr_pending ? client->nr_pending * 2 : 64;
	struct pending *grown = n < 1u << 20 ? realloc(client->pending, n * sizeof(*grown)) : NULL;

	if (!grown)
		return false;
	client->pending = grown;
	for (uint32_t i = n; i-- > client->nr_pending;) {
		grown[i] = (struct pending){.next = client->first_free};
		client->first_free = i;
	}
	client->nr_pending = n;
	return true;
}

/* Returns its token; 0: no memory. */
static uint64_t add_pending(struct client *client, enum kind kind, uint64_t id, uint32_t ctx_id, uint32_t resource_id)
{
	uint32_t index;

	if (client->first_free == NONE && !grow_pending(client))
		return 0;
	index = client->first_free;
	client->first_free = client->pending[index].next;
	if (++client->next_serial == 0)
		client->next_serial = 1;
	client->pending[index] = (struct pending){.id = id,
						  .serial = client->next_serial,
						  .epoch = client->epoch,
						  .kind = kind,
						  .ctx_id = ctx_id,
						  .resource_id = resource_id,
						  .next = NONE,
						  .prev = client->last};
	if (client->last != NONE)
		client->pending[client->last].next = index;
	else
		client->first = index;
	client->last = index;
	return (uint64_t)client->next_serial << 32 | index;
}

static struct pending remove_pending(struct client *client, uint32_t index)
{
	struct pending copy = client->pending[index];

	if (copy.next != NONE)
		client->pending[copy.next].prev = copy.prev;
	else
		client->last = copy.prev;
	if (copy.prev != NONE)
		client->pending[copy.prev].next = copy.next;
	else
		client->first = copy.next;
	client->pending[index] = (struct pending){.next = client->first_free};
	client->first_free = index;
	return copy;
}

/* The core may do anything from within. */
static void finish(struct client *client, uint32_t index, enum pv_status status)
{
	struct pending done = remove_pending(client, index);
	const struct pv_renderer_events *events = &client->base.events;
	struct resource *resource;

	switch (done.kind) {
	case FENCE:
		events->fence_signalled(events->user, done.id);
		return;
	case MAP:
		resource = pv_id_map_get(&client->resources, done.resource_id);
		/* It may be another resource of the same id. */
		if (status != PV_OK && resource && resource->map_token >> 32 == done.serial)
			resource->mapped = false;
		break;
	case UNMAP:
		status = PV_OK;
		break;
	default:
		break;
	}
	events->op_done(events->user, done.id, status);
}

static void forget_pending(struct client *client)
{
	while (client->first != NONE)
		(void)remove_pending(client, client->first);
}

/* ---- Sending ---- */

static void lose(struct client *client, const char *reason);

static void flush(struct client *client)
{
	enum pv_status status;

	if (client->state != UP && client->state != STARTING)
		return;
	if (pv_worker_channel_pending_bytes(&client->channel) == 0)
		return;
	status = pv_worker_channel_flush(&client->channel);
	pv_loop_set_events(client->watch, status == PV_PENDING ? PV_LOOP_READ | PV_LOOP_WRITE : PV_LOOP_READ);
	if (status != PV_OK && status != PV_PENDING)
		lose(client, "its socket is closed");
}

static bool can_send(const struct client *client)
{
	return client->state == UP || client->state == STARTING;
}

static void *put(struct client *client, uint16_t type, size_t len, int fd)
{
	return can_send(client) ? pv_worker_channel_put(&client->channel, type, len, fd) : NULL;
}

/* For what cannot fail: without it the worker would no longer know what the guest has. */
static void *must_put(struct client *client, uint16_t type, size_t len, int fd)
{
	void *message = NULL;

	if (!can_send(client))
		return NULL;
	if (pv_worker_channel_pending_bytes(&client->channel) < HARD_QUEUE_BYTES)
		message = pv_worker_channel_put(&client->channel, type, len, fd);
	if (!message)
		lose(client, "it does not take its messages");
	return message;
}

static void send_ids(struct client *client, enum pv_worker_request type, struct pv_worker_ids ids)
{
	struct pv_worker_ids *message = must_put(client, (uint16_t)type, sizeof(*message), -1);

	if (message)
		*message = ids;
}

/*
 * An op that can fail: *out_message (`len` bytes, or NULL: nobody to send it to, it waits for the end of the worker) is
 * to be filled in, *out_token to be put there. PV_PENDING is the good answer.
 */
static enum pv_status begin_op(struct client *client, struct pending op, uint16_t type, size_t len, void **out_message,
			       uint64_t *out_token)
{
	if (can_send(client) && pv_worker_channel_pending_bytes(&client->channel) > SOFT_QUEUE_BYTES)
		return PV_ERR_NO_MEMORY;
	*out_token = add_pending(client, op.kind, op.id, op.ctx_id, op.resource_id);
	if (!*out_token)
		return PV_ERR_NO_MEMORY;
	*out_message = put(client, type, len, -1);
	if (!*out_message && can_send(client)) {
		(void)remove_pending(client, (uint32_t)*out_token);
		return PV_ERR_NO_MEMORY;
	}
	return PV_PENDING;
}

static bool is_current(const struct client *client, uint32_t epoch)
{
	return client->state != DOWN && epoch == client->epoch;
}

/* Of the living worker, or of one whose end is not known yet. */
static struct context *living_context(struct client *client, uint32_t ctx_id)
{
	struct context *context = pv_id_map_get(&client->contexts, ctx_id);

	return context && is_current(client, context->epoch) ? context : NULL;
}

static struct resource *living_resource(struct client *client, uint32_t resource_id)
{
	struct resource *resource = pv_id_map_get(&client->resources, resource_id);

	return resource && is_current(client, resource->epoch) ? resource : NULL;
}

/* ---- The life of a worker ---- */

static void start(struct client *client);
static void ended(void *user, const char *how);
static void ready(void *user, uint32_t events);

static bool reads_memory(const struct client *client)
{
	return client->known && client->ready.wants_memory;
}

/* A message for each file, then one that says where the parts lie. */
static void send_memory(struct client *client)
{
	struct pv_guest_part parts[PV_GUEST_MAX_REGIONS];
	int fds[PV_WORKER_MAX_FILES];
	size_t nr_files = PV_WORKER_MAX_FILES, n;
	struct pv_worker_memory *message;

	n = pv_guest_map_parts(client->map, parts, fds, &nr_files);
	for (size_t i = 0; i < nr_files; i++)
		(void)must_put(client, PV_WORKER_FILE, 0, fds[i]);
	message = must_put(client, PV_WORKER_MEMORY, sizeof(*message) + n * sizeof(parts[0]), -1);
	if (message) {
		message->nr_parts = n;
		if (n)
			memcpy(message->parts, parts, n * sizeof(parts[0]));
	}
	flush(client);
}

static void send_window(struct client *client)
{
	struct pv_worker_window *message = must_put(client, PV_WORKER_WINDOW, sizeof(*message), client->window_fd);

	if (message)
		message->size_bytes = client->window_bytes;
}

static void expired(void *user)
{
	struct client *client = user;

	if (client->state == STARTING)
		lose(client, "it took too long to start");
	else if (client->state == DOWN)
		start(client);
}

static uint64_t next_delay(struct client *client)
{
	uint64_t delay = client->delay_ns;

	if (pv_now_ns() - client->started_ns >= SHORT_LIFE_NS)
		return client->delay_ns = 0;
	client->delay_ns = delay ? pv_min_u64(delay * 2, LONGEST_DELAY_NS) : FIRST_DELAY_NS;
	return delay;
}

static void start_later(struct client *client, uint64_t delay_ns)
{
	pv_log(PV_LOG_WARNING, MODULE, "the next one is started in %llu seconds",
	       (unsigned long long)(delay_ns / 1000000000));
	pv_loop_arm_timer(client->timer, pv_now_ns() + delay_ns);
}

static enum pv_status launch(struct client *client)
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
	client->state = STARTING;
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

static void start(struct client *client)
{
	if (launch(client) != PV_OK) {
		pv_log(PV_LOG_ERROR, MODULE, "the renderers' process cannot be started");
		start_later(client, LONGEST_DELAY_NS);
		return;
	}
	client->restarts++;
	if (client->window_fd >= 0)
		send_window(client);
	if (reads_memory(client))
		send_memory(client);
	flush(client);
	pv_loop_arm_timer(client->timer, pv_now_ns() + client->start_timeout_ns);
}

/* From now on it is only waited for its end. */
static void lose(struct client *client, const char *reason)
{
	if (client->state == DOWN || client->state == DYING)
		return;
	client->state = DYING;
	client->reason = reason;
	pv_loop_disarm_timer(client->timer);
	pv_loop_remove_fd(client->watch);
	client->watch = NULL;
	pv_worker_channel_finish(&client->channel);
	client->launcher.kill(client->worker);
}

/* The guest looks at words of a ring to see whether somebody is there. The window is a file of ours of a fixed size. */
static void say_last_words(struct client *client)
{
	for (uint32_t i = 0; i < client->resources.capacity; i++) {
		const struct resource *resource = client->resources.slots[i].value;

		if (client->resources.slots[i].id == 0 || resource->epoch != client->epoch || !resource->mapped)
			continue;
		for (uint32_t n = 0; n < resource->nr_last_words; n++) {
			const struct last_word *word = &resource->last_words[n];
			void *bytes;

			if (pv_pages_map_file(client->window_fd, resource->map_offset + word->offset_bytes,
					      sizeof(uint32_t), &bytes) != PV_OK)
				continue;
			atomic_fetch_or_explicit((_Atomic uint32_t *)bytes, word->bits, memory_order_seq_cst);
			pv_pages_unmap_file(bytes, sizeof(uint32_t));
		}
	}
}

static uint32_t count_contexts(const struct client *client)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < client->contexts.capacity; i++)
		n += client->contexts.slots[i].id != 0 &&
		     ((const struct context *)client->contexts.slots[i].value)->epoch == client->epoch;
	return n;
}

static void ended(void *user, const char *how)
{
	struct client *client = user;
	uint32_t epoch = client->epoch;
	uint64_t delay_ns;

	lose(client, NULL);
	pv_log(PV_LOG_ERROR, MODULE, "the renderers' process %lld is gone: %s%s%s; contexts lost: %u",
	       (long long)client->launcher.pid(client->worker), client->reason ? client->reason : "",
	       client->reason ? ": " : "", how, count_contexts(client));
	client->launcher.release(client->worker);
	client->worker = NULL;
	say_last_words(client);
	client->epoch++;
	client->state = DOWN;
	/* Before the guest hears of it, so that what it makes next has somebody to go to. */
	delay_ns = next_delay(client);
	if (delay_ns)
		start_later(client, delay_ns);
	else
		start(client);
	while (client->first != NONE && client->pending[client->first].epoch == epoch)
		finish(client, client->first, PV_ERR_HOST);
	flush(client);
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

static const char *take_capset(struct client *client, const struct pv_worker_message *message)
{
	const struct pv_worker_capset *guess = message->payload;
	struct pv_worker_capset head;
	struct capset *known = &client->capsets[client->nr_confirmed];

	if (message->len < sizeof(head))
		return "a capability set is too short";
	memcpy(&head, guess, sizeof(head));
	if (client->state != STARTING || client->nr_confirmed == PV_ARRAY_LEN(client->capsets) || head.info.id == 0 ||
	    head.len_bytes > PV_WORKER_MAX_CAPSET_BYTES || head.len_bytes > message->len - sizeof(head) ||
	    head.info.max_size_bytes > PV_WORKER_MAX_CAPSET_BYTES || head.info.max_version >= PV_WORKER_MAX_VERSIONS)
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
		*known = (struct capset){.info = head.info, .version = head.version, .len_bytes = head.len_bytes};
		memcpy(known->bytes, guess->bytes, head.len_bytes);
		client->nr_capsets++;
	}
	client->nr_confirmed++;
	return NULL;
}

static const char *take_ready(struct client *client, const struct pv_worker_message *message)
{
	struct pv_worker_ready copy;

	if (client->state != STARTING || message->len != sizeof(copy))
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
	client->ready = copy;
	client->state = UP;
	pv_loop_disarm_timer(client->timer);
	if (client->known)
		pv_log(PV_LOG_INFO, MODULE, "the renderers are back, in process %lld",
		       (long long)client->launcher.pid(client->worker));
	client->known = true;
	return NULL;
}

static const char *take_done(struct client *client, const struct pv_worker_message *message)
{
	struct pv_worker_done done;
	uint32_t index;

	if (message->len != sizeof(done))
		return "an answer of the wrong size";
	memcpy(&done, message->payload, sizeof(done));
	if (done.status > PV_ERR_UNSUPPORTED || done.status == PV_PENDING)
		return "an answer that there is not";
	index = (uint32_t)done.token;
	/* Forgotten ones are normal: a reset, or the end of a context, was on its way. */
	if (index < client->nr_pending && client->pending[index].serial == done.token >> 32 &&
	    client->pending[index].serial != 0)
		finish(client, index, (enum pv_status)done.status);
	return NULL;
}

static const char *take_last_word(struct client *client, const struct pv_worker_message *message)
{
	struct pv_worker_last_word word;
	struct resource *resource;

	if (message->len != sizeof(word))
		return "a last word of the wrong size";
	memcpy(&word, message->payload, sizeof(word));
	resource = living_resource(client, word.resource_id);
	/* The guest may have destroyed it in the meantime. */
	if (!resource || resource->info.kind != PV_RESOURCE_HOST_BLOB || word.offset_bytes % sizeof(uint32_t) ||
	    !pv_range_fits(word.offset_bytes, sizeof(uint32_t), resource->info.size_bytes))
		return NULL;
	resource->last_words[resource->nr_last_words % MAX_LAST_WORDS] =
	    (struct last_word){word.offset_bytes, word.bits};
	if (resource->nr_last_words < MAX_LAST_WORDS)
		resource->nr_last_words++;
	return NULL;
}

static const char *take_memory_bytes(struct client *client, const struct pv_worker_message *message)
{
	struct pv_worker_memory_bytes memory;
	struct context *context;

	if (message->len != sizeof(memory))
		return "a number of the wrong size";
	memcpy(&memory, message->payload, sizeof(memory));
	context = living_context(client, memory.ctx_id);
	if (context)
		context->memory_bytes = memory.size_bytes;
	return NULL;
}

/* Returns what is wrong; NULL: nothing. */
static const char *take_message(struct client *client, const struct pv_worker_message *message)
{
	if (message->has_fd)
		return "an fd that nobody asked for";
	switch (message->type) {
	case PV_WORKER_CAPSET:
		return take_capset(client, message);
	case PV_WORKER_READY:
		return take_ready(client, message);
	case PV_WORKER_DONE:
		return take_done(client, message);
	case PV_WORKER_LAST_WORD:
		return take_last_word(client, message);
	case PV_WORKER_MEMORY_BYTES:
		return take_memory_bytes(client, message);
	default:
		return "a message that there is not";
	}
}

/* Reads once. PV_PENDING: nothing was there. */
static enum pv_status receive(struct client *client)
{
	enum pv_status status = pv_worker_channel_receive(&client->channel);
	struct pv_worker_message message;

	if (status == PV_ERR_PEER)
		lose(client, NULL);
	else if (status == PV_ERR_NO_MEMORY)
		lose(client, "no memory for its messages");
	while (status == PV_OK && can_send(client)) {
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
	struct client *client = user;

	if (events & PV_LOOP_WRITE)
		flush(client);
	for (int i = 0; i < MAX_READS && can_send(client); i++)
		if (receive(client) != PV_OK)
			break;
	/* What the core did in between. */
	flush(client);
}

/* ---- Ops: resources ---- */

static enum pv_status resource_create(struct pv_renderer *renderer, uint64_t op_id, const struct pv_resource_info *info)
{
	struct client *client = client_of(renderer);
	struct pv_worker_resource_create *message;
	struct resource *resource;
	uint64_t token;
	enum pv_status status;

	if (client->state == DOWN)
		return PV_ERR_HOST;
	resource = calloc(1, sizeof(*resource));
	if (!resource)
		return PV_ERR_NO_MEMORY;
	resource->id = info->id;
	resource->epoch = client->epoch;
	resource->info = *info;
	status = pv_id_map_add(&client->resources, info->id, resource);
	if (status != PV_OK) {
		free(resource);
		return status;
	}
	status = begin_op(client, (struct pending){.kind = CREATE, .id = op_id, .ctx_id = info->ctx_id},
			  PV_WORKER_RESOURCE_CREATE, sizeof(*message), (void **)&message, &token);
	if (status != PV_PENDING) {
		free(pv_id_map_remove(&client->resources, info->id));
		return status;
	}
	if (message) {
		message->token = token;
		message->info = *info;
	}
	return status;
}

static void free_resource(struct resource *resource)
{
	pv_frame_unref(resource->frame);
	free(resource);
}

static void resource_destroy(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct client *client = client_of(renderer);
	struct resource *resource = pv_id_map_remove(&client->resources, resource_id);

	if (!resource)
		return;
	if (is_current(client, resource->epoch))
		send_ids(client, PV_WORKER_RESOURCE_DESTROY, (struct pv_worker_ids){.resource_id = resource_id});
	free_resource(resource);
}

static enum pv_status attach_backing(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				     const struct pv_guest_span *spans, size_t nr_spans)
{
	struct client *client = client_of(renderer);
	struct resource *resource = living_resource(client, resource_id);
	struct pv_worker_attach_backing *message;
	size_t len = nr_spans * sizeof(*spans);
	uint64_t token;
	enum pv_status status;

	if (!resource)
		return PV_ERR_HOST;
	if (!reads_memory(client))
		return PV_OK;
	status = begin_op(client, (struct pending){.kind = OP, .id = op_id, .ctx_id = resource->info.ctx_id},
			  PV_WORKER_ATTACH_BACKING, sizeof(*message) + len, (void **)&message, &token);
	if (status == PV_PENDING && message) {
		message->token = token;
		message->resource_id = resource_id;
		message->nr_spans = (uint32_t)nr_spans;
		if (len)
			memcpy(message->spans, spans, len);
	}
	return status;
}

static void detach_backing(struct pv_renderer *renderer, uint32_t resource_id)
{
	struct client *client = client_of(renderer);

	if (living_resource(client, resource_id) && reads_memory(client))
		send_ids(client, PV_WORKER_DETACH_BACKING, (struct pv_worker_ids){.resource_id = resource_id});
}

static enum pv_status transfer_to_host(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer *transfer)
{
	struct client *client = client_of(renderer);
	struct pv_worker_transfer *message;
	uint64_t token;
	enum pv_status status;

	if (!living_resource(client, transfer->resource_id))
		return PV_ERR_HOST;
	status = begin_op(client, (struct pending){.kind = OP, .id = op_id}, PV_WORKER_TRANSFER, sizeof(*message),
			  (void **)&message, &token);
	if (status == PV_PENDING && message)
		*message = (struct pv_worker_transfer){.token = token, .transfer = *transfer};
	return status;
}

static enum pv_status transfer_3d(struct pv_renderer *renderer, uint64_t op_id, const struct pv_transfer_3d *transfer)
{
	struct client *client = client_of(renderer);
	struct pv_worker_transfer_3d *message;
	uint64_t token;
	enum pv_status status;

	if (!living_resource(client, transfer->resource_id))
		return PV_ERR_HOST;
	status = begin_op(client, (struct pending){.kind = OP, .id = op_id, .ctx_id = transfer->ctx_id},
			  PV_WORKER_TRANSFER_3D, sizeof(*message), (void **)&message, &token);
	if (status == PV_PENDING && message) {
		message->token = token;
		message->transfer = *transfer;
	}
	return status;
}

/* ---- Ops: pictures ---- */

/* How the worker writes pixels of `format`: with what is in their fourth byte, or with 0xff. */
static uint32_t frame_format(uint32_t format)
{
	switch (format) {
	case PV_GPU_FORMAT_B8G8R8X8:
	case PV_GPU_FORMAT_X8R8G8B8:
	case PV_GPU_FORMAT_R8G8B8X8:
	case PV_GPU_FORMAT_X8B8G8R8:
		return PV_GPU_FORMAT_B8G8R8X8;
	default:
		return PV_GPU_FORMAT_B8G8R8A8;
	}
}

/* Its memory is ours, so that it outlives the worker, and shared with it. */
static enum pv_status make_frame(struct client *client, struct resource *resource, const struct pv_blob_layout *layout)
{
	uint32_t width = layout ? layout->width : resource->info.width;
	uint32_t height = layout ? layout->height : resource->info.height;
	uint32_t format = layout ? layout->format : resource->info.format;
	struct pv_worker_frame *message;
	struct pv_frame *frame;
	enum pv_status status;
	int fd;

	if (width == 0 || height == 0 || width > PV_FRAME_MAX_SIDE || height > PV_FRAME_MAX_SIDE ||
	    !pv_gpu_format_to_pixman(format))
		return PV_ERR_GUEST;
	status = pv_shm_create("pv-frame", (uint64_t)width * height * 4, &fd);
	if (status != PV_OK)
		return status;
	pv_shm_keep_size(fd);
	status = pv_frame_create_mapped(fd, 0, width, height, width * 4, frame_format(format), &frame);
	message = status == PV_OK ? must_put(client, PV_WORKER_FRAME, sizeof(*message), fd) : NULL;
	pv_fd_close(&fd);
	if (status != PV_OK)
		return status;
	if (message) {
		message->resource_id = resource->id;
		message->width = width;
		message->height = height;
		message->has_layout = layout != NULL;
		if (layout)
			message->layout = *layout;
	}
	pv_frame_unref(resource->frame);
	resource->frame = frame;
	return PV_OK;
}

static enum pv_status get_frame(struct pv_renderer *renderer, uint32_t resource_id, const struct pv_blob_layout *layout,
				struct pv_frame **out)
{
	struct client *client = client_of(renderer);
	struct resource *resource = living_resource(client, resource_id);
	enum pv_status status = PV_OK;

	if (!resource)
		return PV_ERR_HOST;
	if (!resource->frame || layout)
		status = make_frame(client, resource, layout);
	if (status == PV_OK)
		*out = pv_frame_ref(resource->frame);
	return status;
}

static enum pv_status update_frame(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
				   const struct pv_rect *rect)
{
	struct client *client = client_of(renderer);
	struct pv_worker_update_frame *message;
	uint64_t token;
	enum pv_status status;

	if (!living_resource(client, resource_id))
		return PV_ERR_HOST;
	status = begin_op(client, (struct pending){.kind = OP, .id = op_id}, PV_WORKER_UPDATE_FRAME, sizeof(*message),
			  (void **)&message, &token);
	if (status == PV_PENDING && message)
		*message = (struct pv_worker_update_frame){.token = token, .resource_id = resource_id, .rect = *rect};
	return status;
}

/* ---- Ops: contexts ---- */

static enum pv_status context_create(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, uint32_t capset_id,
				     const char *name)
{
	struct client *client = client_of(renderer);
	struct pv_worker_context_create *message;
	struct context *context;
	uint64_t token;
	enum pv_status status;

	if (client->state == DOWN)
		return PV_ERR_HOST;
	context = calloc(1, sizeof(*context));
	if (!context)
		return PV_ERR_NO_MEMORY;
	*context = (struct context){.id = ctx_id, .epoch = client->epoch};
	status = pv_id_map_add(&client->contexts, ctx_id, context);
	if (status != PV_OK) {
		free(context);
		return status;
	}
	status = begin_op(client, (struct pending){.kind = OP, .id = op_id, .ctx_id = ctx_id}, PV_WORKER_CONTEXT_CREATE,
			  sizeof(*message), (void **)&message, &token);
	if (status != PV_PENDING) {
		free(pv_id_map_remove(&client->contexts, ctx_id));
		return status;
	}
	if (message) {
		message->token = token;
		message->ctx_id = ctx_id;
		message->capset_id = capset_id;
		memcpy(message->name, name, strnlen(name, sizeof(message->name) - 1));
	}
	return status;
}

static bool ends_with_context(const struct pending *pending, uint32_t ctx_id)
{
	return pending->ctx_id == ctx_id && (pending->kind == OP || pending->kind == CREATE);
}

static void context_destroy(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct client *client = client_of(renderer);
	struct context *context = pv_id_map_remove(&client->contexts, ctx_id);
	uint32_t index = client->first, last_serial = client->next_serial;

	if (!context)
		return;
	if (is_current(client, context->epoch))
		send_ids(client, PV_WORKER_CONTEXT_DESTROY, (struct pv_worker_ids){.ctx_id = ctx_id});
	free(context);
	/* Each answer can change the list, but what it adds has another serial. */
	while (index != NONE) {
		struct pending *pending = &client->pending[index];
		uint32_t next = pending->next;

		if (ends_with_context(pending, ctx_id) && (int32_t)(last_serial - pending->serial) >= 0) {
			finish(client, index, PV_ERR_GUEST);
			next = client->first;
		}
		index = next;
	}
}

static enum pv_status context_attach(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id,
				     uint32_t resource_id)
{
	struct client *client = client_of(renderer);
	struct pv_worker_ids *message;
	uint64_t token;
	enum pv_status status;

	if (!living_context(client, ctx_id) || !living_resource(client, resource_id))
		return PV_ERR_HOST;
	status = begin_op(client, (struct pending){.kind = OP, .id = op_id, .ctx_id = ctx_id}, PV_WORKER_CONTEXT_ATTACH,
			  sizeof(*message), (void **)&message, &token);
	if (status == PV_PENDING && message)
		*message = (struct pv_worker_ids){.token = token, .ctx_id = ctx_id, .resource_id = resource_id};
	return status;
}

static void context_detach(struct pv_renderer *renderer, uint32_t ctx_id, uint32_t resource_id)
{
	struct client *client = client_of(renderer);

	if (living_context(client, ctx_id) && living_resource(client, resource_id))
		send_ids(client, PV_WORKER_CONTEXT_DETACH,
			 (struct pv_worker_ids){.ctx_id = ctx_id, .resource_id = resource_id});
}

static enum pv_status submit(struct pv_renderer *renderer, uint64_t op_id, uint32_t ctx_id, const void *commands,
			     size_t len_bytes)
{
	struct client *client = client_of(renderer);
	struct pv_worker_submit *message;
	uint64_t token;
	enum pv_status status;

	if (!living_context(client, ctx_id))
		return PV_ERR_GUEST;
	status = begin_op(client, (struct pending){.kind = OP, .id = op_id, .ctx_id = ctx_id}, PV_WORKER_SUBMIT,
			  sizeof(*message) + len_bytes, (void **)&message, &token);
	if (status == PV_PENDING && message) {
		message->token = token;
		message->ctx_id = ctx_id;
		message->len_bytes = (uint32_t)len_bytes;
		if (len_bytes)
			memcpy(message->commands, commands, len_bytes);
	}
	return status;
}

static void create_fence(struct pv_renderer *renderer, uint64_t fence_id, uint32_t ctx_id, uint32_t ring_idx)
{
	struct client *client = client_of(renderer);
	uint64_t token = living_context(client, ctx_id) ? add_pending(client, FENCE, fence_id, ctx_id, 0) : 0;

	/* Of a context that is gone, or out of memory: early rather than never. */
	if (!token) {
		client->base.events.fence_signalled(client->base.events.user, fence_id);
		return;
	}
	send_ids(client, PV_WORKER_FENCE,
		 (struct pv_worker_ids){.token = token, .ctx_id = ctx_id, .ring_idx = ring_idx});
}

static uint64_t context_memory_bytes(struct pv_renderer *renderer, uint32_t ctx_id)
{
	struct client *client = client_of(renderer);
	struct context *context = living_context(client, ctx_id);

	if (!context)
		return 0;
	/* Known by the next time. */
	send_ids(client, PV_WORKER_GET_MEMORY_BYTES, (struct pv_worker_ids){.ctx_id = ctx_id});
	flush(client);
	return context->memory_bytes;
}

/* ---- Ops: the window ---- */

static enum pv_status set_window(struct pv_renderer *renderer, int fd, uint64_t size_bytes)
{
	struct client *client = client_of(renderer);

	client->window_fd = fd;
	client->window_bytes = size_bytes;
	send_window(client);
	flush(client);
	return PV_OK;
}

static enum pv_status blob_export(struct pv_renderer *renderer, uint32_t resource_id, int *out_fd)
{
	(void)renderer, (void)resource_id, (void)out_fd;
	return PV_ERR_UNSUPPORTED;
}

static enum pv_status blob_map(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id,
			       uint64_t offset_bytes)
{
	struct client *client = client_of(renderer);
	struct resource *resource = living_resource(client, resource_id);
	struct pv_worker_blob_range *message;
	uint64_t token;
	enum pv_status status;

	if (!resource)
		return PV_ERR_HOST;
	if (client->window_fd < 0 || !pv_range_fits(offset_bytes, resource->info.size_bytes, client->window_bytes))
		return PV_ERR_GUEST;
	status = begin_op(client, (struct pending){.kind = MAP, .id = op_id, .resource_id = resource_id},
			  PV_WORKER_BLOB_MAP, sizeof(*message), (void **)&message, &token);
	if (status != PV_PENDING)
		return status;
	resource->mapped = true;
	resource->map_offset = offset_bytes;
	resource->map_token = token;
	if (message)
		*message = (struct pv_worker_blob_range){.token = token,
							 .resource_id = resource_id,
							 .offset_bytes = offset_bytes,
							 .size_bytes = resource->info.size_bytes};
	return status;
}

static enum pv_status blob_unmap(struct pv_renderer *renderer, uint64_t op_id, uint32_t resource_id)
{
	struct client *client = client_of(renderer);
	struct resource *resource = living_resource(client, resource_id);
	struct pv_worker_blob_range *message;
	uint64_t token = 0;

	/* The process that had it in use is gone. */
	if (!resource || !resource->mapped)
		return PV_OK;
	if (op_id != 0) {
		token = add_pending(client, UNMAP, op_id, 0, resource_id);
		if (!token)
			return PV_ERR_NO_MEMORY;
	}
	resource->mapped = false;
	message = must_put(client, PV_WORKER_BLOB_UNMAP, sizeof(*message), -1);
	if (message)
		*message = (struct pv_worker_blob_range){.token = token,
							 .resource_id = resource_id,
							 .offset_bytes = resource->map_offset,
							 .size_bytes = resource->info.size_bytes};
	return op_id != 0 ? PV_PENDING : PV_OK;
}

/* ---- Ops: the whole ---- */

static bool capset_info(struct pv_renderer *renderer, uint32_t index, struct pv_capset_info *out)
{
	const struct client *client = client_of(renderer);

	for (size_t i = 0; i < client->nr_capsets; i++) {
		/* Each has a version 0. */
		if (client->capsets[i].version != 0 || index-- != 0)
			continue;
		*out = client->capsets[i].info;
		return true;
	}
	return false;
}

static enum pv_status capset(struct pv_renderer *renderer, uint32_t capset_id, uint32_t version, void *buf,
			     size_t *len_bytes)
{
	const struct client *client = client_of(renderer);

	for (size_t i = 0; i < client->nr_capsets; i++) {
		const struct capset *known = &client->capsets[i];

		if (known->info.id != capset_id || known->version != version)
			continue;
		*len_bytes = pv_min_u64(*len_bytes, known->len_bytes);
		memcpy(buf, known->bytes, *len_bytes);
		return PV_OK;
	}
	return PV_ERR_GUEST;
}

static void set_guest_map(struct pv_renderer *renderer, struct pv_guest_map *map)
{
	struct client *client = client_of(renderer);

	if (map)
		pv_guest_map_ref(map);
	pv_guest_map_unref(client->map);
	client->map = map;
	if (reads_memory(client))
		send_memory(client);
}

static void finish_batch(struct pv_renderer *renderer)
{
	flush(client_of(renderer));
}

static void reset(struct pv_renderer *renderer)
{
	struct client *client = client_of(renderer);
	struct resource *resource;
	struct context *context;
	uint32_t cursor = 0;

	forget_pending(client);
	if (can_send(client))
		(void)must_put(client, PV_WORKER_RESET, 0, -1);
	while ((context = pv_id_map_any(&client->contexts, &cursor)))
		free(pv_id_map_remove(&client->contexts, context->id));
	cursor = 0;
	while ((resource = pv_id_map_any(&client->resources, &cursor)))
		free_resource(pv_id_map_remove(&client->resources, resource->id));
	flush(client);
}

static void destroy(struct pv_renderer *renderer)
{
	struct client *client = client_of(renderer);

	reset(renderer);
	pv_loop_remove_fd(client->watch);
	/* The worker ends when its socket does. */
	pv_worker_channel_finish(&client->channel);
	if (client->worker)
		client->launcher.release(client->worker);
	pv_loop_remove_timer(client->timer);
	pv_id_map_finish(&client->contexts);
	pv_id_map_finish(&client->resources);
	pv_guest_map_unref(client->map);
	free(client->pending);
	free(client);
}

#define COMMON_OPS                                                                                                     \
	.name = "worker", .destroy = destroy, .set_guest_map = set_guest_map, .resource_create = resource_create,      \
	.resource_destroy = resource_destroy, .attach_backing = attach_backing, .detach_backing = detach_backing,      \
	.transfer_to_host = transfer_to_host, .get_frame = get_frame, .update_frame = update_frame,                    \
	.create_fence = create_fence, .finish_batch = finish_batch, .reset = reset, .set_window = set_window,          \
	.capset_info = capset_info, .capset = capset, .context_create = context_create,                                \
	.context_destroy = context_destroy, .context_attach = context_attach, .context_detach = context_detach,        \
	.submit = submit, .blob_export = blob_export, .blob_map = blob_map, .blob_unmap = blob_unmap,                  \
	.context_memory_bytes = context_memory_bytes

static const struct pv_renderer_ops ops = {COMMON_OPS};
/* Whether there are textures can be seen by the op. */
static const struct pv_renderer_ops opengl_ops = {COMMON_OPS, .transfer_3d = transfer_3d};

/* The only wait. */
static enum pv_status wait_until_ready(struct client *client)
{
	uint64_t deadline_ns = client->started_ns + client->start_timeout_ns;

	flush(client);
	while (client->state == STARTING) {
		uint64_t now_ns = pv_now_ns();
		struct pollfd fd = {.fd = client->channel.fd, .events = POLLIN};

		if (now_ns >= deadline_ns) {
			pv_log(PV_LOG_ERROR, MODULE, "the renderers' process has not started within %llu seconds",
			       (unsigned long long)(client->start_timeout_ns / 1000000000));
			return PV_ERR_HOST;
		}
		if (poll(&fd, 1, (int)((deadline_ns - now_ns) / 1000000 + 1)) > 0)
			(void)receive(client);
	}
	if (client->state == UP)
		return (enum pv_status)client->ready.status;
	pv_log(PV_LOG_ERROR, MODULE, "the renderers' process did not start%s%s: the GPU driver may have crashed it",
	       client->reason ? ": " : "", client->reason ? client->reason : "");
	return PV_ERR_HOST;
}

enum pv_status pv_worker_client_create(const struct pv_worker_client_params *params, struct pv_renderer **out)
{
	struct client *client = calloc(1, sizeof(*client));
	enum pv_status status;

	if (!client)
		return PV_ERR_NO_MEMORY;
	client->base.ops = &ops;
	client->loop = params->loop;
	client->launcher = params->launcher;
	client->hello = params->hello;
	client->start_timeout_ns = params->start_timeout_ns ? params->start_timeout_ns : START_TIMEOUT_NS;
	client->channel.fd = client->channel.current_fd = client->window_fd = -1;
	client->first = client->last = client->first_free = NONE;
	status = pv_loop_add_timer(client->loop, expired, client, &client->timer);
	if (status == PV_OK)
		status = launch(client);
	if (status == PV_OK)
		status = wait_until_ready(client);
	if (status != PV_OK) {
		destroy(&client->base);
		return status;
	}
	if (client->ready.has_opengl)
		client->base.ops = &opengl_ops;
	*out = &client->base;
	return PV_OK;
}

void pv_worker_client_status(struct pv_renderer *renderer, struct pv_worker_client_status *out)
{
	const struct client *client = client_of(renderer);

	*out = (struct pv_worker_client_status){
	    .pid = client->worker ? client->launcher.pid(client->worker) : 0,
	    .restarts = client->restarts,
	    .device = client->ready.device,
	    .driver = client->ready.driver,
	};
}
