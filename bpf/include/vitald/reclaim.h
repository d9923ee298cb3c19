/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_RECLAIM_H
#define VITALD_RECLAIM_H

#include "vitald/hist.h"

/* Signals of the object reclaim. */
#define VITALD_LIMIT_RECLAIM (1u << 0)
#define VITALD_COMPACTION (1u << 1)
#define VITALD_WRITEBACK_PAUSES (1u << 2)

/* One per CPU. */
struct vitald_reclaim_stalls {
	struct vitald_hist limit;
	struct vitald_hist compaction;
	struct vitald_hist pauses;
	__u64 unused[1];
};

/* One per CPU and owner slot. */
struct vitald_reclaim_row {
	__u64 limit_ns;
	__u64 limit_count;
	__u64 compaction_ns;
	__u64 compaction_count;
	__u64 pause_ns;
	__u64 pause_count;
	__u64 unused[2];
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_reclaim_cost {
	COST_ON_LIMIT,
	COST_ON_LIMIT_END,
	COST_ON_COMPACTION,
	COST_ON_COMPACTION_END,
	COST_ON_PAUSE,
};

#endif
