/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device under its races, for the thread sanitizer: a driver thread
 * per queue reads and writes at random and checks every byte, while a vCPU
 * thread resets the device under them and sets it up again.
 *
 *	stress_blk [ROUNDS]
 *
 * Each queue has blocks of its own. A block's content is a function of queue,
 * block and version, so that a read tells which write it saw. A write that a
 * reset cut off leaves its block unknown until the next one.
 *
 * In every second round the vCPU waits until the drivers are through; in the
 * others it resets while they work. After a reset the device has no business
 * in guest memory: the vCPU overwrites all of it and looks whether it stays.
 *
 * Half of the rounds have a rate limit, so that threads wait for tokens and the
 * reset interrupts that, too.
 */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "devices/error.h"
#include "devices/virtio_blk.h"
#include "memory/base.h"
#include "memory/guest_memory.h"
#include "virtio/driver.h"
#include "virtio/mmio.h"

#define QUEUES 3
#define BLOCKS 64 /* per queue */
#define BLOCK_BYTES 4096
#define SLOTS 12 /* requests in flight per queue */
#define REQUESTS 300 /* per queue and round */
#define RAM_PER_QUEUE (1 * MIB) /* rings, then slots */
#define SLOTS_AT (512 * KIB)
#define SLOT_BYTES 8192 /* a page for header and status, one for payload */
#define STATUS_AT 64
#define PAYLOAD_AT 4096
#define CANARY 0xc5
#define PATIENCE_S 60

struct slot {
	bool busy;
	bool write;
	unsigned int block;
	uint32_t version; /* that is written */
	uint16_t head;
};

struct blocks {
	bool known[BLOCKS];
	bool busy[BLOCKS];
	uint32_t version[BLOCKS];
};

struct stress;

struct client {
	struct stress *stress;
	unsigned int index;
	uint64_t random;
	struct driver driver;
	struct slot slots[SLOTS];
	struct blocks blocks;
	unsigned int submitted, answered;
	unsigned int lost, corrupt; /* over all rounds */
	uint64_t total;
	pthread_t thread;
};

struct stress {
	struct guest_memory memory;
	struct virtio_blk blk;
	struct threads threads;
	int stop_fd;
	unsigned int rounds;
	bool resetting; /* atomic: the drivers are to let go */
	pthread_barrier_t begin, end;
	unsigned int touched; /* bytes changed after a reset */
	unsigned int interrupts; /* atomic */
	struct client clients[QUEUES];
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void reg_write(struct stress *stress, uint32_t offset, uint32_t value)
{
	virtio_mmio_write(&stress->blk.device, offset, &value, sizeof(value));
}

static uint64_t slot_address(const struct client *client, unsigned int slot)
{
	return client->index * RAM_PER_QUEUE + SLOTS_AT + slot * SLOT_BYTES;
}

static uint8_t *host(struct stress *stress, uint64_t address)
{
	return guest_memory_host(&stress->memory, GPA(address), 1);
}

static void pattern_fill(const struct client *client, unsigned int block,
			 uint32_t version, uint8_t *bytes)
{
	uint64_t state = ((uint64_t)client->index << 56 |
			  (uint64_t)block << 40 | version) +
			 1;
	unsigned int i;

	for (i = 0; i < BLOCK_BYTES; i += 8) {
		next_random(&state);
		memcpy(bytes + i, &state, 8);
	}
}

/* Fills slot @at with a random request for a block that is not in use. */
static bool slot_fill(struct client *client, unsigned int at)
{
	unsigned int block =
		(unsigned int)(next_random(&client->random) % BLOCKS);
	struct slot *slot = &client->slots[at];
	uint64_t address = slot_address(client, at);
	struct virtio_blk_outhdr header = { 0 };
	struct driver_buffer buffers[3];
	uint8_t *memory = host(client->stress, address);
	bool write = next_random(&client->random) % 2;
	int head;

	if (client->blocks.busy[block])
		return false;
	header.type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
	header.sector = (client->index * BLOCKS + block) * (BLOCK_BYTES / 512);
	memcpy(memory, &header, sizeof(header));
	memory[STATUS_AT] = 0xee;
	slot->version = client->blocks.version[block] + 1;
	if (write)
		pattern_fill(client, block, slot->version, memory + PAYLOAD_AT);
	buffers[0] = (struct driver_buffer){ IOVA(address), 16, false };
	buffers[1] = (struct driver_buffer){ IOVA(address + PAYLOAD_AT),
					     BLOCK_BYTES, !write };
	buffers[2] =
		(struct driver_buffer){ IOVA(address + STATUS_AT), 1, true };
	if (next_random(&client->random) % 2)
		head = driver_add_indirect(&client->driver, buffers, 3);
	else
		head = driver_add(&client->driver, buffers, 3);
	if (head < 0)
		return false;
	slot->busy = true;
	slot->write = write;
	slot->block = block;
	slot->head = (uint16_t)head;
	client->blocks.busy[block] = true;
	return true;
}

static void submit(struct client *client)
{
	unsigned int count =
		1 + (unsigned int)(next_random(&client->random) % SLOTS);
	unsigned int i;

	for (i = 0; i < SLOTS && count > 0 && client->submitted < REQUESTS;
	     i++) {
		if (client->slots[i].busy || !slot_fill(client, i))
			continue;
		client->submitted++;
		count--;
	}
	if (!driver_publish(&client->driver))
		return;
	/* Both ways: as an ioeventfd does, and by the register. */
	if (client->index % 2)
		eventfd_write(virtio_blk_kick_fd(&client->stress->blk,
						 client->index),
			      1);
	else
		reg_write(client->stress, VIRTIO_MMIO_QUEUE_NOTIFY,
			  client->index);
}

/* Judges the answer in slot @at. */
static void slot_check(struct client *client, unsigned int at, uint32_t written)
{
	struct slot *slot = &client->slots[at];
	uint8_t *memory = host(client->stress, slot_address(client, at));
	struct blocks *blocks = &client->blocks;
	uint8_t expected[BLOCK_BYTES];
	bool good = memory[STATUS_AT] == VIRTIO_BLK_S_OK;

	slot->busy = false;
	blocks->busy[slot->block] = false;
	if (!good) {
		/* A reset refuses what was not begun; nothing else may fail. */
		if (!__atomic_load_n(&client->stress->resetting,
				     __ATOMIC_SEQ_CST))
			client->lost++;
		return;
	}
	if (slot->write) {
		blocks->known[slot->block] = true;
		blocks->version[slot->block] = slot->version;
		client->corrupt += written != 1;
		return;
	}
	pattern_fill(client, slot->block, blocks->version[slot->block],
		     expected);
	if (blocks->known[slot->block] &&
	    memcmp(expected, memory + PAYLOAD_AT, BLOCK_BYTES) != 0)
		client->corrupt++;
	client->corrupt += written != BLOCK_BYTES + 1;
}

static bool take(struct client *client)
{
	uint32_t written;
	unsigned int i;
	uint16_t head;

	if (!driver_take_used(&client->driver, &head, &written))
		return false;
	for (i = 0; i < SLOTS; i++) {
		if (client->slots[i].busy && client->slots[i].head == head)
			break;
	}
	if (i == SLOTS)
		client->corrupt++;
	else
		slot_check(client, i, written);
	client->answered++;
	client->total++;
	return true;
}

/* What was in flight is gone with the reset. */
static void let_go(struct client *client)
{
	unsigned int i;

	for (i = 0; i < SLOTS; i++) {
		struct slot *slot = &client->slots[i];

		if (!slot->busy)
			continue;
		slot->busy = false;
		client->blocks.busy[slot->block] = false;
		if (slot->write) {
			client->blocks.known[slot->block] = false;
			client->blocks.version[slot->block] = slot->version;
		}
	}
}

static void client_round(struct client *client)
{
	time_t deadline = time(NULL) + PATIENCE_S;

	client->submitted = 0;
	client->answered = 0;
	while (client->answered < REQUESTS) {
		if (__atomic_load_n(&client->stress->resetting,
				    __ATOMIC_SEQ_CST))
			break;
		if (take(client))
			continue;
		if (client->submitted < REQUESTS)
			submit(client);
		else
			sched_yield();
		if (time(NULL) > deadline) {
			client->lost += REQUESTS - client->answered;
			break;
		}
	}
	/* Answers may have come between the last look and the reset. */
	while (take(client))
		;
}

static void *client_run(void *argument)
{
	struct client *client = argument;
	unsigned int round;

	for (round = 0; round < client->stress->rounds; round++) {
		pthread_barrier_wait(&client->stress->begin);
		client_round(client);
		pthread_barrier_wait(&client->stress->end);
	}
	return NULL;
}

static bool queue_set_up(struct stress *stress, struct client *client)
{
	uint64_t address = client->index * RAM_PER_QUEUE;
	unsigned int part;

	let_go(client);
	driver_destroy(&client->driver);
	if (driver_init(&client->driver, host(stress, address), SLOTS_AT,
			IOVA(address), 64, 4, client->index != 0))
		return false;
	reg_write(stress, VIRTIO_MMIO_QUEUE_SEL, client->index);
	reg_write(stress, VIRTIO_MMIO_QUEUE_NUM, 64);
	for (part = 0; part < QUEUE_PARTS; part++) {
		static const uint32_t registers[QUEUE_PARTS] = {
			[QUEUE_DESCRIPTORS] = VIRTIO_MMIO_QUEUE_DESC_LOW,
			[QUEUE_AVAILABLE] = VIRTIO_MMIO_QUEUE_AVAIL_LOW,
			[QUEUE_USED] = VIRTIO_MMIO_QUEUE_USED_LOW,
		};
		address = client->driver.part_address[part].v;
		reg_write(stress, registers[part], (uint32_t)address);
		reg_write(stress, registers[part] + 4,
			  (uint32_t)(address >> 32));
	}
	reg_write(stress, VIRTIO_MMIO_QUEUE_READY, 1);
	return true;
}

/* Features change from round to round; EVENT_IDX is one for all queues. */
static bool negotiate(struct stress *stress, unsigned int round)
{
	uint64_t features = stress->blk.device.offered;
	unsigned int i;

	if (round & 2)
		features &= ~VIRTIO_FEATURE_EVENT_IDX;
	reg_write(stress, VIRTIO_MMIO_STATUS, 1);
	reg_write(stress, VIRTIO_MMIO_STATUS, 3);
	for (i = 0; i < 2; i++) {
		reg_write(stress, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		reg_write(stress, VIRTIO_MMIO_DRIVER_FEATURES,
			  (uint32_t)(features >> 32 * i));
	}
	reg_write(stress, VIRTIO_MMIO_STATUS, 11);
	for (i = 0; i < QUEUES; i++) {
		if (!queue_set_up(stress, &stress->clients[i]))
			return false;
		stress->clients[i].driver.event_idx = !(round & 2);
	}
	reg_write(stress, VIRTIO_MMIO_STATUS, 15);
	return virtio_device_status(&stress->blk.device) == 15;
}

/* No thread serves: the device was reset. */
static void limit(struct stress *stress, unsigned int round)
{
	static const struct rate_config limited = {
		.bandwidth = 32 * MIB, .burst = 1, /* as little as there is */
	};
	static const struct rate_config unlimited;

	virtio_blk_set_limit(&stress->blk, round & 4 ? &limited : &unlimited);
}

/* Overwrites all RAM and looks whether anybody else writes to it. */
static void check_silence(struct stress *stress)
{
	uint8_t *ram = host(stress, 0);
	size_t i;

	memset(ram, CANARY, QUEUES * RAM_PER_QUEUE);
	nanosleep(&(struct timespec){ .tv_nsec = 300000 }, NULL);
	for (i = 0; i < QUEUES * RAM_PER_QUEUE; i++)
		stress->touched += ram[i] != CANARY;
}

static void run_rounds(struct stress *stress)
{
	uint64_t random = 88172645463325252;
	unsigned int round;

	for (round = 0; round < stress->rounds; round++) {
		__atomic_store_n(&stress->resetting, false, __ATOMIC_SEQ_CST);
		limit(stress, round);
		if (!negotiate(stress, round)) {
			printf("Bail out! the device cannot be set up\n");
			exit(1);
		}
		pthread_barrier_wait(&stress->begin);
		if (round % 2) {
			long pause = (long)(next_random(&random) % 3000000);

			nanosleep(&(struct timespec){ .tv_nsec = pause }, NULL);
			__atomic_store_n(&stress->resetting, true,
					 __ATOMIC_SEQ_CST);
			reg_write(stress, VIRTIO_MMIO_STATUS, 0);
		}
		pthread_barrier_wait(&stress->end);
		reg_write(stress, VIRTIO_MMIO_STATUS, 0);
		check_silence(stress);
	}
}

static void count_interrupt(void *context)
{
	struct stress *stress = context;

	__atomic_fetch_add(&stress->interrupts, 1, __ATOMIC_RELAXED);
}

static int device_create(struct stress *stress)
{
	const struct guest_memory_range ram = { 0, QUEUES * RAM_PER_QUEUE };
	char path[] = "/tmp/sluice-stress-XXXXXX";
	struct error error = { 0 };
	struct disk disk;
	int fd;

	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, QUEUES * BLOCKS * BLOCK_BYTES) < 0)
		return -1;
	unlink(path);
	stress->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (guest_memory_init(&stress->memory, &ram, 1,
			      GUEST_MEMORY_SMALL_PAGES) ||
	    disk_open(&disk, fd, path, false, &error) ||
	    virtio_blk_init(&stress->blk, "stress", &disk, QUEUES,
			    &stress->memory, stress->stop_fd))
		return -1;
	stress->blk.device.interrupt = count_interrupt;
	stress->blk.device.interrupt_context = stress;
	return virtio_blk_start_threads(&stress->blk, &stress->threads);
}

static int report(const struct stress *stress)
{
	unsigned int lost = 0, corrupt = 0, i;
	uint64_t total = 0;

	for (i = 0; i < QUEUES; i++) {
		lost += stress->clients[i].lost;
		corrupt += stress->clients[i].corrupt;
		total += stress->clients[i].total;
	}
	printf("# %u rounds, %llu requests answered, %u interrupts\n",
	       stress->rounds, (unsigned long long)total, stress->interrupts);
	printf("%sok 1 - every request is answered (%u were not)\n",
	       lost ? "not " : "", lost);
	printf("%sok 2 - all data is as written (%u wrong)\n",
	       corrupt ? "not " : "", corrupt);
	printf("%sok 3 - nothing is touched after a reset (%u bytes)\n",
	       stress->touched ? "not " : "", stress->touched);
	return lost || corrupt || stress->touched || total == 0;
}

int main(int argc, char **argv)
{
	static struct stress stress;
	unsigned int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..3\n");
	stress.rounds = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10)
				 : 40;
	if (device_create(&stress)) {
		printf("Bail out! no device\n");
		return 1;
	}
	pthread_barrier_init(&stress.begin, NULL, QUEUES + 1);
	pthread_barrier_init(&stress.end, NULL, QUEUES + 1);
	for (i = 0; i < QUEUES; i++) {
		stress.clients[i].stress = &stress;
		stress.clients[i].index = i;
		stress.clients[i].random = 0x9e3779b97f4a7c15 * (i + 1);
		pthread_create(&stress.clients[i].thread, NULL, client_run,
			       &stress.clients[i]);
	}
	run_rounds(&stress);
	for (i = 0; i < QUEUES; i++)
		pthread_join(stress.clients[i].thread, NULL);
	eventfd_write(stress.stop_fd, 1);
	virtio_blk_destroy(&stress.blk);
	for (i = 0; i < QUEUES; i++)
		driver_destroy(&stress.clients[i].driver);
	guest_memory_destroy(&stress.memory);
	pthread_barrier_destroy(&stress.begin);
	pthread_barrier_destroy(&stress.end);
	return report(&stress);
}
