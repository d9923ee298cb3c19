/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What virtual CPUs of guests do, as the host sees it: shared by the programs of the object kvm and C++. */
#ifndef VITALD_KVM_H
#define VITALD_KVM_H

#include "vitald/hist.h"

/* Signals of the object kvm. */
#define VITALD_GUEST_EXITS (1u << 0)
#define VITALD_GUEST_HALTS (1u << 1)

/* Number spaces of reasons: KVM_ISA_VMX and KVM_ISA_SVM of the kernel; 0 is any other. */
#define VITALD_ISA_OTHER 0
#define VITALD_ISA_VMX 1
#define VITALD_ISA_SVM 2

#define VITALD_EXIT_REASONS 32 /* power of two: different ones that are counted one by one; the first is all the rest */
#define VITALD_EXIT_CODES 1024 /* power of two: 256 of VMX, 512 of SVM, 256 of others */
#define VITALD_EXIT_UNKNOWN 0xfffffffeu /* not to be read on this kernel */

/* Entry i of exits[]: made by the first exit of that reason. Two CPUs may both have made one. */
struct vitald_exit_reason {
	__u32 code;
	__u16 isa;
	__u16 used; /* written last */
};

#define VITALD_GUESTS 256 /* at once, that are counted one by one; the first is all others */

/* One per guest and CPU. */
struct vitald_guest_row {
	__u64 exits[VITALD_EXIT_REASONS];
	__u64 handling[VITALD_COARSE_SLOTS]; /* without those in which the virtual CPU halted */
	__u64 handling_ns;
	__u64 wait[VITALD_COARSE_SLOTS];
	__u64 wait_ns;
	__u64 polled_count; /* halts that ended while the host was polling */
	__u64 polled_ns;
	__u64 slept_count;
	__u64 slept_ns;
	__u64 unused[2];
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_kvm_cost {
	COST_ON_GUEST_EXIT,
	COST_ON_GUEST_ENTRY,
	COST_ON_GUEST_HALT,
};

#endif
