/* SPDX-License-Identifier: MIT */
#include "gpu/edid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct mode {
	uint32_t width, height, refresh_hz;
	bool extended;
} modes[] = {
    {640, 480, 60, false},    {800, 600, 60, false},     {1024, 768, 60, false},  {1280, 800, 0, false},
    {1280, 800, 60, false},   {1366, 768, 60, false},    {1920, 1080, 60, false}, {1920, 1080, 75, false},
    {1920, 1080, 144, false}, {3840, 2160, 60, false},   {4095, 2160, 24, false}, {640, 480, 500, false},
    {1, 1, 60, false},        {1, 1, 1, false},          {4096, 2160, 30, true},  {3840, 2160, 144, true},
    {5120, 2880, 60, true},   {7680, 4320, 60, true},    {1, 16384, 60, true},    {16384, 1, 500, true},
    {16384, 16384, 60, true}, {16384, 16384, 500, true},
};

struct parsed {
	uint32_t width, height, htotal, vtotal, clock_10khz;
	uint32_t width_mm, height_mm;
};

static uint32_t sum_of(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 0;

	while (len--)
		sum += *bytes++;
	return sum & 0xff;
}

static struct parsed parse_dtd(const uint8_t *d)
{
	struct parsed p = {
	    .clock_10khz = d[0] | (uint32_t)d[1] << 8,
	    .width = d[2] | (uint32_t)(d[4] & 0xf0) << 4,
	    .height = d[5] | (uint32_t)(d[7] & 0xf0) << 4,
	    .width_mm = d[12] | (uint32_t)(d[14] & 0xf0) << 4,
	    .height_mm = d[13] | (uint32_t)(d[14] & 0x0f) << 8,
	};
	p.htotal = p.width + (d[3] | (uint32_t)(d[4] & 0x0f) << 8);
	p.vtotal = p.height + (d[6] | (uint32_t)(d[7] & 0x0f) << 8);
	return p;
}

/* Walks the data blocks to the type I timing. */
static struct parsed parse_displayid(const uint8_t *block)
{
	const uint8_t *section = block + 1, *d = section + 4, *end = d + section[1];

	assert_int_equal(block[0], 0x70);
	assert_int_equal(section[0], 0x13);
	assert_int_equal(sum_of(section, 5u + section[1]), 0);
	while (d + 3 <= end && d[0] != 0x03)
		d += 3 + d[2];
	assert_true(d + 23 <= end);
	assert_int_equal(d[2], 20);
	assert_true(d[6] & 0x80);
	d += 3;
	struct parsed p = {
	    .clock_10khz = 1 + (d[0] | (uint32_t)d[1] << 8 | (uint32_t)d[2] << 16),
	    .width = 1 + (d[4] | (uint32_t)d[5] << 8),
	    .height = 1 + (d[12] | (uint32_t)d[13] << 8),
	};
	p.htotal = p.width + 1 + (d[6] | (uint32_t)d[7] << 8);
	p.vtotal = p.height + 1 + (d[14] | (uint32_t)d[15] << 8);
	return p;
}

static size_t write_mode(const struct mode *mode, uint32_t index, uint8_t edid[PV_EDID_MAX_BYTES])
{
	struct pv_output output = {
	    .enabled = true,
	    .width = mode->width,
	    .height = mode->height,
	    .refresh_millihertz = mode->refresh_hz * 1000,
	};

	memset(edid, 0xcc, PV_EDID_MAX_BYTES);
	return pv_edid_write(&output, index, edid);
}

static void modes_read_back(void **state)
{
	uint8_t edid[PV_EDID_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < PV_ARRAY_LEN(modes); i++) {
		const struct mode *m = &modes[i];
		size_t size = write_mode(m, 0, edid);

		assert_int_equal(size, m->extended ? 256 : 128);
		assert_int_equal(edid[126], m->extended);
		for (size_t at = 0; at < size; at += 128)
			assert_int_equal(sum_of(edid + at, 128), 0);
		struct parsed p = m->extended ? parse_displayid(edid + 128) : parse_dtd(edid + 54);
		assert_int_equal(p.width, m->width);
		assert_int_equal(p.height, m->height);

		double hz = m->refresh_hz ? m->refresh_hz : 60;
		double got = p.clock_10khz * 1e4 / ((double)p.htotal * p.vtotal);
		if (hz < 24)
			hz = 24;              /* the documented floor */
		if (p.clock_10khz < 1u << 24) /* else the format ends there */
			assert_true(got > hz * 0.999 && got < hz * 1.001);
		if (m->extended) {
			struct parsed base = parse_dtd(edid + 54);
			assert_int_equal(base.width, 1920);
			assert_int_equal(base.height, 1080);
		}
	}
}

static void heads_differ_in_serial_only(void **state)
{
	uint8_t a[PV_EDID_MAX_BYTES], b[PV_EDID_MAX_BYTES];
	const struct mode mode = {1280, 800, 60, false};

	(void)state;
	for (uint32_t i = 0; i < PV_GPU_MAX_SCANOUTS; i++)
		for (uint32_t j = i + 1; j < PV_GPU_MAX_SCANOUTS; j++) {
			write_mode(&mode, i, a);
			write_mode(&mode, j, b);
			assert_memory_not_equal(a + 12, b + 12, 4);
			assert_memory_not_equal(&a[54 + 3 * 18], &b[54 + 3 * 18], 18);
			assert_memory_equal(a, b, 12);
			assert_memory_equal(a + 16, b + 16, 54 - 16 + 3 * 18);
		}
	write_mode(&mode, 11, a);
	assert_memory_equal(a + 113, "PV-11\n", 6);
	assert_memory_equal(a + 95, "PearVisor\n", 10);
}

static void physical_size(void **state)
{
	struct pv_output output = {.enabled = true, .width = 1920, .height = 1080};
	uint8_t edid[PV_EDID_MAX_BYTES];

	(void)state;
	pv_edid_write(&output, 0, edid);
	struct parsed p = parse_dtd(edid + 54);
	assert_int_equal(p.width_mm, 508); /* 20 inches at 96 dpi */
	assert_int_equal(p.height_mm, 286);
	assert_int_equal(edid[21], 51);
	assert_int_equal(edid[22], 29);

	output.width_mm = 600;
	output.height_mm = 340;
	pv_edid_write(&output, 0, edid);
	p = parse_dtd(edid + 54);
	assert_int_equal(p.width_mm, 600);
	assert_int_equal(p.height_mm, 340);

	/* Too large for the fields: unknown, not cut off. */
	output.width_mm = UINT32_MAX;
	pv_edid_write(&output, 0, edid);
	p = parse_dtd(edid + 54);
	assert_int_equal(p.width_mm + p.height_mm, 0);
	assert_int_equal(edid[21] + edid[22], 0);
}

/* Nothing that an embedder may put into an output leads outside the buffer or to a division by 0 (see sanitizers). */
static void wild_outputs(void **state)
{
	static const uint32_t values[] = {0, 1, 2, 23, 4095, 4096, 16384, 16385, 65536, UINT32_MAX};
	uint8_t edid[PV_EDID_MAX_BYTES];

	(void)state;
	for (size_t w = 0; w < PV_ARRAY_LEN(values); w++)
		for (size_t h = 0; h < PV_ARRAY_LEN(values); h++)
			for (size_t r = 0; r < PV_ARRAY_LEN(values); r++) {
				struct pv_output output = {
				    .width = values[w],
				    .height = values[h],
				    .refresh_millihertz = values[r],
				    .width_mm = values[h],
				    .height_mm = values[r],
				};
				size_t size = pv_edid_write(&output, 15, edid);
				assert_true(size == 128 || size == 256);
				for (size_t at = 0; at < size; at += 128)
					assert_int_equal(sum_of(edid + at, 128), 0);
			}
}

static bool have_tool(const char *name)
{
	char command[64];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", name);
	return system(command) == 0;
}

static void check_with(const char *tool, const char *arguments)
{
	if (!have_tool(tool))
		skip();
	for (size_t i = 0; i < PV_ARRAY_LEN(modes); i++) {
		char path[] = "/tmp/pv-edid-XXXXXX", command[128];
		uint8_t edid[PV_EDID_MAX_BYTES];
		size_t size = write_mode(&modes[i], (uint32_t)i % PV_GPU_MAX_SCANOUTS, edid);

		int fd = mkstemp(path);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, edid, size), size);
		close(fd);
		snprintf(command, sizeof(command), "%s %s <%s >/dev/null 2>&1", tool, arguments, path);
		int result = system(command);
		unlink(path);
		if (result != 0)
			fail_msg("%s refuses %ux%u at %u Hz", tool, modes[i].width, modes[i].height,
				 modes[i].refresh_hz);
	}
}

static void edid_decode_agrees(void **state)
{
	(void)state;
	check_with("edid-decode", "--check");
}

static void libdisplay_info_agrees(void **state)
{
	(void)state;
	check_with("di-edid-decode", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modes_read_back),    cmocka_unit_test(heads_differ_in_serial_only),
	    cmocka_unit_test(physical_size),      cmocka_unit_test(wild_outputs),
	    cmocka_unit_test(edid_decode_agrees), cmocka_unit_test(libdisplay_info_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
