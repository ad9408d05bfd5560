/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NR_QUEUES 2
#define V         PV_VHOST_VERSION

/* A row: what is sent, and a word of what is wrong with it (NULL: nothing). */
struct row {
	const char *name;
	uint32_t request, flags, size;
	/* Up to 5 words of payload at the start, the rest 0. */
	uint64_t words[5];
	size_t nr_fds;
	const char *wrong;
};

#define PAIR(low, high) ((uint64_t)(low) | (uint64_t)(high) << 32)

static const struct row rows[] = {
    {"get features", PV_VHOST_GET_FEATURES, V, 0, {0}, 0, NULL},
    {"need_reply", PV_VHOST_SET_OWNER, V | PV_VHOST_NEED_REPLY, 0, {0}, 0, NULL},
    {"number 0", 0, V, 0, {0}, 0, "number 0: unknown"},
    {"log base", 6, V, 16, {0}, 0, "number 6: unknown"},
    {"one past the last", PV_VHOST_REQUEST_LIMIT, V, 0, {0}, 0, "unknown"},
    {"far past the last", UINT32_MAX, V, 0, {0}, 0, "unknown"},
    {"no version", PV_VHOST_GET_FEATURES, 0, 0, {0}, 0, "version"},
    {"version 2", PV_VHOST_GET_FEATURES, 2, 0, {0}, 0, "version"},
    {"version 3", PV_VHOST_GET_FEATURES, 3, 0, {0}, 0, "version"},
    {"a reply", PV_VHOST_GET_FEATURES, V | PV_VHOST_REPLY, 0, {0}, 0, "flags"},
    {"unknown flag", PV_VHOST_GET_FEATURES, V | 0x10, 0, {0}, 0, "flags"},
    {"payload where there is none", PV_VHOST_GET_FEATURES, V, 8, {0}, 0, "size 8: must be 0"},
    {"no payload", PV_VHOST_SET_FEATURES, V, 0, {0}, 0, "size 0: must be 8"},
    {"short payload", PV_VHOST_SET_FEATURES, V, 7, {0}, 0, "size 7: must be 8"},
    {"long payload", PV_VHOST_SET_FEATURES, V, UINT32_MAX, {0}, 0, "must be 8"},
    {"an fd too many", PV_VHOST_SET_FEATURES, V, 8, {1}, 1, "1 fds: must be 0"},

    {"ring size", PV_VHOST_SET_VRING_NUM, V, 8, {PAIR(1, 256)}, 0, NULL},
    {"ring size that the core refuses", PV_VHOST_SET_VRING_NUM, V, 8, {PAIR(1, 255)}, 0, NULL},
    {"ring index", PV_VHOST_SET_VRING_NUM, V, 8, {PAIR(2, 256)}, 0, "index 2: this device has 2"},
    {"ring size 0", PV_VHOST_SET_VRING_NUM, V, 8, {PAIR(0, 0)}, 0, "num 0"},
    {"ring size 32768", PV_VHOST_SET_VRING_NUM, V, 8, {PAIR(0, 32768)}, 0, NULL},
    {"ring size 32769", PV_VHOST_SET_VRING_NUM, V, 8, {PAIR(0, 32769)}, 0, "num 32769"},
    {"base", PV_VHOST_SET_VRING_BASE, V, 8, {PAIR(0, 65535)}, 0, NULL},
    {"base of 17 bits", PV_VHOST_SET_VRING_BASE, V, 8, {PAIR(0, 65536)}, 0, "num 65536"},
    {"enable", PV_VHOST_SET_VRING_ENABLE, V, 8, {PAIR(1, 1)}, 0, NULL},
    {"enable 2", PV_VHOST_SET_VRING_ENABLE, V, 8, {PAIR(1, 2)}, 0, "num 2: must be 0 or 1"},
    {"address", PV_VHOST_SET_VRING_ADDR, V, 40, {PAIR(1, 0), 1, 2, 3, 4}, 0, NULL},
    {"address with log", PV_VHOST_SET_VRING_ADDR, V, 40, {PAIR(1, 1)}, 0, "logging"},
    {"address index", PV_VHOST_SET_VRING_ADDR, V, 40, {PAIR(UINT32_MAX, 0)}, 0, "index 4294967295"},

    {"kick", PV_VHOST_SET_VRING_KICK, V, 8, {1}, 1, NULL},
    {"kick by polling", PV_VHOST_SET_VRING_KICK, V, 8, {1 | 1 << 8}, 0, NULL},
    {"kick without fd", PV_VHOST_SET_VRING_KICK, V, 8, {1}, 0, "bit 8"},
    {"kick with fd and not", PV_VHOST_SET_VRING_KICK, V, 8, {1 | 1 << 8}, 1, "bit 8"},
    {"kick index", PV_VHOST_SET_VRING_KICK, V, 8, {2}, 1, "index 2"},
    {"kick with high bits", PV_VHOST_SET_VRING_KICK, V, 8, {1ULL << 63}, 1, "index"},
    {"kick with 2 fds", PV_VHOST_SET_VRING_KICK, V, 8, {1}, 2, "2 fds: must be at most 1"},
    {"no call fd", PV_VHOST_SET_VRING_CALL, V, 8, {1 << 8}, 0, NULL},

    {"empty table", PV_VHOST_SET_MEM_TABLE, V, 8, {PAIR(0, 0)}, 0, NULL},
    {"table of 1", PV_VHOST_SET_MEM_TABLE, V, 40, {PAIR(1, 0), 0, 4096, 0, 0}, 1, NULL},
    {"table without its fd", PV_VHOST_SET_MEM_TABLE, V, 40, {PAIR(1, 0), 0, 4096, 0, 0}, 0, "0 fds"},
    {"table with another's fd", PV_VHOST_SET_MEM_TABLE, V, 40, {PAIR(1, 0), 0, 4096, 0, 0}, 2, "2 fds"},
    {"table of 9", PV_VHOST_SET_MEM_TABLE, V, 264, {PAIR(9, 0), 0, 4096, 0, 0}, 1, "9 regions"},
    {"table too small for its regions", PV_VHOST_SET_MEM_TABLE, V, 40, {PAIR(2, 0), 0, 4096}, 2, "does not fit"},
    {"table too large for its regions", PV_VHOST_SET_MEM_TABLE, V, 72, {PAIR(1, 0), 0, 4096}, 1, "does not fit"},
    {"table of 4 Gi", PV_VHOST_SET_MEM_TABLE, V, 8, {PAIR(UINT32_MAX, 0)}, 0, "regions"},
    {"table with an empty region", PV_VHOST_SET_MEM_TABLE, V, 40, {PAIR(1, 0), 0, 0, 0, 0}, 1, "0x0: 0"},

    {"region", PV_VHOST_ADD_MEM_REG, V, 40, {0, 1ULL << 32, 4096, 1ULL << 40, 0}, 1, NULL},
    {"region without fd", PV_VHOST_ADD_MEM_REG, V, 40, {0, 0, 4096, 0, 0}, 0, "0 fds: must be 1"},
    {"region of size 0", PV_VHOST_ADD_MEM_REG, V, 40, {0, 16, 0, 0, 0}, 1, "size"},
    {"guest address wraps", PV_VHOST_ADD_MEM_REG, V, 40, {0, UINT64_MAX, 2, 0, 0}, 1, "wraps"},
    {"user address wraps", PV_VHOST_ADD_MEM_REG, V, 40, {0, 0, 4096, UINT64_MAX - 4094, 0}, 1, "wraps"},
    {"offset wraps", PV_VHOST_ADD_MEM_REG, V, 40, {0, 0, 4096, 0, UINT64_MAX - 4094}, 1, "wraps"},
    {"removal", PV_VHOST_REM_MEM_REG, V, 40, {0, 0, 4096, 0, 0}, 0, NULL},
    {"removal with fd", PV_VHOST_REM_MEM_REG, V, 40, {0, 0, 4096, 0, 0}, 1, NULL},
    {"removal with 2 fds", PV_VHOST_REM_MEM_REG, V, 40, {0, 0, 4096, 0, 0}, 2, "2 fds"},

    {"config", PV_VHOST_GET_CONFIG, V, 32, {PAIR(0, 20), PAIR(0, 0)}, 0, NULL},
    {"config of 256", PV_VHOST_GET_CONFIG, V, 268, {PAIR(0, 256), 0}, 0, NULL},
    {"config of 257", PV_VHOST_GET_CONFIG, V, 269, {PAIR(0, 257), 0}, 0, "size 269"},
    {"config without header", PV_VHOST_GET_CONFIG, V, 11, {0}, 0, "size 11"},
    {"config of another size", PV_VHOST_GET_CONFIG, V, 32, {PAIR(0, 21), 0}, 0, "config size 21"},
    {"config past the end", PV_VHOST_GET_CONFIG, V, 32, {PAIR(237, 20), 0}, 0, "config offset 237"},
    {"config offset wraps", PV_VHOST_SET_CONFIG, V, 16, {PAIR(UINT32_MAX, 4), 0}, 0, "config offset"},
    {"config flags", PV_VHOST_SET_CONFIG, V, 16, {PAIR(0, 4), 2}, 0, "config flags 0x2"},
    {"config of a migration", PV_VHOST_SET_CONFIG, V, 16, {PAIR(0, 4), 1}, 0, NULL},

    {"back channel", PV_VHOST_SET_BACKEND_REQ_FD, V, 0, {0}, 1, NULL},
    {"back channel without fd", PV_VHOST_SET_BACKEND_REQ_FD, V, 0, {0}, 0, "0 fds: must be 1"},
    {"console", PV_VHOST_GPU_SET_SOCKET, V, 0, {0}, 1, NULL},
    {"window", PV_VHOST_GET_SHMEM_CONFIG, V, 0, {0}, 0, NULL},
};

static bool is_open(int fd)
{
	struct stat info;

	return fd >= 0 && fstat(fd, &info) == 0;
}

/* The payload lies at the end of its own allocation, so that a sanitizer sees a read past it. */
static void check_row(const struct row *row)
{
	struct pv_vhost_header header = {.request = row->request, .flags = row->flags, .size = row->size};
	struct pv_vhost_fault fault = {"nothing"};
	struct pv_vhost_message message = {0};
	int fds[4] = {-1, -1, -1, -1};
	uint8_t *payload = NULL;
	enum pv_status status = pv_vhost_header_check(&header, &fault);

	if (status == PV_OK) {
		payload = calloc(1, row->size ? row->size : 1);
		assert_non_null(payload);
		memcpy(payload, row->words, pv_min_u64(row->size, sizeof(row->words)));
		for (size_t i = 0; i < row->nr_fds; i++)
			assert_true((fds[i] = dup(1)) >= 0);
		status = pv_vhost_message_parse(&header, payload, fds, row->nr_fds, NR_QUEUES, &message, &fault);
		for (size_t i = 0; i < row->nr_fds; i++)
			assert_int_equal(is_open(fds[i]), status == PV_OK);
	}
	free(payload);
	if (row->wrong) {
		assert_int_equal(status, PV_ERR_PEER);
		assert_non_null(strstr(fault.text, row->wrong));
		return;
	}
	assert_int_equal(status, PV_OK);
	assert_int_equal(message.request, row->request);
	assert_int_equal(message.need_reply, (row->flags & PV_VHOST_NEED_REPLY) != 0);
	assert_int_equal(message.nr_fds, row->nr_fds);
	pv_vhost_message_finish(&message);
	for (size_t i = 0; i < row->nr_fds; i++)
		assert_false(is_open(fds[i]));
}

static void every_row_is_taken_or_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++) {
		print_message("# %s\n", rows[i].name);
		check_row(&rows[i]);
	}
}

static void parse(uint32_t request, const void *payload, uint32_t size, const int *fds, size_t nr_fds,
		  struct pv_vhost_message *message)
{
	struct pv_vhost_header header = {.request = request, .flags = V, .size = size};
	struct pv_vhost_fault fault;

	assert_int_equal(pv_vhost_header_check(&header, &fault), PV_OK);
	assert_int_equal(pv_vhost_message_parse(&header, payload, fds, nr_fds, NR_QUEUES, message, &fault), PV_OK);
}

static void fields_arrive(void **state)
{
	(void)state;
	struct pv_vhost_message message;
	uint64_t addr[5] = {PAIR(1, 0), 0x1000, 0x2000, 0x3000, 0};
	parse(PV_VHOST_SET_VRING_ADDR, addr, sizeof(addr), NULL, 0, &message);
	assert_int_equal(message.addr.index, 1);
	assert_int_equal(message.addr.desc, 0x1000);
	assert_int_equal(message.addr.used, 0x2000);
	assert_int_equal(message.addr.avail, 0x3000);

	uint64_t region[5] = {99, 1, 2, 3, 4};
	parse(PV_VHOST_REM_MEM_REG, region, sizeof(region), NULL, 0, &message);
	assert_int_equal(message.region.guest_addr, 1);
	assert_int_equal(message.region.size_bytes, 2);
	assert_int_equal(message.region.user_addr, 3);
	assert_int_equal(message.region.mmap_offset, 4);

	uint64_t table[9] = {PAIR(2, 0), 0, 4096, 7, 0, 1 << 20, 8192, 9, 10};
	int fds[2] = {dup(1), dup(1)};
	parse(PV_VHOST_SET_MEM_TABLE, table, sizeof(table), fds, 2, &message);
	assert_int_equal(message.memory.nr_regions, 2);
	assert_int_equal(message.memory.regions[1].size_bytes, 8192);
	assert_int_equal(pv_vhost_message_take_fd(&message), fds[0]);
	pv_vhost_message_finish(&message);
	assert_true(is_open(fds[0]));
	assert_false(is_open(fds[1]));
	close(fds[0]);

	uint64_t no_fd = 1 | PV_VHOST_RING_NO_FD;
	parse(PV_VHOST_SET_VRING_CALL, &no_fd, sizeof(no_fd), NULL, 0, &message);
	assert_int_equal(message.ring.index, 1);
	assert_int_equal(message.ring.num, 0);
	assert_int_equal(pv_vhost_message_take_fd(&message), -1);
}

/* The size that a good message of each request has is accepted; one more and one less is not, but for the lists. */
static void every_known_request_has_a_name_and_a_size(void **state)
{
	(void)state;
	size_t known = 0;

	for (uint32_t request = 0; request < PV_VHOST_REQUEST_LIMIT + 10; request++) {
		bool accepts_any = false;

		for (uint32_t size = 0; size < 4096; size++) {
			struct pv_vhost_header header = {.request = request, .flags = V, .size = size};
			struct pv_vhost_fault fault;

			if (pv_vhost_header_check(&header, &fault) == PV_OK) {
				accepts_any = true;
				assert_in_range(size, 0, PV_VHOST_MAX_PAYLOAD_BYTES);
			}
		}
		known += accepts_any;
		assert_int_equal(accepts_any, strcmp(pv_vhost_request_name(request), "request") != 0);
	}
	assert_int_equal(known, 27);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_row_is_taken_or_named),
	    cmocka_unit_test(fields_arrive),
	    cmocka_unit_test(every_known_request_has_a_name_and_a_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
