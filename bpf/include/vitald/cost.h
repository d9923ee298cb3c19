/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What programs cost, found out by themselves: the kernel's own figures need CAP_SYS_ADMIN, and cost two clocks a run. */
#ifndef VITALD_COST_H
#define VITALD_COST_H

#include <linux/types.h>

#define VITALD_COSTS 8		/* programs of an object, at most */
#define VITALD_COST_ONE_IN 61	/* runs that are timed: no pattern of a few tasks hides from it */
#define VITALD_COST_FIRST 16	/* all of the first ones are: many programs run seldom */

/* One per CPU and program. */
struct vitald_cost {
	__u64 runs;
	__u64 timed;
	__u64 ns;	/* of those that were timed: inside of the program, without calling it */
	__u64 left;	/* runs until the next one that is timed */
	__u64 since_ns;	/* of one that is; 0: it is not */
	__u64 unused[3];
};

#endif
