/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef VITALD_NET_H
#define VITALD_NET_H

#include "vitald/hist.h"

/* Signals of the object net. */
#define VITALD_NET_DROPS (1u << 0)
#define VITALD_TCP_LIFE (1u << 1)

/* Reasons of the kernel itself by their number; then one for each subsystem with reasons of its own. */
#define VITALD_DROP_REASONS 256		/* power of two; the last is for those that have higher numbers */
#define VITALD_DROP_SUBSYSTEMS 16	/* power of two */

/* One per CPU. */
struct vitald_drops_cpu {
	__u64 reasons[VITALD_DROP_REASONS];
	__u64 subsystems[VITALD_DROP_SUBSYSTEMS];
};

/* One per CPU: what the first exchange of a connection took. */
struct vitald_tcp_cpu {
	struct vitald_hist out;	/* that were connected from here */
	struct vitald_hist in;	/* that were accepted */
	__u64 unused[6];
};

/* One per CPU and owner slot: a cache line. */
struct vitald_tcp_row {
	__u64 connected;
	__u64 failed;		/* to connect */
	__u64 abandoned;	/* closed before there was an answer */
	__u64 accepted;
	__u64 retransmits;
	__u64 resets_sent;
	__u64 resets_received;
	__u64 unused[1];
};

/* What is timed (cost.h): programs, whichever their form. */
enum vitald_net_cost {
	COST_ON_DROP,
	COST_ON_STATE,
	COST_ON_RETRANSMIT,
	COST_ON_RESET_SENT,
	COST_ON_RESET_RECEIVED,
};

#endif
