/* SPDX-License-Identifier: MIT */
#include "transport/vfio_user/pci_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define WINDOW (8ULL << 30)

static uint32_t get32(const struct pv_pci_config *config, uint32_t offset)
{
	uint32_t value;

	pv_pci_config_read(config, offset, &value, sizeof(value));
	return value;
}

static void set32(struct pv_pci_config *config, uint32_t offset, uint32_t value)
{
	assert_false(pv_pci_config_write(config, offset, &value, sizeof(value)));
}

/* No capability runs into the next one or out of the header's page, and the list ends. */
static void capabilities_do_not_overlap(void **state)
{
	(void)state;
	static const uint64_t windows[] = {0, 2ULL << 20, WINDOW};

	for (size_t i = 0; i < PV_ARRAY_LEN(windows); i++) {
		struct pv_pci_config config;
		uint8_t at;
		int n = 0;

		pv_pci_config_init(&config, windows[i]);
		for (at = config.bytes[0x34]; at; at = config.bytes[at + 1]) {
			uint8_t id = config.bytes[at], next = config.bytes[at + 1];
			uint32_t len = id == 0x09 ? config.bytes[at + 2] : id == 0x11 ? 12 : 60;

			assert_true(at % 4 == 0 && at + len <= 256);
			assert_true(next == 0 || next >= at + len);
			n++;
		}
		assert_int_equal(n, windows[i] ? 8 : 7);
	}
}

static void bars_tell_their_size(void **state)
{
	(void)state;
	struct pv_pci_config config;

	pv_pci_config_init(&config, WINDOW);
	for (uint32_t bar = 0; bar < 6; bar++)
		set32(&config, 0x10 + 4 * bar, UINT32_MAX);
	assert_int_equal(get32(&config, 0x10), ~(PV_PCI_BAR0_BYTES - 1));
	assert_int_equal(get32(&config, 0x14), 0);
	assert_int_equal(get32(&config, 0x18), 0xc);
	assert_int_equal(get32(&config, 0x1c), ~(uint32_t)((WINDOW >> 32) - 1));
	assert_int_equal(get32(&config, 0x20), 0);
	assert_int_equal(get32(&config, 0x30), 0);
	set32(&config, 0x18, 0x0000000c);
	set32(&config, 0x1c, 0x000000fc);
	assert_int_equal(get32(&config, 0x1c), 0xfc);
}

static void writes_keep_to_their_bits(void **state)
{
	(void)state;
	struct pv_pci_config config, fresh;

	pv_pci_config_init(&fresh, WINDOW);
	config = fresh;
	for (uint32_t offset = 0; offset < PV_PCI_CONFIG_BYTES; offset += 4)
		if (offset != PV_PCI_CAP_EXPRESS + 8)
			set32(&config, offset, UINT32_MAX);
	for (uint32_t i = 0; i < PV_PCI_CONFIG_BYTES; i++)
		assert_int_equal(config.bytes[i] & ~config.writable[i], fresh.bytes[i] & ~config.writable[i]);
	pv_pci_config_reset(&config, WINDOW);
	for (uint32_t i = 0; i < PV_PCI_CONFIG_BYTES; i++)
		assert_true((i >= 0x10 && i < 0x28) || config.bytes[i] == fresh.bytes[i]);
}

/* By whatever width the register is written. */
static void function_level_reset_is_noticed(void **state)
{
	(void)state;
	const uint32_t control = PV_PCI_CAP_EXPRESS + 8;
	const uint8_t bytes[8] = {0, 0, 0, 0, 0, 0x80};
	struct pv_pci_config config;

	pv_pci_config_init(&config, 0);
	assert_true(pv_pci_config_write(&config, control, bytes + 4, 2));
	assert_true(pv_pci_config_write(&config, control, bytes + 4, 4));
	assert_true(pv_pci_config_write(&config, control + 1, bytes + 5, 1));
	assert_true(pv_pci_config_write(&config, control - 4, bytes, 8));
	assert_false(pv_pci_config_write(&config, control, bytes + 4, 1));
	assert_false(pv_pci_config_write(&config, control + 2, bytes + 5, 2));
	assert_false(pv_pci_config_write(&config, control - 4, bytes, 4));
	assert_int_equal(get32(&config, control) & 0x8000, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(capabilities_do_not_overlap),
	    cmocka_unit_test(bars_tell_their_size),
	    cmocka_unit_test(writes_keep_to_their_bits),
	    cmocka_unit_test(function_level_reset_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
