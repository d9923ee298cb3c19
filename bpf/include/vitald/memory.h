/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_MEMORY_H
#define VITALD_MEMORY_H

#include "vitald/hist.h"
#include "vitald/owner.h"

/* Signals of the object memory. */
#define VITALD_OOM_KILLS (1u << 0)
#define VITALD_DIRECT_RECLAIM (1u << 1)

#define VITALD_OOM_RECORDS 64 /* kept between two collections; more than that are counted without an owner */

struct vitald_oom_record {
	__u64 sequence;	/* 1, 2, 3, ...; written last */
	__u32 pid;
	__u32 memcg;	/* 1: a memory cgroup's limit was reached, 0: the host ran out of memory */
	char comm[16];
	__u32 seen;	/* 0: only the pid is known */
	__u32 asker_pid;	/* whose allocation it was for which nothing was left */
	char asker_comm[16];
	__u64 limit_pages;	/* where memcg is 1: of the cgroup that was at its limit */
	struct vitald_cgroup_path v2, v1;
	struct vitald_cgroup_path limit;	/* where memcg is 1: that cgroup, in the hierarchy that has the memory controller */
};

/* One per CPU, a multiple of a cache line. */
struct vitald_reclaim_cpu {
	struct vitald_hist stall;
	__u64 unused[3];
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_memory_cost {
	COST_ON_VICTIM,
	COST_ON_SIGNAL,
	COST_ON_BEGIN,
	COST_ON_END,
};

#endif
