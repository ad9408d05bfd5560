/* SPDX-License-Identifier: MIT */
/*
 * EDID 1.4 (VESA E-EDID release A2) for a monitor that shows any mode: the native timing, a short list of common ones
 * and the limits around them all. Timings follow CVT 1.2 reduced blanking, but for the rounding of the clock: a virtual
 * monitor can have exactly the refresh rate that was asked for.
 */
#include "gpu/edid.h"

#include <string.h>

/* Nobody's in the registry of PNP ids. */
#define VENDOR       "PVX"
#define PRODUCT_CODE 0x5047
#define SERIAL_HIGH  0x5056
#define MODEL_YEAR   2026

#define EDID_BLOCK_BYTES      128u
#define EDID_DESCRIPTOR_BYTES 18u
#define EDID_FIRST_DESCRIPTOR 54
#define EDID_MAX_CM           255

#define DTD_MAX_SIDE        4095 /* active and blanking are 12-bit fields */
#define DTD_MAX_CLOCK       65535
#define DISPLAYID_MAX_CLOCK (1u << 24) /* stored minus one */

#define REFRESH_DEFAULT_MILLIHERTZ 60000
#define REFRESH_MIN_MILLIHERTZ     24000
#define REFRESH_MAX_MILLIHERTZ     500000
#define RANGE_MAX                  510 /* of the limits in Hz and kHz */

/* CVT reduced blanking. */
#define RB_HBLANK        160
#define RB_HFRONT        48
#define RB_HSYNC         32
#define RB_VFRONT        3
#define RB_MIN_VBACK     6
#define RB_MIN_VBLANK_PS 460000000ULL
/* No frame is smaller than VGA's, so that tiny modes keep a clock above the 10 MHz that the formats can express. */
#define MIN_HTOTAL 800
#define MIN_VTOTAL 525

/* What the established and standard timings below span; the range limits always include it. */
#define LISTED_MIN_HZ  59
#define LISTED_MAX_HZ  61
#define LISTED_MIN_KHZ 31  /* 640x480 */
#define LISTED_MAX_KHZ 75  /* 1920x1200 */
#define LISTED_MAX_MHZ 200 /* 1920x1200 */

/* The picture in the base block when the native one needs the extension. */
#define FALLBACK_WIDTH  1920
#define FALLBACK_HEIGHT 1080

struct timing {
	uint32_t clock_10khz;
	uint32_t hactive, hblank;
	uint32_t vactive, vblank, vsync;
};

static uint32_t max_u32(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void put_u16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)value;
	p[1] = (uint8_t)(value >> 8);
}

/* CVT tells the aspect ratio by the width of the vertical sync. */
static uint32_t vsync_lines(uint32_t width, uint32_t height)
{
	static const struct {
		uint32_t x, y, lines;
	} aspects[] = {{4, 3, 4}, {16, 9, 5}, {16, 10, 6}, {5, 4, 7}, {15, 9, 7}};

	for (size_t i = 0; i < PV_ARRAY_LEN(aspects); i++)
		if (width * aspects[i].y == height * aspects[i].x)
			return aspects[i].lines;
	return 10;
}

static struct timing make_timing(uint32_t width, uint32_t height, uint32_t refresh_millihertz)
{
	struct timing t = {.hactive = width, .vactive = height, .vsync = vsync_lines(width, height)};
	uint64_t frame_ps = 1000000000000000ULL / refresh_millihertz;
	uint64_t line_ps = (frame_ps - RB_MIN_VBLANK_PS) / (height + RB_VFRONT);
	uint32_t vblank = (uint32_t)(RB_MIN_VBLANK_PS / line_ps) + 1;

	t.hblank = max_u32(RB_HBLANK, MIN_HTOTAL > width ? MIN_HTOTAL - width : 0);
	t.vblank = max_u32(vblank, RB_VFRONT + t.vsync + RB_MIN_VBACK);
	t.vblank = max_u32(t.vblank, MIN_VTOTAL > height ? MIN_VTOTAL - height : 0);
	uint64_t total = (uint64_t)(t.hactive + t.hblank) * (t.vactive + t.vblank);
	uint64_t clock = (total * refresh_millihertz + 5000000) / 10000000;
	t.clock_10khz = (uint32_t)pv_min_u64(clock, DISPLAYID_MAX_CLOCK);
	return t;
}

static bool timing_fits_dtd(const struct timing *t)
{
	return t->hactive <= DTD_MAX_SIDE && t->hblank <= DTD_MAX_SIDE && t->vactive <= DTD_MAX_SIDE &&
	       t->vblank <= DTD_MAX_SIDE && t->clock_10khz <= DTD_MAX_CLOCK;
}

static uint64_t timing_line_hz(const struct timing *t)
{
	return (uint64_t)t->clock_10khz * 10000 / (t->hactive + t->hblank);
}

static uint32_t timing_refresh_millihertz(const struct timing *t)
{
	uint64_t total = (uint64_t)(t->hactive + t->hblank) * (t->vactive + t->vblank);

	return (uint32_t)((uint64_t)t->clock_10khz * 10000000 / total);
}

/* Detailed timing descriptor, E-EDID 3.10.2. */
static void write_dtd(uint8_t *d, const struct timing *t, uint32_t width_mm, uint32_t height_mm)
{
	put_u16(d, t->clock_10khz);
	d[2] = (uint8_t)t->hactive;
	d[3] = (uint8_t)t->hblank;
	d[4] = (uint8_t)((t->hactive >> 8) << 4 | t->hblank >> 8);
	d[5] = (uint8_t)t->vactive;
	d[6] = (uint8_t)t->vblank;
	d[7] = (uint8_t)((t->vactive >> 8) << 4 | t->vblank >> 8);
	d[8] = RB_HFRONT;
	d[9] = RB_HSYNC;
	d[10] = (uint8_t)(RB_VFRONT << 4 | t->vsync);
	d[11] = 0;
	d[12] = (uint8_t)width_mm;
	d[13] = (uint8_t)height_mm;
	d[14] = (uint8_t)((width_mm >> 8) << 4 | height_mm >> 8);
	d[17] = 0x1a; /* digital separate syncs, horizontal positive, vertical negative: reduced blanking */
}

static void write_text(uint8_t *d, uint8_t tag, const char *text)
{
	size_t len = strlen(text);

	d[3] = tag;
	memset(d + 5, ' ', 13);
	for (size_t i = 0; i < len; i++)
		d[5 + i] = (uint8_t)text[i];
	if (len < 13)
		d[5 + len] = '\n';
}

/* The two limits share one scheme: a byte each, and flags that add 255 to the larger or to both. */
static uint8_t write_limits(uint8_t *d, uint32_t low, uint32_t high)
{
	uint8_t flags = low > 255 ? 3 : high > 255 ? 2 : 0;

	d[0] = (uint8_t)(flags == 3 ? low - 255 : low);
	d[1] = (uint8_t)(flags ? high - 255 : high);
	return flags;
}

/*
 * Display range limits, E-EDID 3.10.3.3.1: bare limits, as any clock in between will do. False, and a dummy descriptor,
 * when the fields cannot span the timing.
 */
static bool write_range(uint8_t *d, const struct timing *t)
{
	uint32_t refresh = timing_refresh_millihertz(t);
	uint64_t line_hz = timing_line_hz(t);
	uint64_t max_khz = (line_hz + 999) / 1000;
	uint32_t min_khz = (uint32_t)pv_min_u64(line_hz / 1000, LISTED_MIN_KHZ);
	uint32_t max_clock = (t->clock_10khz + 999) / 1000;

	if (max_khz > RANGE_MAX || max_clock > 255) {
		d[3] = 0x10;
		return false;
	}
	d[3] = 0xfd;
	uint8_t vertical =
	    write_limits(d + 5, min_u32(refresh / 1000, LISTED_MIN_HZ), max_u32((refresh + 999) / 1000, LISTED_MAX_HZ));
	uint8_t horizontal = write_limits(d + 7, max_u32(min_khz, 1), max_u32((uint32_t)max_khz, LISTED_MAX_KHZ));
	d[4] = (uint8_t)(horizontal << 2 | vertical);
	d[9] = (uint8_t)max_u32(max_clock, LISTED_MAX_MHZ / 10);
	d[10] = 1;
	d[11] = '\n';
	memset(d + 12, ' ', 6);
	return true;
}

/* Makes the bytes of the block add up to 0; the last one is free for it. */
static void finish_checksum(uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i + 1 < len; i++)
		sum = (uint8_t)(sum + bytes[i]);
	bytes[len - 1] = (uint8_t)(0 - sum);
}

static uint8_t displayid_aspect(uint32_t width, uint32_t height)
{
	static const struct {
		uint32_t x, y;
	} aspects[] = {{1, 1}, {5, 4}, {4, 3}, {15, 9}, {16, 9}, {16, 10}, {64, 27}, {256, 135}};

	for (size_t i = 0; i < PV_ARRAY_LEN(aspects); i++)
		if (width * aspects[i].y == height * aspects[i].x)
			return (uint8_t)i;
	return 8; /* not in the list */
}

/* Starts a data block and leaves `d` at its payload. */
static uint8_t *put_block(uint8_t *d, uint8_t tag, uint8_t len)
{
	d[0] = tag;
	d[2] = len;
	return d + 3;
}

static uint8_t *put_product(uint8_t *d, uint32_t index)
{
	d = put_block(d, 0x00, 12);
	memcpy(d, VENDOR, sizeof(VENDOR) - 1);
	put_u16(d + 3, PRODUCT_CODE);
	put_u16(d + 5, index + 1);
	put_u16(d + 7, SERIAL_HIGH);
	d[9] = 0xff; /* a model year follows */
	d[10] = MODEL_YEAR - 2000;
	return d + 12;
}

static uint8_t *put_parameters(uint8_t *d, const struct timing *t, uint32_t width_mm, uint32_t height_mm)
{
	uint32_t longer = max_u32(t->hactive, t->vactive), shorter = min_u32(t->hactive, t->vactive);

	d = put_block(d, 0x01, 12);
	put_u16(d, min_u32(width_mm, 6553) * 10);
	put_u16(d + 2, min_u32(height_mm, 6553) * 10);
	put_u16(d + 4, t->hactive);
	put_u16(d + 6, t->vactive);
	d[9] = 120; /* gamma 2.2 */
	d[10] = (uint8_t)min_u32((longer * 100 + shorter / 2) / shorter - 100, 255);
	d[11] = 0x77; /* 8 bits a colour */
	return d + 12;
}

static uint8_t *put_detailed_timing(uint8_t *d, const struct timing *t)
{
	uint32_t clock = t->clock_10khz - 1;

	d = put_block(d, 0x03, 20);
	put_u16(d, clock);
	d[2] = (uint8_t)(clock >> 16);
	d[3] = (uint8_t)(0x80 | displayid_aspect(t->hactive, t->vactive)); /* preferred */
	put_u16(d + 4, t->hactive - 1);
	put_u16(d + 6, t->hblank - 1);
	put_u16(d + 8, 0x8000 | (RB_HFRONT - 1)); /* positive sync */
	put_u16(d + 10, RB_HSYNC - 1);
	put_u16(d + 12, t->vactive - 1);
	put_u16(d + 14, t->vblank - 1);
	put_u16(d + 16, RB_VFRONT - 1);
	put_u16(d + 18, t->vsync - 1);
	return d + 20;
}

/* One lane of DisplayPort 1.2 with RGB of 8 bits a colour: nothing reads it, but a display must have an interface. */
static void put_interface(uint8_t *d)
{
	d = put_block(d, 0x0f, 10);
	d[0] = 0xa1;
	d[1] = 0x12;
	d[2] = 0x02;
}

/* DisplayID 1.3 as an EDID extension: one section with the data blocks that every display must have. */
static void write_displayid(uint8_t *block, const struct timing *t, uint32_t width_mm, uint32_t height_mm,
			    uint32_t index)
{
	uint8_t *section = block + 1;
	uint8_t *d = section + 4;

	block[0] = 0x70;
	section[0] = 0x13;
	section[1] = EDID_BLOCK_BYTES - 7; /* payload, without the section's own header and checksum */
	section[2] = 3;                    /* a display on its own */
	d = put_product(d, index);
	d = put_parameters(d, t, width_mm, height_mm);
	d = put_detailed_timing(d, t);
	put_interface(d);
	finish_checksum(section, EDID_BLOCK_BYTES - 2);
	finish_checksum(block, EDID_BLOCK_BYTES);
}

static void write_identity(uint8_t *edid, uint32_t index)
{
	static const uint8_t magic[] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
	/* Five bits a letter, big-endian. */
	uint32_t vendor =
	    (uint32_t)(VENDOR[0] - '@') << 10 | (uint32_t)(VENDOR[1] - '@') << 5 | (uint32_t)(VENDOR[2] - '@');

	memcpy(edid, magic, sizeof(magic));
	edid[8] = (uint8_t)(vendor >> 8);
	edid[9] = (uint8_t)vendor;
	put_u16(edid + 10, PRODUCT_CODE);
	put_u16(edid + 12, index + 1);
	put_u16(edid + 14, SERIAL_HIGH);
	edid[16] = 0xff; /* the next byte is a model year */
	edid[17] = MODEL_YEAR - 1990;
	edid[18] = 1;
	edid[19] = 4;
}

static void write_listed_timings(uint8_t *edid)
{
	/* {width / 8 - 31, aspect ratio << 6 | refresh - 60}: 16:10 is 0, 4:3 is 1, 5:4 is 2, 16:9 is 3. */
	static const uint8_t standard[8][2] = {
	    {1280 / 8 - 31, 3 << 6}, {1280 / 8 - 31, 0 << 6}, {1280 / 8 - 31, 2 << 6}, {1440 / 8 - 31, 0 << 6},
	    {1600 / 8 - 31, 3 << 6}, {1680 / 8 - 31, 0 << 6}, {1920 / 8 - 31, 3 << 6}, {1920 / 8 - 31, 0 << 6},
	};

	edid[35] = 0x21; /* 640x480 and 800x600 at 60 Hz */
	edid[36] = 0x08; /* 1024x768 at 60 Hz */
	memcpy(edid + 38, standard, sizeof(standard));
}

size_t pv_edid_write(const struct pv_output *output, uint32_t index, uint8_t edid[PV_EDID_MAX_BYTES])
{
	/* sRGB and its white point, E-EDID 3.7. */
	static const uint8_t srgb[] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
	uint32_t width = min_u32(max_u32(output->width, 1), PV_FRAME_MAX_SIDE);
	uint32_t height = min_u32(max_u32(output->height, 1), PV_FRAME_MAX_SIDE);
	uint32_t refresh = output->refresh_millihertz ? output->refresh_millihertz : REFRESH_DEFAULT_MILLIHERTZ;
	refresh = min_u32(max_u32(refresh, REFRESH_MIN_MILLIHERTZ), REFRESH_MAX_MILLIHERTZ);
	/* 25.4 mm an inch at 96 dots. */
	uint32_t width_mm = output->width_mm ? output->width_mm : (width * 254 + 480) / 960;
	uint32_t height_mm = output->height_mm ? output->height_mm : (height * 254 + 480) / 960;
	struct timing native = make_timing(width, height, refresh);
	bool extended = !timing_fits_dtd(&native);
	char serial[] = "PV-00";

	memset(edid, 0, PV_EDID_MAX_BYTES);
	write_identity(edid, index);
	edid[20] = 0xa5; /* digital, 8 bits a colour, DisplayPort */
	/* What the field cannot hold is left unknown, in both directions: one alone would be an aspect ratio. */
	uint32_t width_cm = (width_mm + 5) / 10, height_cm = (height_mm + 5) / 10;
	bool size_known = width_cm >= 1 && height_cm >= 1 && width_cm <= EDID_MAX_CM && height_cm <= EDID_MAX_CM;
	edid[21] = (uint8_t)(size_known ? width_cm : 0);
	edid[22] = (uint8_t)(size_known ? height_cm : 0);
	edid[23] = 120; /* gamma 2.2 */
	memcpy(edid + 25, srgb, sizeof(srgb));
	write_listed_timings(edid);

	struct timing base =
	    extended ? make_timing(FALLBACK_WIDTH, FALLBACK_HEIGHT, REFRESH_DEFAULT_MILLIHERTZ) : native;
	uint8_t *descriptor = edid + EDID_FIRST_DESCRIPTOR;
	write_dtd(descriptor, &base, size_known ? width_mm : 0, size_known ? height_mm : 0);
	bool any_frequency = write_range(descriptor + EDID_DESCRIPTOR_BYTES, &native);
	/* sRGB by default; the first timing is the native one; continuous frequency, which needs limits. */
	edid[24] = (uint8_t)(0x04 | (extended ? 0 : 0x02) | any_frequency);
	write_text(descriptor + (size_t)2 * EDID_DESCRIPTOR_BYTES, 0xfc, "PearVisor");
	serial[3] = (char)('0' + index / 10 % 10);
	serial[4] = (char)('0' + index % 10);
	write_text(descriptor + (size_t)3 * EDID_DESCRIPTOR_BYTES, 0xff, serial);
	edid[126] = extended;
	finish_checksum(edid, EDID_BLOCK_BYTES);
	if (!extended)
		return EDID_BLOCK_BYTES;
	write_displayid(edid + EDID_BLOCK_BYTES, &native, width_mm, height_mm, index);
	return (size_t)2 * EDID_BLOCK_BYTES;
}
