/* SPDX-License-Identifier: MIT */
#include "worker/channel.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/socket.h"

#define READ_BYTES (64u << 10)

void pv_worker_channel_init(struct pv_worker_channel *channel, int take_fd)
{
	*channel = (struct pv_worker_channel){.fd = take_fd, .current_fd = -1};
	if (pv_fd_set_nonblocking(take_fd, true) != PV_OK)
		pv_fd_close(&channel->fd);
}

void pv_worker_channel_finish(struct pv_worker_channel *channel)
{
	pv_fd_close(&channel->fd);
	for (size_t i = 0; i < channel->nr_marks; i++)
		pv_fd_close(&channel->marks[i].fd);
	for (size_t i = 0; i < channel->nr_fds; i++)
		pv_fd_close(&channel->fds[i]);
	pv_fd_close(&channel->current_fd);
	free(channel->out);
	free(channel->in);
	*channel = (struct pv_worker_channel){.fd = -1, .current_fd = -1};
}

/* ---- Out ---- */

static bool make_room(uint8_t **bytes, size_t *room, size_t needed)
{
	size_t wanted = *room ? *room : READ_BYTES;
	uint8_t *grown;

	if (needed <= *room)
		return true;
	while (wanted < needed)
		wanted *= 2;
	grown = realloc(*bytes, wanted);
	if (!grown)
		return false;
	*bytes = grown;
	*room = wanted;
	return true;
}

void *pv_worker_channel_put(struct pv_worker_channel *channel, uint16_t type, size_t len, int fd)
{
	size_t size = (sizeof(struct pv_worker_header) + len + 7) & ~(size_t)7;
	struct pv_worker_header *header;

	if (channel->fd < 0 || len > PV_WORKER_MAX_MESSAGE_BYTES - sizeof(*header) - 7 ||
	    (fd >= 0 && channel->nr_marks == PV_WORKER_MAX_FDS) ||
	    !make_room(&channel->out, &channel->out_room, channel->out_len + size))
		return NULL;
	if (fd >= 0) {
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

		if (copy < 0)
			return NULL;
		channel->marks[channel->nr_marks++] = (struct pv_worker_fd_mark){channel->out_len, copy};
	}
	header = (void *)(channel->out + channel->out_len);
	memset(header, 0, size);
	*header = (struct pv_worker_header){.size_bytes = (uint32_t)size, .type = type, .nr_fds = fd >= 0};
	channel->out_len += size;
	return header + 1;
}

size_t pv_worker_channel_pending_bytes(const struct pv_worker_channel *channel)
{
	return channel->out_len - channel->sent;
}

/* One system call: up to the next message with an fd, which goes with that message's first byte. */
static enum pv_status send_once(struct pv_worker_channel *channel)
{
	bool with_fd = channel->nr_marks > 0 && channel->marks[0].at == channel->sent;
	size_t next_mark = with_fd ? 1 : 0, sent;
	size_t end = channel->nr_marks > next_mark ? channel->marks[next_mark].at : channel->out_len;
	struct iovec iov = {.iov_base = channel->out + channel->sent, .iov_len = end - channel->sent};
	enum pv_status status =
	    pv_socket_send(channel->fd, &iov, 1, with_fd ? &channel->marks[0].fd : NULL, with_fd, &sent);

	if (status != PV_OK)
		return status;
	channel->sent += sent;
	if (with_fd) {
		pv_fd_close(&channel->marks[0].fd);
		channel->nr_marks--;
		memmove(channel->marks, channel->marks + 1, channel->nr_marks * sizeof(channel->marks[0]));
	}
	return PV_OK;
}

enum pv_status pv_worker_channel_flush(struct pv_worker_channel *channel)
{
	if (channel->fd < 0)
		return PV_ERR_PEER;
	while (channel->sent < channel->out_len) {
		enum pv_status status = send_once(channel);

		if (status != PV_OK)
			return status;
	}
	channel->sent = channel->out_len = 0;
	return PV_OK;
}

/* ---- In ---- */

/* The size of the message at the front; 0: not even its header is here. */
static size_t front_size(const struct pv_worker_channel *channel)
{
	struct pv_worker_header header;

	if (channel->in_len - channel->taken < sizeof(header))
		return 0;
	memcpy(&header, channel->in + channel->taken, sizeof(header));
	return header.size_bytes;
}

enum pv_status pv_worker_channel_receive(struct pv_worker_channel *channel)
{
	size_t nr_fds = PV_WORKER_MAX_FDS - channel->nr_fds, got, wanted;
	enum pv_status status;

	if (channel->fd < 0)
		return PV_ERR_PEER;
	if (channel->taken > 0) {
		channel->in_len -= channel->taken;
		memmove(channel->in, channel->in + channel->taken, channel->in_len);
		channel->taken = 0;
	}
	/* Whole messages have been taken: what is left is the start of one, whose size next() has checked. */
	wanted = front_size(channel);
	if (wanted > PV_WORKER_MAX_MESSAGE_BYTES)
		return PV_ERR_PEER;
	if (wanted < channel->in_len + READ_BYTES)
		wanted = channel->in_len + READ_BYTES;
	if (!make_room(&channel->in, &channel->in_room, wanted))
		return PV_ERR_NO_MEMORY;
	if (nr_fds > PV_SOCKET_MAX_FDS)
		nr_fds = PV_SOCKET_MAX_FDS;
	status = pv_socket_recv(channel->fd, channel->in + channel->in_len, channel->in_room - channel->in_len, &got,
				channel->fds + channel->nr_fds, &nr_fds);
	if (status != PV_OK)
		return status;
	channel->nr_fds += nr_fds;
	channel->in_len += got;
	return got ? PV_OK : PV_ERR_PEER;
}

enum pv_status pv_worker_channel_next(struct pv_worker_channel *channel, struct pv_worker_message *out)
{
	struct pv_worker_header header;
	size_t left = channel->in_len - channel->taken;

	pv_fd_close(&channel->current_fd);
	if (left < sizeof(header))
		return PV_PENDING;
	memcpy(&header, channel->in + channel->taken, sizeof(header));
	if (header.size_bytes < sizeof(header) || header.size_bytes % 8 ||
	    header.size_bytes > PV_WORKER_MAX_MESSAGE_BYTES || header.nr_fds > 1)
		return PV_ERR_PEER;
	if (header.size_bytes > left)
		return PV_PENDING;
	if (header.nr_fds > channel->nr_fds)
		return PV_ERR_PEER;
	if (header.nr_fds) {
		channel->current_fd = channel->fds[0];
		channel->nr_fds--;
		memmove(channel->fds, channel->fds + 1, channel->nr_fds * sizeof(channel->fds[0]));
	}
	*out = (struct pv_worker_message){
	    .type = header.type,
	    .len = header.size_bytes - sizeof(header),
	    .payload = channel->in + channel->taken + sizeof(header),
	    .has_fd = header.nr_fds,
	};
	channel->taken += header.size_bytes;
	return PV_OK;
}

int pv_worker_channel_take_fd(struct pv_worker_channel *channel)
{
	int fd = channel->current_fd;

	channel->current_fd = -1;
	return fd;
}
