/* SPDX-License-Identifier: Apache-2.0 */
/* Eight processors: each is there, with its own number, and works. */
#include "tests/guest/guest.h"

#define CPUS 8

static unsigned int identifiers[CPUS];
static unsigned int arrived; /* atomic */
static unsigned int counted; /* atomic */

/* CPUID leaf 1: the initial APIC ID, and how many logical processors. */
static void identify(unsigned int *identifier, unsigned int *count)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ __volatile__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	*identifier = b >> 24;
	*count = b >> 16 & 0xff;
}

void guest_second_main(unsigned int index)
{
	unsigned int count;

	identify(&identifiers[index], &count);
	__atomic_fetch_add(&arrived, 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < 1000; i++)
		__atomic_fetch_add(&counted, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&arrived, 1, __ATOMIC_RELEASE);
}

void guest_main(void)
{
	static const char *const names[CPUS] = { "0", "1", "2", "3",
						 "4", "5", "6", "7" };
	unsigned int count;
	uint64_t start;

	identify(&identifiers[0], &count);
	tap_equal(count, CPUS, "CPUID says how many there are", NULL);
	tap_equal(identifiers[0], 0, "the first has APIC ID 0", NULL);
	for (unsigned int i = 1; i < CPUS; i++)
		tap_case(guest_start_cpu(i), "processor starts", names[i]);
	start = ticks();
	while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) < 2 * (CPUS - 1) &&
	       ticks() - start < TICKS_PATIENCE)
		pause();
	for (unsigned int i = 1; i < CPUS; i++)
		tap_equal(identifiers[i], i, "its APIC ID", names[i]);
	tap_equal(counted, 1000 * (CPUS - 1), "they count together", NULL);
	tap_end();
	power_off();
}
