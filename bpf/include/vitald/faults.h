/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_FAULTS_H
#define VITALD_FAULTS_H

#include <linux/types.h>

/* Signals of the object faults. */
#define VITALD_PAGE_FAULTS (1u << 0)

/* One per CPU and owner slot. */
struct vitald_fault_row {
	__u64 user;	/* the program itself touched the page */
	__u64 kernel;	/* the kernel did for it, in a system call */
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_faults_cost {
	COST_ON_USER_FAULT,
	COST_ON_KERNEL_FAULT,
};

#endif
