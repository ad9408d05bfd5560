/* SPDX-License-Identifier: MIT */
/*
 * Guest memory: the only code that turns a guest address into a pointer.
 *
 * A pv_guest_map is an immutable, sorted table of regions; a change of memory makes a new map. Maps and regions are
 * reference-counted and may be shared by threads. Guest memory itself changes under our feet: copy once, check the
 * copy. A peer that truncates the file behind a region does not kill us: the region turns into zero pages and is marked
 * lost (pv_guest_map_is_intact()).
 */
#ifndef PV_GUESTMEM_GUEST_MAP_H
#define PV_GUESTMEM_GUEST_MAP_H

#include "base/base.h"

#define PV_GUEST_MAX_REGIONS 1024

/* `len` bytes at guest-physical `addr`; not checked against any map. */
struct pv_guest_span {
	uint64_t addr;
	uint64_t len;
};

/*
 * A file mapped shared, read-write and whole, for as many regions as lie in it. Reference-counted, any thread; a peer
 * that maps and unmaps pieces of the same file all the time costs no mmap then.
 */
struct pv_guest_file;

/* `fd` is borrowed. PV_ERR_PEER: it is no file with a size. PV_ERR_HOST: it cannot be mapped. Both logged. */
PV_MUST_USE enum pv_status pv_guest_file_create(int fd, struct pv_guest_file **out);
struct pv_guest_file *pv_guest_file_ref(struct pv_guest_file *file);
/* NULL is fine. */
void pv_guest_file_unref(struct pv_guest_file *file);
/* Whether it is the file behind `fd` and has [offset, offset + size). */
bool pv_guest_file_holds(const struct pv_guest_file *file, int fd, uint64_t offset, uint64_t size_bytes);

struct pv_guest_region_params {
	uint64_t guest_addr; /* guest-physical address of the first byte */
	uint64_t size_bytes; /* > 0; guest_addr + size_bytes must not wrap */
	uint64_t user_addr;  /* the front end's own address of it (vhost-user); 0 if it has none */
	int fd;              /* borrowed; mapped shared, read-write. -1: use `file` or `memory` */
	uint64_t fd_offset;  /* any value; need not be page-aligned */
	/* With fd -1: a file that is mapped already and holds the range from fd_offset on; a reference is taken. */
	struct pv_guest_file *file;
	void *memory; /* with neither: the embedder's own mapping, valid until the region's last unref */
};

struct pv_guest_region;
struct pv_guest_map;

/* PV_ERR_PEER: the file is smaller than offset + size, or the range wraps. PV_ERR_HOST: it cannot be mapped. */
PV_MUST_USE enum pv_status pv_guest_region_create(const struct pv_guest_region_params *params,
						  struct pv_guest_region **out);
struct pv_guest_region *pv_guest_region_ref(struct pv_guest_region *region);
void pv_guest_region_unref(struct pv_guest_region *region);
const struct pv_guest_region_params *pv_guest_region_params(const struct pv_guest_region *region);

/* Takes its own references. PV_ERR_PEER: guest ranges overlap, or more than PV_GUEST_MAX_REGIONS. n may be 0. */
PV_MUST_USE enum pv_status pv_guest_map_create(struct pv_guest_region *const *regions, size_t n,
					       struct pv_guest_map **out);
struct pv_guest_map *pv_guest_map_ref(struct pv_guest_map *map);
/* NULL is fine. */
void pv_guest_map_unref(struct pv_guest_map *map);

/* A pointer to [addr, addr + len) if one region holds all of it, else NULL. Valid while the map is referenced. */
void *pv_guest_map_resolve(const struct pv_guest_map *map, uint64_t addr, uint64_t len);
/* The longest run that starts at `addr`, up to `len`; *run_len is written on success. NULL: `addr` is in no region. */
void *pv_guest_map_run(const struct pv_guest_map *map, uint64_t addr, uint64_t len, uint64_t *run_len);
/* A front end's own address to the guest-physical one; false if no region has it. */
bool pv_guest_map_from_user(const struct pv_guest_map *map, uint64_t user_addr, uint64_t *guest_addr);
/* False once the file behind any region was cut short. */
bool pv_guest_map_is_intact(const struct pv_guest_map *map);

/* A region, for another process: a range of a file. */
struct pv_guest_part {
	uint64_t guest_addr, size_bytes, offset_bytes;
	uint64_t file; /* which */
};
/*
 * All regions that are a file's, and the files, each once; `fds` are borrowed from the map. Returns how many parts,
 * *nr_files: room at `fds` in, files out. What is no file, or of one too many, is left out, with a line in the log.
 * `map` may be NULL.
 */
size_t pv_guest_map_parts(const struct pv_guest_map *map, struct pv_guest_part parts[PV_GUEST_MAX_REGIONS], int *fds,
			  size_t *nr_files);

/*
 * Copies [offset, offset + len) of the byte sequence that the spans form. PV_ERR_GUEST: the sequence is shorter, or
 * part of it is in no region; bytes before that part may have been copied.
 */
PV_MUST_USE enum pv_status pv_guest_read(const struct pv_guest_map *map, const struct pv_guest_span *spans, size_t n,
					 uint64_t offset, void *dst, uint64_t len);
PV_MUST_USE enum pv_status pv_guest_write(const struct pv_guest_map *map, const struct pv_guest_span *spans, size_t n,
					  uint64_t offset, const void *src, uint64_t len);

/* The same in increasing offsets without a search from the start each time (rows of a picture). */
struct pv_guest_cursor {
	const struct pv_guest_map *map;
	const struct pv_guest_span *spans;
	size_t n, index;
	uint64_t index_offset; /* offset of spans[index] in the sequence */
};
void pv_guest_cursor_init(struct pv_guest_cursor *cursor, const struct pv_guest_map *map,
			  const struct pv_guest_span *spans, size_t n);
PV_MUST_USE enum pv_status pv_guest_cursor_read(struct pv_guest_cursor *cursor, uint64_t offset, void *dst,
						uint64_t len);

#endif
