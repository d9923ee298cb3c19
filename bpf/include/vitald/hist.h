/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one histogram for latencies, shared by the kernel side and C++.
 *
 * The bounds are powers of two of a second, 2^-20 s (0.95 us) to 2^6 s: exactly the buckets of a Prometheus
 * native histogram of schema 0. A power of two of a second is no whole number of nanoseconds below 2^-9 s,
 * but each octave [2^k, 2^(k+1)) ns holds exactly one such bound, 10^9 * 2^(k-29) ns. So the slot is the octave,
 * plus one when the value is above the octave's bound: one shift and one comparison, no rounding.
 */
#ifndef VITALD_HIST_H
#define VITALD_HIST_H

#include <linux/types.h>

#define VITALD_HIST_FIRST 9	/* the octave of the first bound: 2^-20 s = 953.67 ns */
#define VITALD_HIST_BOUNDS 27	/* 2^-20 .. 2^6 s */
#define VITALD_HIST_SLOTS (VITALD_HIST_BOUNDS + 1) /* slot i: (2^(i-21), 2^(i-20)] s; the last is up to +Inf */

struct vitald_hist {
	__u64 slots[VITALD_HIST_SLOTS];
	__u64 sum_ns;
};

/*
 * The slowest one that a histogram has counted since user space looked last. Written anew only by one that is slower.
 * While it is written, or was by two at once (an interrupt's), `check` is not the sum of `ns` and `at_ns`.
 */
struct vitald_worst {
	__u64 check;
	__u64 ns;	/* 0: none since */
	__u64 at_ns;	/* bpf_ktime_get_boot_ns() */
	__u64 place;	/* of a block request: its first sector, plus one */
	__u32 pid;	/* of the process; 0: not known */
	__u32 slot;	/* its owner's */
	char comm[16];
};

/* 1 where v is above n. Neither has the highest bit. */
static inline __attribute__((always_inline)) __u64 vitald_is_above(__u64 v, __u64 n)
{
	return (n - v) >> 63;
}

/*
 * `le` is inclusive: a value equal to a bound belongs below it. Without jumps, but for what hardly ever is: times differ
 * from event to event, so a processor would guess most of them wrong.
 */
static inline __attribute__((always_inline)) __u32 vitald_hist_slot(__u64 ns)
{
	__u64 octave, step, rest = ns >> VITALD_HIST_FIRST;

	if (ns <= 953) /* most waits for a free CPU */
		return 0;
	if (ns >> (VITALD_HIST_FIRST + VITALD_HIST_BOUNDS))
		return VITALD_HIST_SLOTS - 1;
	/* floor(log2(rest)), which is below 32. BPF has no count-leading-zeros. */
	octave = vitald_is_above(rest, 0xffff) << 4;
	rest >>= octave;
	step = vitald_is_above(rest, 0xff) << 3;
	rest >>= step;
	octave |= step;
	step = vitald_is_above(rest, 0xf) << 2;
	rest >>= step;
	octave |= step;
	step = vitald_is_above(rest, 3) << 1;
	rest >>= step;
	octave |= step | (rest >> 1 & 1);
	octave += vitald_is_above(ns, (1000000000ull << octave) >> 20);
	return octave < VITALD_HIST_SLOTS ? (__u32)octave : VITALD_HIST_SLOTS - 1; /* for the verifier */
}

/* One writer at a time (a row per CPU), so no atomics. */
static inline __attribute__((always_inline)) void vitald_hist_add_many(struct vitald_hist *h, __u64 ns, __u64 count)
{
	h->slots[vitald_hist_slot(ns)] += count;
	h->sum_ns += ns * count;
}

static inline __attribute__((always_inline)) void vitald_hist_add(struct vitald_hist *h, __u64 ns)
{
	vitald_hist_add_many(h, ns, 1);
}

/*
 * Where there is one per owner: every other bound of vitald_hist, from 2^-20 s, the buckets of a native histogram of
 * schema -1.
 */
#define VITALD_COARSE_SLOTS 16 /* power of two */

static inline __attribute__((always_inline)) __u32 vitald_coarse_slot(__u32 slot)
{
	return ((slot + 1) >> 1) & (VITALD_COARSE_SLOTS - 1);
}

#endif
