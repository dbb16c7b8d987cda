/* SPDX-License-Identifier: Apache-2.0 */
/* The block device before hosts that fail, and what it asks of them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "devices/virtio_blk.h"
#include "memory/base.h"
#include "tests/unit/devices/blk_rig.h"
#include "tests/unit/devices/host_io.h"
#include "virtio/mmio.h"

Test(virtio_blk, bug12_truncated_file_is_ioerr_and_the_device_lives)
{
	struct rig rig = { 0 };
	struct rig_answer answer;

	rig_start(&rig);
	cr_assert_eq(ftruncate(rig.file, 4096), 0);
	answer = rig_request(&rig, VIRTIO_BLK_T_IN, 8, 0, 512);
	cr_expect_eq(answer.status, VIRTIO_BLK_S_IOERR);
	cr_expect_eq(answer.written, 0);
	/* The first half is there. */
	answer = rig_request(&rig, VIRTIO_BLK_T_IN, 0, 0, 8192);
	cr_expect_eq(answer.status, VIRTIO_BLK_S_IOERR);
	cr_expect_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 0, 0, 4096).status,
		     VIRTIO_BLK_S_OK);
	/* A write makes it longer again. */
	cr_expect_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 8, 512, 0).status,
		     VIRTIO_BLK_S_OK);
	cr_expect_eq(rig_request(&rig, VIRTIO_BLK_T_IN, 8, 0, 512).status,
		     VIRTIO_BLK_S_OK);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

Test(virtio_blk, bug12_file_that_may_not_grow_is_ioerr_and_the_device_lives)
{
	const struct rlimit limit = { 65536, RLIM_INFINITY };
	struct rig rig = { 0 };

	/* The threads block SIGXFSZ: nothing is ignored here. */
	rig_start(&rig);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_expect_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 128, 512, 0).status,
		     VIRTIO_BLK_S_IOERR);
	cr_expect_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 512, 0).status,
		     VIRTIO_BLK_S_OK);
	cr_expect(rig_is_alive(&rig));
	rig_destroy(&rig);
}

Test(virtio_blk, bug12_every_error_of_the_host_is_ioerr_and_the_device_lives)
{
	static const int errors[] = { EIO, ENOSPC, EDQUOT, EBADF, EFAULT };
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
					  VIRTIO_BLK_T_FLUSH };
	struct rig rig = { 0 };
	uint32_t in, out;
	unsigned int i;

	rig_start(&rig);
	for (i = 0; i < ARRAY_SIZE(errors) * ARRAY_SIZE(types); i++) {
		uint32_t type = types[i % ARRAY_SIZE(types)];

		in = type == VIRTIO_BLK_T_IN ? 512 : 0;
		out = type == VIRTIO_BLK_T_OUT ? 512 : 0;
		__atomic_store_n(&host_io.error, errors[i / ARRAY_SIZE(types)],
				 __ATOMIC_SEQ_CST);
		cr_expect_eq(rig_request(&rig, type, 0, out, in).status,
			     VIRTIO_BLK_S_IOERR);
		__atomic_store_n(&host_io.error, 0, __ATOMIC_SEQ_CST);
		cr_expect_eq(rig_request(&rig, type, 0, out, in).status,
			     VIRTIO_BLK_S_OK);
	}
	cr_expect_eq(virtio_blk_count(&rig.blk).errors,
		     ARRAY_SIZE(errors) * ARRAY_SIZE(types));
	rig_destroy(&rig);
}

Test(virtio_blk, bug12_partial_transfers_are_completed)
{
	struct rig rig = { 0 };
	struct rig_answer answer;
	uint8_t *payload;

	host_io.piece = 1000;
	host_io.interrupt = true;
	rig_start(&rig);
	payload = rig_host(&rig, RIG_PAYLOAD);
	memset(payload, 'p', 8192);
	cr_expect_eq(rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 8192, 0).status,
		     VIRTIO_BLK_S_OK);
	memset(payload, 0, 8192);
	answer = rig_request(&rig, VIRTIO_BLK_T_IN, 0, 0, 8192);
	cr_expect_eq(answer.status, VIRTIO_BLK_S_OK);
	cr_expect_eq(answer.written, 8193);
	cr_expect_eq(payload[8191], 'p');
	cr_expect_eq(payload[4000], 'p');
	rig_destroy(&rig);
}

/* What was logged so far; @fd is a memfd. */
static void read_log(int fd, char *text, size_t size)
{
	ssize_t done = pread(fd, text, size - 1, 0);

	cr_assert_geq(done, 0);
	text[done] = '\0';
}

Test(virtio_blk, bug10_errors_of_the_host_are_logged_a_few_times_guests_never)
{
	const char *line = "sluice: disk.root: read of 512 bytes at 1024 "
			   "failed: Input/output error\n";
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct rig rig = { 0 };
	char text[4096], *at;
	unsigned int i;

	log_open(fd, LOG_LEVEL_DEBUG);
	rig_start(&rig);
	for (i = 0; i < 50; i++) {
		rig_request(&rig, VIRTIO_BLK_T_IN, UINT64_MAX, 0, 512);
		rig_request(&rig, 77, 0, 0, 512);
	}
	read_log(fd, text, sizeof(text));
	cr_expect_str_eq(text, "");
	host_io.error = EIO;
	for (i = 0; i < 50; i++)
		rig_request(&rig, VIRTIO_BLK_T_IN, 2, 0, 512);
	read_log(fd, text, sizeof(text));
	for (i = 0, at = text; strncmp(at, line, strlen(line)) == 0; i++)
		at += strlen(line);
	cr_expect_geq(i, 1);
	cr_expect_leq(i, 6);
	cr_expect_str_eq(at, "");
	host_io.error = 0;
	rig_destroy(&rig);
}

Test(virtio_blk, writes_are_synced_at_once_where_the_driver_knows_no_flush)
{
	const uint64_t flush = VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH);
	struct rig rig = { .refused_features = flush };

	rig_start(&rig);
	rig_request(&rig, VIRTIO_BLK_T_IN, 0, 0, 512);
	cr_expect_eq(host_io.syncs, 0);
	rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 512, 0);
	cr_expect_eq(host_io.syncs, 1);
	rig_write(&rig, VIRTIO_MMIO_STATUS, 0);
	rig.refused_features = 0;
	rig_negotiate(&rig);
	rig_request(&rig, VIRTIO_BLK_T_OUT, 0, 512, 0);
	cr_expect_eq(host_io.syncs, 1);
	rig_request(&rig, VIRTIO_BLK_T_FLUSH, 0, 0, 0);
	cr_expect_eq(host_io.syncs, 2);
	rig_destroy(&rig);
	cr_expect_eq(host_io.syncs, 3, "the end of the VM flushes");
}

Test(virtio_blk, failed_last_flush_is_told_and_not_tried_again)
{
	struct rig rig = { 0 };

	rig_start(&rig);
	host_io.error = EIO;
	cr_expect_eq(virtio_blk_join_threads(&rig.blk), -EIO);
	cr_expect_eq(host_io.syncs, 1);
	cr_expect_eq(virtio_blk_join_threads(&rig.blk), -EIO);
	rig_destroy(&rig);
	cr_expect_eq(host_io.syncs, 1);
}
