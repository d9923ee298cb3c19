/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Run-queue latency of the host; CPU time, run-queue delay and context switches per owner. One hook, and no
 * state per task: at sched_switch the kernel still has in next->sched_info.last_queued when the task became
 * runnable, in the clock of the run queue it is on (sched_info_arrive, kernel/sched/stats.h, does the same
 * subtraction a moment later). What a CPU has been running, and since when, is remembered per CPU.
 */
#include "owner_table.bpf.h"
#include "vitald/sched.h"

const volatile bool has_prev_state = true;  /* sched_switch's 4th argument, v5.18 */
const volatile bool has_last_queued = true; /* CONFIG_SCHED_INFO and CONFIG_FAIR_GROUP_SCHED */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_sched_cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * owner_slots */
	__type(key, __u32);
	__type(value, struct vitald_sched_row);
} rows SEC(".maps");

/*
 * Only where last_queued is missing: pid -> when it became runnable. A pid is used again, so it goes with the task's
 * start. Full: the longest waiting are forgotten.
 */
struct runnable {
	__u64 since_ns; /* 0: has run since */
	__u64 start_ns;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 16384 when used */
	__type(key, __u32);
	__type(value, struct runnable);
} runnable_since SEC(".maps");

static __always_inline long state_of(struct task_struct *task, bool direct)
{
	/* v5.14 renamed task_struct::state to __state. */
	if (bpf_core_field_exists(task->__state))
		return FIELD(task, __state);
	return FIELD((struct task_struct___pre514 *)task, state);
}

static __always_inline void became_runnable(struct task_struct *task, bool direct)
{
	struct runnable now = {bpf_ktime_get_ns(), FIELD(task, start_time)};
	__u32 pid = FIELD(task, pid);

	bpf_map_update_elem(&runnable_since, &pid, &now, BPF_ANY);
}

/*
 * The run queue's clock is not read again between a wake-up that preempts and the switch that follows
 * (wakeup_preempt sets RQCF_REQ_SKIP, kernel/sched/core.c), and leaving idle counts as preemption: half of all waits, and
 * nearly all of an idle CPU, are none by that clock. They are timed by the other clock, which costs as much as half a
 * program, so one in seven of them stands for seven (no pattern of two or four tasks hides from that), but all that leave
 * idle. How far the two clocks are apart is looked at when the run queue's was just read, at most once a millisecond; one
 * that was not read for a while makes it look too far, never too near, so the smallest of a tenth of a second counts.
 */
#define OFFSET_EVERY_NS 1000000ull
#define OFFSET_KEPT_NS 100000000ull
#define OFFSET_OLD_NS 200000000ull  /* they drift apart by some microseconds a second */
#define HIDDEN_AT_MOST_NS 20000000ull /* the next tick reads the clock */
#define TIMED_ONE_IN 7

static __always_inline void note_offset(struct vitald_sched_cpu *c, __u64 now)
{
	__u64 offset;

	if (now - c->offset_read_ns < OFFSET_EVERY_NS)
		return;
	offset = bpf_ktime_get_ns() - now;
	c->offset_read_ns = now;
	if (now - c->offset_found_ns < OFFSET_KEPT_NS && (__s64)(offset - c->offset_ns) > 0)
		return;
	c->offset_ns = offset;
	c->offset_found_ns = now;
}

/* A wait that has not taken any time by the run queue's clock. */
static __always_inline void add_hidden(struct vitald_sched_cpu *c, __u64 now, __u64 queued, bool from_idle)
{
	__u64 wait, count = 1;

	if (!from_idle) {
		c->untimed++;
		if (c->untimed < TIMED_ONE_IN)
			return;
		c->untimed = 0;
		count = TIMED_ONE_IN;
	}
	wait = bpf_ktime_get_ns() - c->offset_ns - queued;
	if (now - c->offset_read_ns > OFFSET_OLD_NS || wait > HIDDEN_AT_MOST_NS) /* also one below 0 */
		wait = 0;
	vitald_hist_add_many(&c->delay, wait, count);
}

static __always_inline int switched(bool preempt, struct task_struct *prev, struct task_struct *next, long prev_state,
				    bool direct)
{
	__u32 cpu = bpf_get_smp_processor_id(), pid = FIELD(next, pid), index;
	struct vitald_sched_cpu *c = bpf_map_lookup_elem(&cpus, &cpu);
	struct vitald_owner_cpu *o = bpf_map_lookup_elem(&owner_cpus, &cpu);
	struct vitald_sched_row *row;
	__u64 now, queued = 0, delay = 0;

	if (!(wanted & enabled & VITALD_RUNQ_LATENCY) || !c || !o)
		return 0;
	if (has_last_queued)
		now = direct ? next->se.cfs_rq->rq->clock : BPF_CORE_READ(next, se.cfs_rq, rq, clock);
	else
		now = bpf_ktime_get_ns();

	if (c->running) {
		index = cpu * owner_slots + c->slot;
		row = bpf_map_lookup_elem(&rows, &index);
		if (row) {
			row->cpu_ns += now - c->since_ns;
			/* as __schedule() chooses between nvcsw and nivcsw */
			if (!preempt && prev_state)
				row->voluntary++;
			else
				row->involuntary++;
		}
		if (!has_last_queued && (preempt || !prev_state))
			became_runnable(prev, direct);
	}
	c->since_ns = now;
	c->running = pid != 0;
	if (!pid) {
		if (has_last_queued)
			note_offset(c, now);
		return 0;
	}

	c->slot = owner_switched(o, next, direct);
	if (has_last_queued) {
		queued = FIELD(next, sched_info.last_queued);
	} else {
		struct runnable *since = bpf_map_lookup_elem(&runnable_since, &pid);

		if (since && since->start_ns == FIELD(next, start_time)) {
			queued = since->since_ns;
			since->since_ns = 0;
		}
	}
	if (!queued)
		return 0;
	if (now > queued)
		delay = now - queued;
	if (!has_last_queued || delay) {
		vitald_hist_add(&c->delay, delay);
		if (has_last_queued)
			note_offset(c, now);
	} else {
		add_hidden(c, now, queued, !FIELD(prev, pid));
	}
	index = cpu * owner_slots + c->slot;
	row = bpf_map_lookup_elem(&rows, &index);
	if (row)
		row->delay_ns += delay;
	return 0;
}

SEC("tp_btf/sched_switch")
int on_switch(__u64 *ctx)
{
	struct task_struct *prev = (struct task_struct *)ctx[1];

	return switched(ctx[0], prev, (struct task_struct *)ctx[2], has_prev_state ? (long)ctx[3] : state_of(prev, true),
			true);
}

SEC("raw_tp/sched_switch")
int on_switch_raw(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *prev = (struct task_struct *)ctx->args[1];

	return switched(ctx->args[0], prev, (struct task_struct *)ctx->args[2],
			has_prev_state ? (long)ctx->args[3] : state_of(prev, false), false);
}

SEC("tp_btf/sched_wakeup")
int on_wakeup(__u64 *ctx)
{
	became_runnable((struct task_struct *)ctx[0], true);
	return 0;
}

SEC("raw_tp/sched_wakeup")
int on_wakeup_raw(struct bpf_raw_tracepoint_args *ctx)
{
	became_runnable((struct task_struct *)ctx->args[0], false);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int on_wakeup_new(__u64 *ctx)
{
	became_runnable((struct task_struct *)ctx[0], true);
	return 0;
}

SEC("raw_tp/sched_wakeup_new")
int on_wakeup_new_raw(struct bpf_raw_tracepoint_args *ctx)
{
	became_runnable((struct task_struct *)ctx->args[0], false);
	return 0;
}

/*
 * Run by user space before it reads, for the slices that have not ended: a task alone on its CPU may not be switched
 * for seconds. The clock is this CPU's and at most a tick old; other CPUs' clocks are the same but for that.
 */
__u64 clock_ns = 0;

static __always_inline int read_clock_now(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	clock_ns = has_last_queued ? BPF_CORE_READ(task, se.cfs_rq, rq, clock) : bpf_ktime_get_ns();
	return 0;
}

SEC("raw_tp/sched_switch")
int read_clock(void *ctx __attribute__((unused)))
{
	return read_clock_now();
}

SEC("raw_tp/sched_switch")
int read_clock_raw(void *ctx __attribute__((unused)))
{
	return read_clock_now();
}
