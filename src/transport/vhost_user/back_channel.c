/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/back_channel.h"

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/socket.h"

#define MODULE "vhost-user"
/* The shared memory id of virtio-gpu's host-visible region (virtio 1.3, 5.7.6.12). */
#define SHMID_HOST_VISIBLE 1

void pv_vhost_channel_init(struct pv_vhost_channel *channel, struct pv_loop *loop,
			   const struct pv_vhost_channel_events *events)
{
	*channel = (struct pv_vhost_channel){.events = *events, .loop = loop, .fd = -1, .map_fd = -1, .out_fd = -1};
}

/* Forgets what was asked, too. */
static void close_socket(struct pv_vhost_channel *channel)
{
	struct pv_vhost_channel_events events = channel->events;
	struct pv_loop *loop = channel->loop;

	pv_loop_remove_fd(channel->watch);
	pv_fd_close(&channel->fd);
	pv_vhost_channel_init(channel, loop, &events);
}

void pv_vhost_channel_finish(struct pv_vhost_channel *channel)
{
	if (channel->loop)
		close_socket(channel);
}

bool pv_vhost_channel_is_open(const struct pv_vhost_channel *channel)
{
	return channel->fd >= 0;
}

bool pv_vhost_channel_takes_fds(const struct pv_vhost_channel *channel)
{
	return pv_vhost_channel_is_open(channel) && !channel->is_pipe;
}

static uint32_t idle_events(const struct pv_vhost_channel *channel)
{
	return channel->is_pipe ? 0 : PV_LOOP_READ;
}

static void lose(struct pv_vhost_channel *channel, enum pv_status status)
{
	struct pv_vhost_channel_events events = channel->events;

	close_socket(channel);
	events.lost(events.user, status);
}

static void put(struct pv_vhost_channel *channel, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	struct pv_vhost_header header = {.request = request, .flags = PV_VHOST_VERSION | flags, .size = size};

	memcpy(channel->out, &header, sizeof(header));
	if (size)
		memcpy(channel->out + sizeof(header), payload, size);
	channel->out_len = sizeof(header) + size;
	channel->out_sent = 0;
	channel->out_fd = -1;
}

static bool put_next(struct pv_vhost_channel *channel)
{
	if (channel->map_due && !channel->map_in_flight) {
		struct pv_vhost_shmem_map map = {
		    .shmid = SHMID_HOST_VISIBLE, .len = channel->map_bytes, .flags = PV_VHOST_SHMEM_WRITABLE};

		put(channel, PV_VHOST_BACKEND_SHMEM_MAP, channel->map_wants_reply ? PV_VHOST_NEED_REPLY : 0, &map,
		    sizeof(map));
		channel->out_fd = channel->map_fd;
		channel->map_due = false;
		channel->map_in_flight = true;
		return true;
	}
	if (channel->config_change_due) {
		put(channel, PV_VHOST_BACKEND_CONFIG_CHANGE, 0, NULL, 0);
		channel->config_change_due = false;
		return true;
	}
	return false;
}

static enum pv_status send_some(struct pv_vhost_channel *channel, size_t *sent)
{
	struct iovec iov = {.iov_base = channel->out + channel->out_sent,
			    .iov_len = channel->out_len - channel->out_sent};
	/* An fd goes with the first byte. */
	size_t nr_fds = channel->out_fd >= 0 && channel->out_sent == 0 ? 1 : 0;

	if (channel->is_pipe)
		return pv_pipe_send(channel->fd, iov.iov_base, iov.iov_len, sent);
	return pv_socket_send(channel->fd, &iov, 1, &channel->out_fd, nr_fds, sent);
}

/* PV_PENDING: the socket is full. */
static enum pv_status send_out(struct pv_vhost_channel *channel)
{
	while (channel->out_sent < channel->out_len) {
		size_t sent = 0;
		enum pv_status status = send_some(channel, &sent);

		if (status != PV_OK)
			return status;
		channel->out_sent += sent;
	}
	return PV_OK;
}

static void flush(struct pv_vhost_channel *channel)
{
	for (;;) {
		enum pv_status status = send_out(channel);

		if (status == PV_ERR_PEER) {
			lose(channel, PV_OK); /* it hung up */
			return;
		}
		if (status != PV_OK) {
			pv_loop_set_events(channel->watch, idle_events(channel) | PV_LOOP_WRITE);
			return;
		}
		if (channel->out_fd >= 0 && !channel->map_wants_reply) {
			channel->out_fd = -1;
			channel->map_in_flight = false;
			channel->events.mapped(channel->events.user, true);
			if (!pv_vhost_channel_is_open(channel))
				return;
		}
		channel->out_fd = -1;
		channel->out_len = channel->out_sent = 0;
		if (!put_next(channel))
			break;
	}
	pv_loop_set_events(channel->watch, idle_events(channel));
}

static void handle_reply(struct pv_vhost_channel *channel)
{
	struct pv_vhost_header header;
	uint64_t result;

	memcpy(&header, channel->in, sizeof(header));
	memcpy(&result, channel->in + sizeof(header), sizeof(result));
	channel->in_len = 0;
	if (header.request != PV_VHOST_BACKEND_SHMEM_MAP || header.flags != (PV_VHOST_VERSION | PV_VHOST_REPLY) ||
	    header.size != sizeof(result) || !channel->map_in_flight || !channel->map_wants_reply) {
		pv_log(PV_LOG_ERROR, MODULE,
		       "back channel: reply to request %" PRIu32 ", flags 0x%" PRIx32 ", size %" PRIu32
		       ": not what was asked for",
		       header.request, header.flags, header.size);
		lose(channel, PV_ERR_PEER);
		return;
	}
	channel->map_in_flight = false;
	if (result != 0)
		pv_log(PV_LOG_WARNING, MODULE, "SHMEM_MAP: the front end answered %" PRIu64, result);
	channel->events.mapped(channel->events.user, result == 0);
	if (pv_vhost_channel_is_open(channel))
		flush(channel);
}

static void receive(struct pv_vhost_channel *channel)
{
	size_t got = 0;
	enum pv_status status = pv_socket_recv(channel->fd, channel->in + channel->in_len,
					       sizeof(channel->in) - channel->in_len, &got, NULL, NULL);

	if (status == PV_PENDING)
		return;
	if (status != PV_OK || got == 0) {
		lose(channel, PV_OK);
		return;
	}
	channel->in_len += got;
	if (channel->in_len == sizeof(channel->in))
		handle_reply(channel);
}

static void channel_ready(void *user, uint32_t events)
{
	struct pv_vhost_channel *channel = user;

	if (events & PV_LOOP_READ)
		receive(channel);
	else if (events & PV_LOOP_HANGUP)
		lose(channel, PV_OK);
	else if (events & PV_LOOP_WRITE)
		flush(channel);
}

enum pv_status pv_vhost_channel_open(struct pv_vhost_channel *channel, int take_fd)
{
	struct stat file;
	int type = 0;
	socklen_t len = sizeof(type);

	close_socket(channel);
	channel->is_pipe = fstat(take_fd, &file) == 0 && S_ISFIFO(file.st_mode);
	bool is_socket = getsockopt(take_fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
	if ((!is_socket && !channel->is_pipe) || pv_fd_set_nonblocking(take_fd, true) != PV_OK ||
	    pv_loop_add_fd(channel->loop, take_fd, idle_events(channel), channel_ready, channel, &channel->watch) !=
		PV_OK) {
		pv_fd_close(&take_fd);
		return PV_ERR_PEER;
	}
	channel->fd = take_fd;
	return PV_OK;
}

void pv_vhost_channel_config_change(struct pv_vhost_channel *channel)
{
	if (!pv_vhost_channel_is_open(channel))
		return;
	channel->config_change_due = true;
	if (channel->out_len == 0)
		flush(channel);
}

void pv_vhost_channel_map(struct pv_vhost_channel *channel, int fd, uint64_t size_bytes, bool wants_reply)
{
	if (PV_NEVER(!pv_vhost_channel_takes_fds(channel) || channel->map_due || channel->map_in_flight))
		return;
	channel->map_fd = fd;
	channel->map_bytes = size_bytes;
	channel->map_wants_reply = wants_reply;
	channel->map_due = true;
	if (channel->out_len == 0)
		flush(channel);
}
