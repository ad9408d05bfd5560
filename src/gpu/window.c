/* SPDX-License-Identifier: MIT */
#include "gpu/window.h"

#include "base/pages.h"
#include "base/socket.h"

#define PAGES_PER_WORD 64

enum pv_status pv_window_init(struct pv_window *window, uint64_t size_bytes)
{
	*window = (struct pv_window){.fd = -1};
	if (size_bytes == 0)
		return PV_OK;

	enum pv_status status = pv_shm_create("pv-window", size_bytes, &window->fd);
	if (status != PV_OK)
		return status;
	pv_shm_keep_size(window->fd);
	/* Whole words: the size is a multiple of 2 MiB. */
	status = pv_pages_map(size_bytes / PV_WINDOW_PAGE_BYTES / 8, (void **)&window->used);
	if (status != PV_OK) {
		pv_fd_close(&window->fd);
		return status;
	}
	window->size_bytes = size_bytes;
	return PV_OK;
}

void pv_window_finish(struct pv_window *window)
{
	pv_pages_unmap(window->used, window->size_bytes / PV_WINDOW_PAGE_BYTES / 8);
	window->used = NULL;
	if (window->size_bytes > 0)
		pv_fd_close(&window->fd);
	window->size_bytes = 0;
}

static uint64_t round_up(uint64_t len)
{
	return (len + PV_WINDOW_PAGE_BYTES - 1) / PV_WINDOW_PAGE_BYTES * PV_WINDOW_PAGE_BYTES;
}

/* The bits of pages [page, end) in the word that holds `page`; *next is the first page after it. */
static uint64_t word_mask(uint64_t page, uint64_t end, uint64_t *next)
{
	unsigned first = page % PAGES_PER_WORD;
	uint64_t n = pv_min_u64(end - page, PAGES_PER_WORD - first);

	*next = page + n;
	/* n is 1..PAGES_PER_WORD - first. */
	return ~0ull >> (PAGES_PER_WORD - n) << first;
}

static bool is_free(const struct pv_window *window, uint64_t page, uint64_t end)
{
	for (uint64_t next; page < end; page = next)
		if (window->used[page / PAGES_PER_WORD] & word_mask(page, end, &next))
			return false;
	return true;
}

enum pv_status pv_window_take(struct pv_window *window, uint64_t offset, uint64_t guest_len)
{
	if (guest_len == 0 || offset % PV_WINDOW_PAGE_BYTES != 0 ||
	    !pv_range_fits(offset, guest_len, window->size_bytes))
		return PV_ERR_GUEST;
	/* The window's end is a page's, so rounding up stays inside. */
	uint64_t len = round_up(guest_len), page = offset / PV_WINDOW_PAGE_BYTES;
	uint64_t end = page + len / PV_WINDOW_PAGE_BYTES;

	if (!is_free(window, page, end))
		return PV_ERR_GUEST;
	for (uint64_t next; page < end; page = next) {
		uint64_t mask = word_mask(page, end, &next);

		window->used[page / PAGES_PER_WORD] |= mask;
	}
	window->used_bytes += len;
	return PV_OK;
}

void pv_window_empty(struct pv_window *window, uint64_t offset, uint64_t guest_len)
{
	pv_shm_punch(window->fd, offset, round_up(guest_len));
}

void pv_window_release(struct pv_window *window, uint64_t offset, uint64_t guest_len)
{
	uint64_t len = round_up(guest_len), page = offset / PV_WINDOW_PAGE_BYTES;
	uint64_t end = page + len / PV_WINDOW_PAGE_BYTES;

	for (uint64_t next; page < end; page = next) {
		uint64_t mask = word_mask(page, end, &next);

		window->used[page / PAGES_PER_WORD] &= ~mask;
	}
	window->used_bytes -= len;
}
