/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_BLOCK_H
#define VITALD_BLOCK_H

#include "vitald/hist.h"

/* Signals of the object block. */
#define VITALD_BLOCK_LATENCY (1u << 0)
#define VITALD_OWNER_IO (1u << 1)

enum vitald_block_op {
	VITALD_BLOCK_READ,
	VITALD_BLOCK_WRITE,
	VITALD_BLOCK_FLUSH,
	VITALD_BLOCK_DISCARD,
	VITALD_BLOCK_OTHER, /* write zeroes, zone operations, passthrough */
	VITALD_BLOCK_OPS,
};

#define VITALD_DISK_NAME 32 /* DISK_NAME_LEN, include/linux/blkdev.h */
#define VITALD_BLOCK_DEVICES 64
/* Rows: first one per operation for the disks without rows of their own, then one per disk and operation seen. */
#define VITALD_BLOCK_ROWS (VITALD_BLOCK_OPS + VITALD_BLOCK_DEVICES * 3)

struct vitald_block_key {
	char disk[VITALD_DISK_NAME];
	__u32 op;
	__u32 device; /* major << 20 | minor: a name may come back as another disk */
};

/* One per CPU and row number. */
struct vitald_block_row {
	struct vitald_hist queue;	/* from the request's start to its issue */
	struct vitald_hist device;	/* from its issue to its completion */
	__u64 bytes;
	__u64 errors;
	__u64 untimed;	/* completed without the kernel's times and without ours */
	__u64 recorded;	/* timed by us */
	struct vitald_worst worst;	/* of device */
	__u64 unused[3];
};

/* One per CPU: the row of the last request completed here. */
struct vitald_block_cpu {
	__u64 disk; /* address and number: an address alone is used again */
	__u64 number_op;
	__u64 row;
	__u64 slot;	/* of the owner of the last request; 0: not known */
};

/* One per CPU and owner slot: a cache line. */
struct vitald_block_owner_row {
	__u64 reads;
	__u64 read_bytes;
	__u64 read_ns;	/* from the request's start to its completion */
	__u64 writes;
	__u64 write_bytes;
	__u64 write_ns;
	__u64 others;
	__u64 other_bytes;
};

/* One per CPU and each of the first owner slots, of which more is kept; the requests of all others are in slot 0's. */
struct vitald_block_owner_hist {
	__u64 reads[VITALD_COARSE_SLOTS];
	__u64 writes[VITALD_COARSE_SLOTS];
	__u64 read_ns;
	__u64 write_ns;
	__u64 unused[6];
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_block_cost {
	COST_ON_COMPLETE,
	COST_ON_INSERT,
	COST_ON_ISSUE,
};

#endif
