/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_SCHED_H
#define VITALD_SCHED_H

#include "vitald/hist.h"

/* Signals of the object sched. */
#define VITALD_RUNQ_LATENCY (1u << 0)

/* One per CPU. */
struct vitald_sched_cpu {
	struct vitald_hist delay;
	__u64 since_ns;	/* when the running slice began, in the run queue's clock */
	__u32 slot;	/* whom it is charged to */
	__u32 running;	/* 0: the idle task, or nothing seen yet */
	/*
	 * How far bpf_ktime_get_ns() is ahead of the run queue's clock, and when by that clock it was found and
	 * looked for.
	 */
	__u64 offset_ns, offset_found_ns, offset_read_ns;
	__u64 untimed;	/* waits of no time since the last one that was timed */
	__u64 unused[5];
};

/* One per CPU and owner slot: a cache line. */
struct vitald_sched_row {
	__u64 cpu_ns;
	__u64 delay_ns;
	__u64 voluntary;
	__u64 involuntary;
	__u64 unused[4];
};

#endif
