/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_DIRECT_RECLAIM_H
#define VITALD_DIRECT_RECLAIM_H

#include "vitald/hist.h"

/* One per CPU, a multiple of a cache line. */
struct vitald_reclaim_cpu {
	struct vitald_hist stall;
	__u64 unused[3];
};

#endif
