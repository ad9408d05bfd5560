/* SPDX-License-Identifier: MIT */
#include "guestmem/guest_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/socket.h"
#include "guestmem/fault_guard.h"

struct pv_guest_file {
	_Atomic uint32_t refs;
	/* Immutable after create. */
	dev_t device;
	ino_t inode;
	uint64_t size_bytes;
	void *mapping;
	struct pv_fault_guard *guard;
	int fd; /* our own, for other processes */
};

struct pv_guest_region {
	_Atomic uint32_t refs;
	struct pv_guest_region_params params; /* `file` is a counted reference */
	uint8_t *memory;                      /* of guest_addr */
	void *mapping;                        /* ours to unmap; NULL for an embedder's memory */
	size_t mapping_size;
	struct pv_fault_guard *guard;
	int fd; /* with `mapping`: our own, for other processes */
};

struct entry {
	uint64_t guest_addr, size;
	uint8_t *memory;
	struct pv_guest_region *region;
};

/* Immutable after create, but for the reference count. */
struct pv_guest_map {
	_Atomic uint32_t refs;
	size_t n;
	struct entry entries[];
};

enum pv_status pv_guest_file_create(int fd, struct pv_guest_file **out)
{
	struct pv_guest_file *file;
	struct stat info;

	if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size <= 0) {
		pv_log(PV_LOG_ERROR, "guestmem", "what came for guest memory is no file with a size");
		return PV_ERR_PEER;
	}
	file = calloc(1, sizeof(*file));
	if (!file)
		return PV_ERR_NO_MEMORY;
	*file = (struct pv_guest_file){
	    .device = info.st_dev, .inode = info.st_ino, .size_bytes = (uint64_t)info.st_size, .mapping = MAP_FAILED};
	atomic_init(&file->refs, 1);
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	file->mapping = mmap(NULL, file->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file->mapping == MAP_FAILED) {
		pv_log(PV_LOG_ERROR, "guestmem", "cannot map a file of %llu bytes: %s",
		       (unsigned long long)file->size_bytes, strerror(errno));
		pv_guest_file_unref(file);
		return PV_ERR_HOST;
	}
	file->guard = pv_fault_guard_add(file->mapping, file->size_bytes);
	if (!file->guard) {
		pv_log(PV_LOG_ERROR, "guestmem", "too many memory regions in this process");
		pv_guest_file_unref(file);
		return PV_ERR_NO_MEMORY;
	}
	*out = file;
	return PV_OK;
}

struct pv_guest_file *pv_guest_file_ref(struct pv_guest_file *file)
{
	atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
	return file;
}

void pv_guest_file_unref(struct pv_guest_file *file)
{
	if (!file || atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
		return;
	pv_fault_guard_remove(file->guard);
	if (file->mapping != MAP_FAILED)
		munmap(file->mapping, file->size_bytes);
	pv_fd_close(&file->fd);
	free(file);
}

bool pv_guest_file_holds(const struct pv_guest_file *file, int fd, uint64_t offset, uint64_t size_bytes)
{
	struct stat info;

	return fstat(fd, &info) == 0 && info.st_dev == file->device && info.st_ino == file->inode &&
	       pv_range_fits(offset, size_bytes, file->size_bytes);
}

static enum pv_status use_file(struct pv_guest_region *region)
{
	const struct pv_guest_region_params *p = &region->params;

	if (!pv_range_fits(p->fd_offset, p->size_bytes, p->file->size_bytes)) {
		pv_log(PV_LOG_ERROR, "guestmem",
		       "a memory region of %llu bytes at %llu ends behind its file of %llu bytes",
		       (unsigned long long)p->size_bytes, (unsigned long long)p->fd_offset,
		       (unsigned long long)p->file->size_bytes);
		region->params.file = NULL; /* not ours to give back */
		return PV_ERR_PEER;
	}
	pv_guest_file_ref(p->file);
	region->memory = (uint8_t *)p->file->mapping + p->fd_offset;
	return PV_OK;
}

static enum pv_status map_file(struct pv_guest_region *region)
{
	const struct pv_guest_region_params *p = &region->params;
	struct stat info;
	uint64_t end;

	if (fstat(p->fd, &info) < 0) {
		pv_log(PV_LOG_ERROR, "guestmem", "fstat: %s", strerror(errno));
		return PV_ERR_HOST;
	}
	if (!pv_add_u64(p->fd_offset, p->size_bytes, &end) || info.st_size < 0 || end > (uint64_t)info.st_size) {
		pv_log(PV_LOG_ERROR, "guestmem",
		       "a memory region of %llu bytes at %llu ends behind its file of %llu bytes",
		       (unsigned long long)p->size_bytes, (unsigned long long)p->fd_offset,
		       (unsigned long long)info.st_size);
		return PV_ERR_PEER;
	}

	/* Huge-page files want offset and length in their own page size, which is their block size. */
	uint64_t align = (uint64_t)sysconf(_SC_PAGESIZE);
	if (info.st_blksize > 0 && ((uint64_t)info.st_blksize & ((uint64_t)info.st_blksize - 1)) == 0 &&
	    (uint64_t)info.st_blksize > align)
		align = (uint64_t)info.st_blksize;
	uint64_t start = p->fd_offset & ~(align - 1);
	if (end > UINT64_MAX - align)
		return PV_ERR_PEER;
	uint64_t size = ((end + align - 1) & ~(align - 1)) - start;

	void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, (off_t)start);
	if (mapping == MAP_FAILED) {
		pv_log(PV_LOG_ERROR, "guestmem", "cannot map a memory region of %llu bytes: %s",
		       (unsigned long long)p->size_bytes, strerror(errno));
		return PV_ERR_HOST;
	}
	region->mapping = mapping;
	region->mapping_size = size;
	region->memory = (uint8_t *)mapping + (p->fd_offset - start);
	region->fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	region->guard = pv_fault_guard_add(mapping, size);
	if (!region->guard) {
		pv_log(PV_LOG_ERROR, "guestmem", "too many memory regions in this process");
		return PV_ERR_NO_MEMORY;
	}
	return PV_OK;
}

enum pv_status pv_guest_region_create(const struct pv_guest_region_params *params, struct pv_guest_region **out)
{
	uint64_t ignored;

	/* The user range must not wrap either: addresses are computed in it. */
	if (params->size_bytes == 0 || !pv_add_u64(params->guest_addr, params->size_bytes, &ignored) ||
	    !pv_add_u64(params->user_addr, params->size_bytes, &ignored)) {
		pv_log(PV_LOG_ERROR, "guestmem", "a memory region of %llu bytes at guest address 0x%llx is impossible",
		       (unsigned long long)params->size_bytes, (unsigned long long)params->guest_addr);
		return PV_ERR_PEER;
	}

	struct pv_guest_region *region = calloc(1, sizeof(*region));
	if (!region)
		return PV_ERR_NO_MEMORY;
	atomic_init(&region->refs, 1);
	region->params = *params;
	region->fd = -1;
	if (params->fd >= 0)
		region->params.file = NULL;
	region->memory = params->memory;

	enum pv_status status = PV_OK;
	if (params->fd >= 0)
		status = map_file(region);
	else if (params->file)
		status = use_file(region);
	else if (!params->memory)
		status = PV_ERR_ARGUMENT;
	if (status != PV_OK) {
		pv_guest_region_unref(region);
		return status;
	}
	region->params.fd = -1; /* borrowed for the call only */
	*out = region;
	return PV_OK;
}

struct pv_guest_region *pv_guest_region_ref(struct pv_guest_region *region)
{
	atomic_fetch_add_explicit(&region->refs, 1, memory_order_relaxed);
	return region;
}

void pv_guest_region_unref(struct pv_guest_region *region)
{
	/* Release for what this thread did with the memory, acquire for the one that unmaps it. */
	if (!region || atomic_fetch_sub_explicit(&region->refs, 1, memory_order_acq_rel) != 1)
		return;
	pv_fault_guard_remove(region->guard);
	if (region->mapping)
		munmap(region->mapping, region->mapping_size);
	pv_guest_file_unref(region->params.file);
	pv_fd_close(&region->fd);
	free(region);
}

const struct pv_guest_region_params *pv_guest_region_params(const struct pv_guest_region *region)
{
	return &region->params;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->guest_addr > y->guest_addr) - (x->guest_addr < y->guest_addr);
}

enum pv_status pv_guest_map_create(struct pv_guest_region *const *regions, size_t n, struct pv_guest_map **out)
{
	if (n > PV_GUEST_MAX_REGIONS) {
		pv_log(PV_LOG_ERROR, "guestmem", "%zu memory regions are more than the %d supported", n,
		       PV_GUEST_MAX_REGIONS);
		return PV_ERR_PEER;
	}

	struct pv_guest_map *map = calloc(1, sizeof(*map) + n * sizeof(map->entries[0]));
	if (!map)
		return PV_ERR_NO_MEMORY;
	atomic_init(&map->refs, 1);
	for (size_t i = 0; i < n; i++)
		map->entries[i] = (struct entry){.guest_addr = regions[i]->params.guest_addr,
						 .size = regions[i]->params.size_bytes,
						 .memory = regions[i]->memory,
						 .region = pv_guest_region_ref(regions[i])};
	map->n = n;
	if (n > 0)
		qsort(map->entries, n, sizeof(map->entries[0]), compare_entries);

	for (size_t i = 1; i < n; i++) {
		if (map->entries[i].guest_addr - map->entries[i - 1].guest_addr >= map->entries[i - 1].size)
			continue;
		pv_log(PV_LOG_ERROR, "guestmem", "memory regions overlap at guest address 0x%llx",
		       (unsigned long long)map->entries[i].guest_addr);
		pv_guest_map_unref(map);
		return PV_ERR_PEER;
	}
	*out = map;
	return PV_OK;
}

struct pv_guest_map *pv_guest_map_ref(struct pv_guest_map *map)
{
	atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
	return map;
}

void pv_guest_map_unref(struct pv_guest_map *map)
{
	if (!map || atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < map->n; i++)
		pv_guest_region_unref(map->entries[i].region);
	free(map);
}

/* Which of the files it is; a new one is added. False: there are too many. */
static bool find_file(int fd, int *fds, size_t *nr_files, size_t max, uint64_t *out)
{
	struct stat info, other;

	if (fd < 0 || fstat(fd, &info) < 0)
		return false;
	for (size_t i = 0; i < *nr_files; i++) {
		if (fstat(fds[i], &other) == 0 && info.st_dev == other.st_dev && info.st_ino == other.st_ino) {
			*out = i;
			return true;
		}
	}
	if (*nr_files == max)
		return false;
	fds[*nr_files] = fd;
	*out = (*nr_files)++;
	return true;
}

size_t pv_guest_map_parts(const struct pv_guest_map *map, struct pv_guest_part parts[PV_GUEST_MAX_REGIONS], int *fds,
			  size_t *nr_files)
{
	size_t max = *nr_files, n = 0;

	*nr_files = 0;
	for (size_t i = 0; map && i < map->n; i++) {
		const struct pv_guest_region *region = map->entries[i].region;
		const struct pv_guest_region_params *p = &region->params;
		int fd = p->file ? p->file->fd : region->fd;

		parts[n] = (struct pv_guest_part){p->guest_addr, p->size_bytes, p->fd_offset, 0};
		if (find_file(fd, fds, nr_files, max, &parts[n].file))
			n++;
		else
			PV_LOG_LIMITED(PV_LOG_ERROR, "guestmem",
				       "%llu bytes of guest memory at 0x%llx cannot be shared with another process",
				       (unsigned long long)p->size_bytes, (unsigned long long)p->guest_addr);
	}
	return n;
}

/* The entry that holds `addr`, or NULL. */
static const struct entry *find(const struct pv_guest_map *map, uint64_t addr)
{
	size_t low = 0, high = map ? map->n : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->entries[middle].guest_addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || addr - map->entries[low - 1].guest_addr >= map->entries[low - 1].size)
		return NULL;
	return &map->entries[low - 1];
}

void *pv_guest_map_run(const struct pv_guest_map *map, uint64_t addr, uint64_t len, uint64_t *run_len)
{
	const struct entry *entry = find(map, addr);

	if (!entry)
		return NULL;
	uint64_t offset = addr - entry->guest_addr;
	*run_len = pv_min_u64(len, entry->size - offset);
	return entry->memory + offset;
}

void *pv_guest_map_resolve(const struct pv_guest_map *map, uint64_t addr, uint64_t len)
{
	uint64_t run_len;
	void *memory = pv_guest_map_run(map, addr, len, &run_len);

	return memory && run_len == len ? memory : NULL;
}

bool pv_guest_map_from_user(const struct pv_guest_map *map, uint64_t user_addr, uint64_t *guest_addr)
{
	for (size_t i = 0; map && i < map->n; i++) {
		const struct pv_guest_region_params *p = &map->entries[i].region->params;

		if (user_addr >= p->user_addr && user_addr - p->user_addr < p->size_bytes) {
			*guest_addr = p->guest_addr + (user_addr - p->user_addr);
			return true;
		}
	}
	return false;
}

bool pv_guest_map_is_intact(const struct pv_guest_map *map)
{
	for (size_t i = 0; map && i < map->n; i++) {
		const struct pv_guest_region *region = map->entries[i].region;
		const struct pv_fault_guard *guard = region->params.file ? region->params.file->guard : region->guard;

		if (guard && pv_fault_guard_hit(guard))
			return false;
	}
	return true;
}

void pv_guest_cursor_init(struct pv_guest_cursor *cursor, const struct pv_guest_map *map,
			  const struct pv_guest_span *spans, size_t n)
{
	*cursor = (struct pv_guest_cursor){.map = map, .spans = spans, .n = n};
}

/*
 * The next piece of the sequence at `offset`, in one region and one span. Advances the cursor to its span. NULL: past
 * the end, or not in guest memory.
 */
static uint8_t *next_run(struct pv_guest_cursor *cursor, uint64_t offset, uint64_t len, uint64_t *run_len)
{
	if (offset < cursor->index_offset) {
		cursor->index = 0;
		cursor->index_offset = 0;
	}
	while (cursor->index < cursor->n && offset - cursor->index_offset >= cursor->spans[cursor->index].len) {
		cursor->index_offset += cursor->spans[cursor->index].len;
		cursor->index++;
	}
	if (cursor->index == cursor->n)
		return NULL;

	const struct pv_guest_span *span = &cursor->spans[cursor->index];
	uint64_t inside = offset - cursor->index_offset, addr;
	if (!pv_add_u64(span->addr, inside, &addr))
		return NULL;
	return pv_guest_map_run(cursor->map, addr, pv_min_u64(len, span->len - inside), run_len);
}

enum pv_status pv_guest_cursor_read(struct pv_guest_cursor *cursor, uint64_t offset, void *dst, uint64_t len)
{
	uint8_t *out = dst;

	while (len > 0) {
		uint64_t run_len;
		const uint8_t *memory = next_run(cursor, offset, len, &run_len);

		if (!memory)
			return PV_ERR_GUEST;
		memcpy(out, memory, run_len);
		out += run_len;
		offset += run_len;
		len -= run_len;
	}
	return PV_OK;
}

enum pv_status pv_guest_read(const struct pv_guest_map *map, const struct pv_guest_span *spans, size_t n,
			     uint64_t offset, void *dst, uint64_t len)
{
	struct pv_guest_cursor cursor;

	pv_guest_cursor_init(&cursor, map, spans, n);
	return pv_guest_cursor_read(&cursor, offset, dst, len);
}

enum pv_status pv_guest_write(const struct pv_guest_map *map, const struct pv_guest_span *spans, size_t n,
			      uint64_t offset, const void *src, uint64_t len)
{
	struct pv_guest_cursor cursor;
	const uint8_t *in = src;

	pv_guest_cursor_init(&cursor, map, spans, n);
	while (len > 0) {
		uint64_t run_len;
		uint8_t *memory = next_run(&cursor, offset, len, &run_len);

		if (!memory)
			return PV_ERR_GUEST;
		memcpy(memory, in, run_len);
		in += run_len;
		offset += run_len;
		len -= run_len;
	}
	return PV_OK;
}
