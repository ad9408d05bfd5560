/* SPDX-License-Identifier: MIT */
#include "transport/vfio_user/pci_config.h"

#include <string.h>

enum {
	/* Header type 0 (PCI 3.0, 6.1). */
	VENDOR = 0x00,
	DEVICE = 0x02,
	COMMAND = 0x04,
	STATUS = 0x06,
	REVISION = 0x08,
	CLASS = 0x0a,
	CACHE_LINE = 0x0c,
	BAR0 = 0x10,
	BAR2 = 0x18,
	NR_BARS = 6,
	SUBSYSTEM_VENDOR = 0x2c,
	SUBSYSTEM = 0x2e,
	CAPABILITIES = 0x34,
	INTERRUPT_LINE = 0x3c,

	/* Inside of the Express capability (PCI Express 3.0, 7.8). */
	EXPRESS_FLAGS = 0x02,
	DEVICE_CAP = 0x04,
	DEVICE_CONTROL = 0x08,
	LINK_CAP = 0x0c,
	LINK_CONTROL = 0x10,
	LINK_STATUS = 0x12,
	DEVICE_CONTROL_2 = 0x28,
	LINK_CONTROL_2 = 0x30,
};

#define ID_MSIX    0x11
#define ID_VENDOR  0x09
#define ID_EXPRESS 0x10

/* Virtio structures (virtio 1.3, 4.1.4). */
enum { COMMON_CFG = 1, NOTIFY_CFG = 2, ISR_CFG = 3, DEVICE_CFG = 4, PCI_CFG = 5, SHARED_MEMORY_CFG = 8 };
enum { HOST_VISIBLE = 1 }; /* shared memory of virtio-gpu (5.7.6.9) */

/* Memory space, bus master, parity and system errors, no INTx. */
#define COMMAND_WRITABLE 0x0546
#define HAS_CAPABILITIES 0x0010
#define MEMORY_64_BIT    0x0c /* and prefetchable */
#define DISPLAY_OTHER    0x0380

#define ENDPOINT            0x0002 /* and version 2 of the capability */
#define FLR_CAPABLE         0x10000000u
#define ROLE_BASED_ERRORS   0x00008000u
#define INITIATE_FLR        0x8000
#define LINK_2_5_GT_X1      0x0011
#define DEVICE_CTL_WRITABLE 0x7fff

static void put(uint8_t *at, uint64_t value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get(const uint8_t *at, size_t len)
{
	uint32_t value = 0;

	for (size_t i = 0; i < len; i++)
		value |= (uint32_t)at[i] << (8 * i);
	return value;
}

static void set(struct pv_pci_config *config, uint32_t offset, size_t len, uint64_t value)
{
	put(config->bytes + offset, value, len);
}

static void allow(struct pv_pci_config *config, uint32_t offset, size_t len, uint64_t mask)
{
	put(config->writable + offset, mask, len);
}

/* Sizing works by itself: the address bits below the size stay 0 (PCI 3.0, 6.2.5.1). */
static void add_bars(struct pv_pci_config *config, uint64_t window_bytes)
{
	allow(config, BAR0, 4, ~(uint64_t)(PV_PCI_BAR0_BYTES - 1));
	if (window_bytes == 0)
		return;
	set(config, BAR2, 4, MEMORY_64_BIT);
	allow(config, BAR2, 8, ~(window_bytes - 1) & ~0xfULL);
}

static void add_msix(struct pv_pci_config *config, uint32_t next)
{
	const uint32_t at = PV_PCI_CAP_MSIX;

	set(config, at, 2, ID_MSIX | next << 8);
	set(config, at + 2, 2, PV_PCI_NR_VECTORS - 1);
	allow(config, at + 2, 2, 0xc000); /* enable, mask all */
	set(config, at + 4, 4, PV_PCI_TABLE_OFFSET);
	set(config, at + 8, 4, PV_PCI_PENDING_OFFSET);
}

static void add_virtio(struct pv_pci_config *config, uint32_t at, uint32_t next, uint8_t type, uint8_t len)
{
	set(config, at, 2, ID_VENDOR | next << 8);
	set(config, at + 2, 1, len);
	set(config, at + 3, 1, type);
}

static void add_registers(struct pv_pci_config *config, uint32_t at, uint32_t next, uint8_t type, uint8_t len,
			  uint32_t offset)
{
	add_virtio(config, at, next, type, len);
	set(config, at + 8, 4, offset);
	set(config, at + 12, 4, PV_PCI_PART_BYTES);
}

static void add_window(struct pv_pci_config *config, uint32_t next, uint64_t bytes)
{
	const uint32_t at = PV_PCI_CAP_WINDOW;

	add_virtio(config, at, next, SHARED_MEMORY_CFG, 24);
	set(config, at + 4, 1, 2); /* BAR */
	set(config, at + 5, 1, HOST_VISIBLE);
	set(config, at + 12, 4, bytes & UINT32_MAX);
	set(config, at + 20, 4, bytes >> 32);
}

static void add_express(struct pv_pci_config *config)
{
	const uint32_t at = PV_PCI_CAP_EXPRESS;

	set(config, at, 2, ID_EXPRESS);
	set(config, at + EXPRESS_FLAGS, 2, ENDPOINT);
	set(config, at + DEVICE_CAP, 4, FLR_CAPABLE | ROLE_BASED_ERRORS);
	allow(config, at + DEVICE_CONTROL, 2, DEVICE_CTL_WRITABLE);
	set(config, at + LINK_CAP, 4, LINK_2_5_GT_X1);
	set(config, at + LINK_STATUS, 2, LINK_2_5_GT_X1);
	allow(config, at + LINK_CONTROL, 2, 0x01c3);
	allow(config, at + DEVICE_CONTROL_2, 2, 0x001f);
	allow(config, at + LINK_CONTROL_2, 2, 0x000f);
}

void pv_pci_config_init(struct pv_pci_config *config, uint64_t window_bytes)
{
	uint32_t after_access = window_bytes ? PV_PCI_CAP_WINDOW : PV_PCI_CAP_EXPRESS;

	memset(config, 0, sizeof(*config));
	set(config, VENDOR, 2, 0x1af4);
	set(config, DEVICE, 2, 0x1040 + 16);
	set(config, REVISION, 1, 1);
	set(config, CLASS, 2, DISPLAY_OTHER);
	set(config, SUBSYSTEM_VENDOR, 2, 0x1af4);
	set(config, SUBSYSTEM, 2, 0x1100);
	set(config, STATUS, 2, HAS_CAPABILITIES);
	set(config, CAPABILITIES, 1, PV_PCI_CAP_MSIX);
	allow(config, COMMAND, 2, COMMAND_WRITABLE);
	allow(config, CACHE_LINE, 1, 0xff);
	allow(config, INTERRUPT_LINE, 1, 0xff); /* a scratch byte: the pin next to it says that there is no INTx */
	add_bars(config, window_bytes);
	add_msix(config, PV_PCI_CAP_COMMON);
	add_registers(config, PV_PCI_CAP_COMMON, PV_PCI_CAP_ISR, COMMON_CFG, 16, PV_PCI_COMMON_OFFSET);
	add_registers(config, PV_PCI_CAP_ISR, PV_PCI_CAP_DEVICE, ISR_CFG, 16, PV_PCI_ISR_OFFSET);
	add_registers(config, PV_PCI_CAP_DEVICE, PV_PCI_CAP_NOTIFY, DEVICE_CFG, 16, PV_PCI_DEVICE_OFFSET);
	add_registers(config, PV_PCI_CAP_NOTIFY, PV_PCI_CAP_ACCESS, NOTIFY_CFG, 20, PV_PCI_NOTIFY_OFFSET);
	set(config, PV_PCI_CAP_NOTIFY + 16, 4, PV_PCI_NOTIFY_MULTIPLY);
	add_virtio(config, PV_PCI_CAP_ACCESS, after_access, PCI_CFG, 20);
	allow(config, PV_PCI_CAP_ACCESS + 4, 1, 0xff);       /* BAR */
	allow(config, PV_PCI_CAP_ACCESS + 8, 8, UINT64_MAX); /* offset and length */
	allow(config, PV_PCI_ACCESS_DATA, 4, UINT32_MAX);
	if (window_bytes)
		add_window(config, PV_PCI_CAP_EXPRESS, window_bytes);
	add_express(config);
}

void pv_pci_config_reset(struct pv_pci_config *config, uint64_t window_bytes)
{
	uint8_t bars[NR_BARS * 4];

	memcpy(bars, config->bytes + BAR0, sizeof(bars));
	pv_pci_config_init(config, window_bytes);
	memcpy(config->bytes + BAR0, bars, sizeof(bars));
}

void pv_pci_config_read(const struct pv_pci_config *config, uint32_t offset, void *buf, uint32_t len)
{
	if (PV_NEVER(!pv_range_fits(offset, len, sizeof(config->bytes))))
		return;
	memcpy(buf, config->bytes + offset, len);
}

bool pv_pci_config_write(struct pv_pci_config *config, uint32_t offset, const void *buf, uint32_t len)
{
	const uint32_t flr = PV_PCI_CAP_EXPRESS + DEVICE_CONTROL + 1; /* the byte with the bit */
	const uint8_t *data = buf;

	if (PV_NEVER(!pv_range_fits(offset, len, sizeof(config->bytes))))
		return false;
	for (uint32_t i = 0; i < len; i++) {
		uint8_t mask = config->writable[offset + i];

		config->bytes[offset + i] = (uint8_t)((config->bytes[offset + i] & ~mask) | (data[i] & mask));
	}
	return pv_range_fits(flr - pv_min_u64(flr, offset), 1, len) && offset <= flr &&
	       (data[flr - offset] & INITIATE_FLR >> 8);
}

struct pv_pci_access pv_pci_config_access(const struct pv_pci_config *config)
{
	const uint8_t *cap = config->bytes + PV_PCI_CAP_ACCESS;

	return (struct pv_pci_access){.bar = cap[4], .offset = get(cap + 8, 4), .len = get(cap + 12, 4)};
}
