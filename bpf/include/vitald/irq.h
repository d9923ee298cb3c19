/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_IRQ_H
#define VITALD_IRQ_H

#include "vitald/hist.h"

/* Signals of the object irq. */
#define VITALD_SOFTIRQ_LATENCY (1u << 0)
#define VITALD_HARDIRQ_LATENCY (1u << 1)

#define VITALD_SOFTIRQS 10 /* NR_SOFTIRQS since 2.6.38 */
#define VITALD_IRQ_ROWS 256 /* power of two; the last is for all that have higher numbers */
#define VITALD_IRQ_NAME 32

/* One per CPU. */
struct vitald_softirq_cpu {
	__u64 since_ns;	/* 0: none runs */
	struct vitald_hist runs[VITALD_SOFTIRQS];
	__u64 unused[5];
};

struct vitald_irq_row {
	__u64 ns;
	__u64 count;
	__u64 name;	/* where that of its handler lies in the kernel: another one may have got the number */
};
struct vitald_hardirq_cpu {
	__u64 since_ns;
	struct vitald_hist runs;
	__u64 unused[2];	/* rows begin on a cache line */
	struct vitald_irq_row rows[VITALD_IRQ_ROWS];
};

struct vitald_irq_name {
	char name[VITALD_IRQ_NAME]; /* of the handler that came last where it was not the one before */
	__u64 changes;
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_irq_cost {
	COST_ON_SOFTIRQ,
	COST_ON_SOFTIRQ_END,
	COST_ON_HARDIRQ,
	COST_ON_HARDIRQ_END,
};

#endif
