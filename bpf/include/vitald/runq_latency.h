/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_RUNQ_LATENCY_H
#define VITALD_RUNQ_LATENCY_H

#include "vitald/hist.h"

#define VITALD_SCHED_CACHE 16	/* power of two */

/* One per CPU. */
struct vitald_sched_cpu {
	struct vitald_hist delay;
	__u64 since_ns;	/* when the running slice began, in the run queue's clock */
	__u32 slot;	/* whom it is charged to */
	__u32 running;	/* 0: the idle task, or nothing seen yet */
	struct {
		__u64 id;
		__u64 slot;
	} cache[VITALD_SCHED_CACHE]; /* cgroup id -> slot, in front of the hash */
	__u64 unused;
};

/* One per CPU and owner slot: a cache line. Slot 0 is everybody who got no slot of their own. */
struct vitald_sched_row {
	__u64 cpu_ns;
	__u64 delay_ns;
	__u64 voluntary;
	__u64 involuntary;
	__u64 unused[4];
};

#endif
