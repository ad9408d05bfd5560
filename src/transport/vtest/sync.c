/* SPDX-License-Identifier: MIT */
#include "transport/vtest/sync.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/socket.h"

/* One sync of one wait, in the list of its sync until it is reached. */
struct pv_vtest_wait_entry {
	struct pv_vtest_wait *wait;
	struct pv_vtest_sync *sync; /* a reference; NULL: reached */
	uint64_t value;
	struct pv_vtest_wait_entry *prev, *next;
};

struct pv_vtest_wait {
	struct pv_vtest_wait *prev, *next, *next_done;
	int raise_fd;
	uint64_t deadline_ns;
	uint32_t left; /* so many more must be reached */
	uint32_t nr_entries;
	struct pv_vtest_wait_entry entries[];
};

struct pv_vtest_sync *pv_vtest_sync_ref(struct pv_vtest_sync *sync)
{
	sync->refs++;
	return sync;
}

void pv_vtest_sync_unref(struct pv_vtest_sync *sync)
{
	if (sync && --sync->refs == 0)
		free(sync);
}

struct pv_vtest_sync *pv_vtest_sync_find(const struct pv_vtest_syncs *syncs, uint32_t id)
{
	return pv_id_map_get(&syncs->map, id);
}

enum pv_status pv_vtest_sync_create(struct pv_vtest_syncs *syncs, uint64_t value, uint32_t *out_id)
{
	struct pv_vtest_sync *sync;
	enum pv_status status;

	if (syncs->map.count >= PV_VTEST_MAX_SYNCS)
		return PV_ERR_NO_MEMORY;
	sync = calloc(1, sizeof(*sync));
	if (!sync)
		return PV_ERR_NO_MEMORY;
	do
		syncs->next_id++;
	while (syncs->next_id == 0 || pv_id_map_get(&syncs->map, syncs->next_id));
	sync->refs = 1;
	sync->id = syncs->next_id;
	sync->value = value;
	status = pv_id_map_add(&syncs->map, sync->id, sync);
	if (status != PV_OK) {
		free(sync);
		return status;
	}
	*out_id = sync->id;
	return PV_OK;
}

bool pv_vtest_sync_remove(struct pv_vtest_syncs *syncs, uint32_t id)
{
	struct pv_vtest_sync *sync = pv_id_map_remove(&syncs->map, id);

	pv_vtest_sync_unref(sync);
	return sync != NULL;
}

static void unlink_entry(struct pv_vtest_wait_entry *entry)
{
	if (!entry->sync)
		return;
	if (entry->next)
		entry->next->prev = entry->prev;
	if (entry->prev)
		entry->prev->next = entry->next;
	else
		entry->sync->entries = entry->next;
	pv_vtest_sync_unref(entry->sync);
	entry->sync = NULL;
}

static void link_entry(struct pv_vtest_wait_entry *entry, struct pv_vtest_sync *sync)
{
	entry->sync = pv_vtest_sync_ref(sync);
	entry->next = sync->entries;
	if (entry->next)
		entry->next->prev = entry;
	sync->entries = entry;
}

/* It is in no list any more. */
static void free_wait(struct pv_vtest_syncs *syncs, struct pv_vtest_wait *wait)
{
	for (uint32_t i = 0; i < wait->nr_entries; i++)
		unlink_entry(&wait->entries[i]);
	syncs->nr_waits--;
	syncs->nr_entries -= wait->nr_entries;
	pv_fd_close(&wait->raise_fd);
	free(wait);
}

static void end_wait(struct pv_vtest_syncs *syncs, struct pv_vtest_wait *wait)
{
	if (wait->next)
		wait->next->prev = wait->prev;
	if (wait->prev)
		wait->prev->next = wait->next;
	else
		syncs->waits = wait->next;
	free_wait(syncs, wait);
}

void pv_vtest_sync_set(struct pv_vtest_syncs *syncs, struct pv_vtest_sync *sync, uint64_t value)
{
	struct pv_vtest_wait *done = NULL;

	sync->value = value;
	/* Waits end afterwards: the end of one takes others of its entries off this list. */
	for (struct pv_vtest_wait_entry *entry = sync->entries, *next; entry; entry = next) {
		struct pv_vtest_wait *wait = entry->wait;

		next = entry->next;
		if (entry->value > value)
			continue;
		unlink_entry(entry);
		/* 0: another of its entries has ended it. */
		if (wait->left == 0)
			continue;
		wait->left--;
		if (wait->left == 0) {
			wait->next_done = done;
			done = wait;
		}
	}
	while (done) {
		struct pv_vtest_wait *wait = done;

		done = wait->next_done;
		pv_notifier_raise(wait->raise_fd);
		end_wait(syncs, wait);
	}
}

enum pv_status pv_vtest_notifier_create(int *out_poll_fd, int *out_raise_fd)
{
	int fds[2];
	enum pv_status status = pv_notifier_create(fds);

	if (status != PV_OK)
		return status;
	if (fds[0] == fds[1]) {
		fds[1] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
		if (fds[1] < 0) {
			pv_fd_close(&fds[0]);
			return PV_ERR_HOST;
		}
	}
	*out_poll_fd = fds[0];
	*out_raise_fd = fds[1];
	return PV_OK;
}

static void add_wait(struct pv_vtest_syncs *syncs, struct pv_vtest_wait *wait)
{
	wait->next = syncs->waits;
	if (wait->next)
		wait->next->prev = wait;
	syncs->waits = wait;
	syncs->nr_waits++;
	syncs->nr_entries += wait->nr_entries;
}

/* How many of the targets are not reached. PV_ERR_PEER: one does not exist. */
static enum pv_status count_missing(const struct pv_vtest_syncs *syncs, const struct pv_vtest_target *targets,
				    size_t count, uint32_t *out)
{
	uint32_t missing = 0;

	for (size_t i = 0; i < count; i++) {
		const struct pv_vtest_sync *sync = pv_vtest_sync_find(syncs, targets[i].sync_id);

		if (!sync)
			return PV_ERR_PEER;
		missing += sync->value < targets[i].value;
	}
	*out = missing;
	return PV_OK;
}

static struct pv_vtest_wait *new_wait(const struct pv_vtest_syncs *syncs, const struct pv_vtest_target *targets,
				      size_t count, uint32_t missing)
{
	struct pv_vtest_wait *wait = calloc(1, sizeof(*wait) + missing * sizeof(wait->entries[0]));

	if (!wait)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		struct pv_vtest_sync *sync = pv_vtest_sync_find(syncs, targets[i].sync_id);
		struct pv_vtest_wait_entry *entry = &wait->entries[wait->nr_entries];

		if (sync->value >= targets[i].value)
			continue;
		entry->wait = wait;
		entry->value = targets[i].value;
		link_entry(entry, sync);
		wait->nr_entries++;
	}
	return wait;
}

enum pv_status pv_vtest_wait_create(struct pv_vtest_syncs *syncs, const struct pv_vtest_target *targets, size_t count,
				    bool any, uint64_t now_ns, uint64_t deadline_ns, int *out_fd)
{
	struct pv_vtest_wait *wait;
	enum pv_status status;
	uint32_t missing = 0;
	int poll_fd, raise_fd;

	status = count_missing(syncs, targets, count, &missing);
	if (status != PV_OK)
		return status;
	if (missing > PV_VTEST_MAX_WAIT_ENTRIES - syncs->nr_entries)
		return PV_ERR_NO_MEMORY;
	status = pv_vtest_notifier_create(&poll_fd, &raise_fd);
	if (status != PV_OK)
		return status;
	bool satisfied = missing == 0 || (any && missing < count);
	if (satisfied || deadline_ns <= now_ns) {
		if (satisfied)
			pv_notifier_raise(raise_fd);
		pv_fd_close(&raise_fd);
		*out_fd = poll_fd;
		return PV_OK;
	}
	wait = new_wait(syncs, targets, count, missing);
	if (!wait) {
		pv_fd_close(&raise_fd);
		pv_fd_close(&poll_fd);
		return PV_ERR_NO_MEMORY;
	}
	wait->raise_fd = raise_fd;
	wait->deadline_ns = deadline_ns;
	wait->left = any ? 1 : missing;
	add_wait(syncs, wait);
	*out_fd = poll_fd;
	return PV_OK;
}

uint64_t pv_vtest_waits_expire(struct pv_vtest_syncs *syncs, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (struct pv_vtest_wait *wait = syncs->waits, *next; wait; wait = next) {
		next = wait->next;
		if (wait->deadline_ns <= now_ns)
			end_wait(syncs, wait);
		else
			next_ns = pv_min_u64(next_ns, wait->deadline_ns);
	}
	return next_ns;
}

void pv_vtest_syncs_finish(struct pv_vtest_syncs *syncs)
{
	struct pv_vtest_sync *sync;
	uint32_t cursor = 0;

	for (struct pv_vtest_wait *wait = syncs->waits, *next; wait; wait = next) {
		next = wait->next;
		free_wait(syncs, wait);
	}
	while ((sync = pv_id_map_any(&syncs->map, &cursor)))
		(void)pv_vtest_sync_remove(syncs, sync->id);
	pv_id_map_finish(&syncs->map);
	*syncs = (struct pv_vtest_syncs){0};
}
