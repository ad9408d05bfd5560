/* SPDX-License-Identifier: MIT */
/*
 * The configuration space of our PCI function (PCI Express 3.0 chapter 7; virtio 1.3, 4.1.4): what is in it, and which
 * bits a write changes. What a write leads to is the caller's. Owned by one thread.
 */
#ifndef PV_TRANSPORT_VFIO_USER_PCI_CONFIG_H
#define PV_TRANSPORT_VFIO_USER_PCI_CONFIG_H

#include "base/base.h"

#define PV_PCI_CONFIG_BYTES 4096

#define PV_PCI_NR_VECTORS 3 /* config changes, and one for each queue */

/* BAR 0: registers, each kind in pages of its own. */
#define PV_PCI_BAR0_BYTES      0x8000u
#define PV_PCI_COMMON_OFFSET   0x0000u
#define PV_PCI_ISR_OFFSET      0x1000u
#define PV_PCI_DEVICE_OFFSET   0x2000u
#define PV_PCI_NOTIFY_OFFSET   0x3000u
#define PV_PCI_TABLE_OFFSET    0x4000u /* of MSI-X */
#define PV_PCI_PENDING_OFFSET  0x5000u
#define PV_PCI_PART_BYTES      0x1000u
#define PV_PCI_NOTIFY_MULTIPLY 4u /* bytes from one queue's doorbell to the next */

/* Capabilities. Each but the last two is as virtio asks for it. */
#define PV_PCI_CAP_MSIX    0x40u
#define PV_PCI_CAP_COMMON  0x4cu
#define PV_PCI_CAP_ISR     0x5cu
#define PV_PCI_CAP_DEVICE  0x6cu
#define PV_PCI_CAP_NOTIFY  0x7cu
#define PV_PCI_CAP_ACCESS  0x90u /* VIRTIO_PCI_CAP_PCI_CFG: registers through the configuration space */
#define PV_PCI_CAP_WINDOW  0xa4u
#define PV_PCI_CAP_EXPRESS 0xc0u
/* The register's data in CAP_ACCESS. */
#define PV_PCI_ACCESS_DATA (PV_PCI_CAP_ACCESS + 16)

struct pv_pci_config {
	uint8_t bytes[PV_PCI_CONFIG_BYTES];
	uint8_t writable[PV_PCI_CONFIG_BYTES]; /* mask */
};

/* `window_bytes`: of BAR 2, a power of two; 0: there is no window. */
void pv_pci_config_init(struct pv_pci_config *config, uint64_t window_bytes);
/* Back to how it began, but for the BARs: whoever resets the function puts the rest back as it needs it. */
void pv_pci_config_reset(struct pv_pci_config *config, uint64_t window_bytes);

/* [offset, offset + len) is inside. */
void pv_pci_config_read(const struct pv_pci_config *config, uint32_t offset, void *buf, uint32_t len);
/* Returns true if the write asked for a function level reset. */
PV_MUST_USE bool pv_pci_config_write(struct pv_pci_config *config, uint32_t offset, const void *buf, uint32_t len);

/* What CAP_ACCESS points at. */
struct pv_pci_access {
	uint8_t bar;
	uint32_t offset, len;
};
struct pv_pci_access pv_pci_config_access(const struct pv_pci_config *config);

#endif
