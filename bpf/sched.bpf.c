/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Run-queue latency of the host; CPU time, run-queue delay and context switches per owner; why they waited and because
 * of whom; the busiest tenth of a second. One hook, and no state per task: at sched_switch the kernel still has in next->sched_info.last_queued when the task became
 * runnable, in the clock of the run queue it is on (sched_info_arrive, kernel/sched/stats.h, does the same
 * subtraction a moment later). What a CPU has been running, and since when, is remembered per CPU; a slice ends also when
 * its task is moved to another cgroup.
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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * detailed_slots */
	__type(key, __u32);
	__type(value, struct vitald_sched_waits);
} waits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * detailed_slots */
	__type(key, __u32);
	__type(value, struct vitald_sched_peaks);
} peaks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * owner_slots */
	__type(key, __u32);
	__type(value, __u64);
} migrations SEC(".maps");

const volatile __u32 detailed_slots = 1;
const volatile __u32 cpu_count = 1; /* rows of `cpus` */
#define MOST_CPUS 8192

#define MAX_RT_PRIO 100 /* include/linux/sched/prio.h: below are real-time and deadline tasks */
#define SCHED_EXT 7

/*
 * A group's throttled time on a CPU at some moments, the last of them. Only of groups that were throttled there. Full:
 * the ones longest not throttled are forgotten, and begin anew.
 */
#define THROTTLES 8
struct throttle_key {
	__u64 cgroup;
	__u64 cpu;
};
struct throttles {
	struct {
		__u64 at_ns, sum_ns;
	} seen[THROTTLES];
	__u64 count;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 512 when used, more on many CPUs */
	__type(key, struct throttle_key);
	__type(value, struct throttles);
} throttled SEC(".maps");

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

/*
 * A wait that has not taken any time by the run queue's clock: how long it was, and for how many it stands, 0 when it
 * is not timed.
 */
static __always_inline __u64 hidden_wait(struct vitald_sched_cpu *c, __u64 now, __u64 queued, bool from_idle,
					 __u64 *count)
{
	__u64 wait;

	*count = 1;
	if (!from_idle) {
		c->untimed++;
		*count = 0;
		if (c->untimed < TIMED_ONE_IN)
			return 0;
		c->untimed = 0;
		*count = TIMED_ONE_IN;
	}
	wait = bpf_ktime_get_ns() - c->offset_ns - queued;
	if (now - c->offset_read_ns > OFFSET_OLD_NS || wait > HIDDEN_AT_MOST_NS) /* also one below 0 */
		wait = 0;
	return wait;
}

static __always_inline __u64 throttled_sum(struct cfs_rq *queue, bool direct)
{
	if (bpf_core_field_exists(queue->throttled_clock_self_time))
		return FIELD(queue, throttled_clock_self_time);
	if (bpf_core_field_exists(((struct cfs_rq___pre66 *)queue)->throttled_clock_pelt_time))
		return FIELD((struct cfs_rq___pre66 *)queue, throttled_clock_pelt_time);
	if (bpf_core_field_exists(((struct cfs_rq___pre519 *)queue)->throttled_clock_task_time))
		return FIELD((struct cfs_rq___pre519 *)queue, throttled_clock_task_time);
	return 0;
}

/*
 * How much of a wait its group was throttled on this CPU: what the group's sum has grown by since the task was queued.
 * The sum grows when the group may run again; that is seen here when the first of its tasks does.
 */
static __noinline __u64 throttled_part(struct throttle_key *key, __u64 sum, __u64 queued, __u64 now)
{
	struct throttles fresh = {}, *t;
	__u64 delay = now - queued, before = 0, i, at;

	t = bpf_map_lookup_elem(&throttled, key);
	if (!t) {
		before = sum - (delay < sum ? delay : sum);
		fresh.seen[0].sum_ns = before;
		fresh.seen[1].at_ns = now;
		fresh.seen[1].sum_ns = sum;
		fresh.count = 2;
		bpf_map_update_elem(&throttled, key, &fresh, BPF_ANY);
		return sum - before;
	}
	at = t->count - 1;
	if (t->seen[at & (THROTTLES - 1)].sum_ns != sum) {
		at = t->count;
		t->seen[at & (THROTTLES - 1)].at_ns = now;
		t->seen[at & (THROTTLES - 1)].sum_ns = sum;
		t->count = at + 1;
	}
	before = sum;
#pragma unroll
	for (i = 0; i < THROTTLES; i++) {
		if (i > at)
			break;
		before = t->seen[(at - i) & (THROTTLES - 1)].sum_ns;
		if (t->seen[(at - i) & (THROTTLES - 1)].at_ns <= queued)
			break;
	}
	sum -= before;
	return sum < delay ? sum : delay;
}

/* 1 if it is 0. Without a jump: the verifier follows each of them 32 times from blame(), to 330,000 instructions. */
static __always_inline __u64 is_zero(__u32 value)
{
	__u64 wide = value;

	barrier_var(wide);
	return (wide - 1) >> 63;
}

static __always_inline void add_blame(struct vitald_sched_waits *w, __u32 culprit, __u64 ns)
{
	const __u32 lowest = 0x12131210; /* the lowest bit that is set in 1 to 15, two bits each */
	__u64 its = 0, any = 0, k;
	__u32 who = culprit + 1;

	_Static_assert(VITALD_CULPRITS == 4, "as many bits of its and any, and of what `lowest` says");
#pragma unroll
	for (k = 0; k < VITALD_CULPRITS; k++) {
		its |= is_zero(w->culprits[k].who ^ who) << k;
		any |= is_zero(w->culprits[k].who) << k;
	}
	/* Its own place comes first, one may have become free in front of it. */
	its |= any & -is_zero(its);
	/* No room: it is among the rest, which is what is left of all that others had. */
	if (!its)
		return;
	k = lowest >> (2 * its) & 3;
	w->culprits[k].who = who;
	w->culprits[k].ns += ns;
}

/*
 * Lays a wait over the last slices on this CPU, backwards: whose they are made it wait. Without `w` it is not noted who
 * that was. What is older than these slices, or of an idle CPU, is nobody's: it might as well be the owner's own.
 */
static __noinline int blame(struct vitald_sched_cpu *c, struct vitald_sched_row *row, struct vitald_sched_waits *w,
			    __u64 left)
{
	__u64 part, i, last, known, is_mine, others;
	__u32 mine, slot;

	if (!c || !row)
		return 0;
	slot = c->slot;
	mine = c->owner;
	known = is_zero(mine) ^ 1;
	last = c->past_count - 1;
	/* Mostly the last slice is all of it, and of whom it was before. */
	if (w && c->past[last & (VITALD_SCHED_PAST - 1)].ns >= left) {
		__u32 by = c->past[last & (VITALD_SCHED_PAST - 1)].slot;

		if (by != slot && by != VITALD_SCHED_NOBODY && w->culprits[0].who == by + 1 &&
		    !(mine && c->past[last & (VITALD_SCHED_PAST - 1)].owner == mine)) {
			row->others_ns += left;
			w->culprits[0].ns += left;
			return 0;
		}
	}
	for (i = 0; i < VITALD_SCHED_PAST && left; i++) {
		__u64 at = (last - i) & (VITALD_SCHED_PAST - 1);

		part = c->past[at].ns < left ? c->past[at].ns : left;
		left -= part;
		is_mine = is_zero(c->past[at].slot ^ slot) | (is_zero(c->past[at].owner ^ mine) & known);
		row->self_ns += part & -is_mine;
		others = part & -(~(is_mine | is_zero(~c->past[at].slot)) & 1);
		row->others_ns += others;
		if (w && others)
			add_blame(w, c->past[at].slot, others);
	}
	return 0;
}

/* The newest window is over, and `to` is the newest now; the ones between are all this slice's, or nobody's. */
static __always_inline void end_window(struct vitald_sched_peaks *p, __u64 ns, __u64 to, bool full)
{
	__u64 units = (p->ns + ns + (1ull << (VITALD_WINDOW_SHIFT - 1))) >> VITALD_WINDOW_SHIFT, distance = to - p->window;

	units = units < VITALD_WINDOW_UNITS ? units : VITALD_WINDOW_UNITS;
	distance = distance < 255 ? distance : 255;
	p->ended[p->count & (VITALD_WINDOWS - 1)] = distance << 8 | (full ? VITALD_WINDOW_FULL : 0) | units;
	p->count++;
	p->window = to;
	p->ns = 0;
}

/* A slice that began in an earlier window, or the first one in a window of this row. */
static __noinline int add_long_slice(struct vitald_sched_peaks *p, __u64 since, __u64 now)
{
	__u64 first, last = now / VITALD_WINDOW_NS;

	if (!p)
		return 0;
	if (since < p->window * VITALD_WINDOW_NS) /* CPUs' clocks differ a little */
		since = p->window * VITALD_WINDOW_NS;
	if (since >= now)
		return 0;
	first = since / VITALD_WINDOW_NS;
	if (first > p->window)
		end_window(p, 0, first, false);
	if (last > first) {
		end_window(p, (first + 1) * VITALD_WINDOW_NS - since, last, true);
		since = last * VITALD_WINDOW_NS;
	}
	p->ns += now - since;
	return 0;
}

static __always_inline void add_to_window(struct vitald_sched_cpu *c, struct vitald_sched_peaks *p, __u64 now)
{
	if (p->window == c->window && c->since_ns >= c->window_ns)
		p->ns += now - c->since_ns;
	else
		add_long_slice(p, c->since_ns, now);
}

/* The slice that ends is its owner's and the CPU's. */
static __always_inline void add_peaks(struct vitald_sched_cpu *c, __u32 cpu, __u64 now)
{
	struct vitald_sched_peaks *p;
	__u32 index = cpu * detailed_slots;

	if (now - c->window_ns >= VITALD_WINDOW_NS) { /* also when the clock went back */
		c->window = now / VITALD_WINDOW_NS;
		c->window_ns = c->window * VITALD_WINDOW_NS;
	}
	if (!c->tgid)
		return;
	p = bpf_map_lookup_elem(&peaks, &index);
	if (p)
		add_to_window(c, p, now);
	if (!c->slot || c->slot >= detailed_slots)
		return;
	index += c->slot;
	p = bpf_map_lookup_elem(&peaks, &index);
	if (p)
		add_to_window(c, p, now);
}

#define OWNER_KEPT_NS 10000000ull /* user space may have said meanwhile whose the slot is */

static __always_inline void note_slice(struct vitald_sched_cpu *c, __u64 now)
{
	__u64 at = c->past_count & (VITALD_SCHED_PAST - 1), ns = now - c->since_ns;

	if (ns > OWNER_KEPT_NS)
		c->owner = owner_of_slot(c->slot);
	c->past[at].ns = ns;
	c->past[at].slot = c->tgid ? c->slot : VITALD_SCHED_NOBODY;
	c->past[at].owner = c->tgid ? c->owner : 0;
	c->past_count++;
}

/* What ran since c->since_ns did so until `now`. NULL where that was nobody. */
static __always_inline struct vitald_sched_row *end_slice(struct vitald_sched_cpu *c, __u32 cpu, __u64 now, __u32 on)
{
	__u32 index = cpu * owner_slots + c->slot;
	struct vitald_sched_row *row;

	if (on & VITALD_OWNER_PEAKS)
		add_peaks(c, cpu, now);
	if (on & VITALD_OWNER_WAITS)
		note_slice(c, now);
	if (!c->tgid)
		return NULL;
	row = bpf_map_lookup_elem(&rows, &index);
	if (row)
		row->cpu_ns += now - c->since_ns;
	return row;
}

/* The task that ran was moved to other cgroups meanwhile: what it did before is not the last one's. Rare. */
static __noinline int end_parts(struct vitald_sched_cpu *c, __u32 cpu, __u64 now, __u32 on)
{
	struct vitald_sched_move *m;
	__u64 since, at, i;
	__u32 made;

	if (!c)
		return 0;
	since = c->since_ns;
	made = c->moves_made;
	for (i = 0; i < VITALD_SCHED_MOVES; i++) {
		if (c->moves_seen == made)
			break;
		m = &c->moves[c->moves_seen & (VITALD_SCHED_MOVES - 1)];
		c->moves_seen++;
		at = m->at_ns;
		/* Of an earlier slice, noted when that had just ended; or not all of it has arrived from there. */
		if (m->since_ns != since || m->pid != c->pid || m->check != vitald_move_check(m))
			continue;
		if (at < c->since_ns)
			at = c->since_ns;
		if (at > now) /* CPUs' clocks differ a little */
			at = now;
		end_slice(c, cpu, at, on);
		c->since_ns = at;
		c->slot = m->slot;
		c->owner = owner_of_slot(c->slot);
	}
	c->moves_seen = made;
	return 0;
}

/* What a wait of this owner was: how long, why and because of whom. */
static __always_inline void add_wait(struct vitald_sched_cpu *c, struct vitald_sched_row *row, struct task_struct *next,
				     __u32 cpu, __u64 queued, __u64 now, __u64 wait, __u32 slot, __u64 count, bool direct)
{
	__u32 index = cpu * detailed_slots + (c->slot < detailed_slots ? c->slot : 0);
	struct vitald_sched_waits *w = bpf_map_lookup_elem(&waits, &index);
	struct throttle_key key = {};
	__u64 sum, part = 0;

	if (!w)
		return;
	w->slots[vitald_coarse_slot(slot)] += count;
	w->sum_ns += wait * count;
	if (now <= queued)
		return;
	/* A group's quota stops only its tasks of the fair class; all have a cfs_rq. */
	if (has_last_queued && FIELD(next, prio) >= MAX_RT_PRIO && FIELD(next, policy) != SCHED_EXT) {
		struct cfs_rq *queue = FIELD(next, se.cfs_rq);

		sum = throttled_sum(queue, direct);
		if (sum) {
			struct task_group *group = FIELD(queue, tg);
			struct cgroup *cgroup = FIELD(group, css.cgroup);

			key.cgroup = id_of(cgroup, direct);
			key.cpu = cpu;
			part = throttled_part(&key, sum, queued, now);
			row->throttled_ns += part;
		}
	}
	/* Slot 0's row is everybody's without one: who made those wait is not kept. */
	if (now - queued > part)
		blame(c, row, c->slot < detailed_slots ? w : NULL, now - queued - part);
}

/* The longest wait so far: seldom, or it would not be. */
static __noinline int note_worst(struct vitald_sched_cpu *c, struct task_struct *task, __u64 wait)
{
	__u64 at = bpf_ktime_get_boot_ns();

	if (!c)
		return 0;
	c->worst.check = wait + at;
	barrier();
	c->worst.at_ns = at;
	c->worst.pid = BPF_CORE_READ(task, tgid);
	c->worst.slot = c->slot;
	bpf_core_read(c->worst.comm, sizeof(c->worst.comm), &task->comm);
	barrier();
	c->worst.ns = wait;
	return 0;
}

static __always_inline int switched(bool preempt, struct task_struct *prev, struct task_struct *next, long prev_state,
				    bool direct)
{
	__u32 cpu = bpf_get_smp_processor_id(), pid = FIELD(next, pid), on = wanted & enabled, index, slot;
	struct vitald_sched_cpu *c = bpf_map_lookup_elem(&cpus, &cpu);
	struct vitald_owner_cpu *o = bpf_map_lookup_elem(&owner_cpus, &cpu);
	__u64 now, queued = 0, delay = 0, wait, count = 1;
	struct vitald_sched_row *row;

	if (!(on & (VITALD_RUNQ_LATENCY | VITALD_OWNER_WAITS | VITALD_OWNER_PEAKS)) || !c || !o)
		return 0;
	if (has_last_queued)
		now = direct ? next->se.cfs_rq->rq->clock : BPF_CORE_READ(next, se.cfs_rq, rq, clock);
	else
		now = bpf_ktime_get_ns();

	if (c->moves_made != c->moves_seen)
		end_parts(c, cpu, now, on);
	row = end_slice(c, cpu, now, on);
	if (c->tgid) {
		if (row) {
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
	c->pid = pid;
	c->tgid = FIELD(next, tgid);
	if (!pid) {
		if (has_last_queued)
			note_offset(c, now);
		return 0;
	}

	c->slot = owner_of(o, next, direct);
	if (on & VITALD_OWNER_WAITS)
		c->owner = owner_of_slot(c->slot);
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
	wait = delay;
	if (has_last_queued && !delay)
		wait = hidden_wait(c, now, queued, !FIELD(prev, pid), &count);
	else if (has_last_queued)
		note_offset(c, now);
	slot = vitald_hist_slot(wait);
	if (on & VITALD_RUNQ_LATENCY) {
		c->delay.slots[slot] += count;
		c->delay.sum_ns += wait * count;
		if (wait > c->worst.ns)
			note_worst(c, next, wait);
	}
	index = cpu * owner_slots + c->slot;
	row = bpf_map_lookup_elem(&rows, &index);
	if (row)
		row->delay_ns += delay;
	if (row && (on & VITALD_OWNER_WAITS))
		add_wait(c, row, next, cpu, queued, now, wait, slot, count, direct);
	return 0;
}

static __always_inline int migrated(struct task_struct *task, bool direct)
{
	__u32 cpu = bpf_get_smp_processor_id(), index;
	struct vitald_owner_cpu *o = bpf_map_lookup_elem(&owner_cpus, &cpu);
	__u64 *count;

	if (!(wanted & enabled & VITALD_MIGRATIONS) || !o)
		return 0;
	index = cpu * owner_slots + owner_of(o, task, direct);
	count = bpf_map_lookup_elem(&migrations, &index);
	if (count)
		++*count;
	return 0;
}

SEC("tp_btf/sched_migrate_task")
int on_migrate(__u64 *ctx)
{
	TIMED(COST_ON_MIGRATE, migrated((struct task_struct *)ctx[0], true));
}

SEC("raw_tp/sched_migrate_task")
int on_migrate_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_MIGRATE, migrated((struct task_struct *)ctx->args[0], false));
}

/* What runs on a CPU, if it is one of those that were moved, is another slot's from now on. Its CPU reads it. */
struct moved {
	__u32 tgid, pid; /* pid 0: all of its threads */
	__u32 slot;
	__u64 now;
};
static __noinline int note_move(__u32 cpu, struct moved *who)
{
	struct vitald_sched_cpu *c = bpf_map_lookup_elem(&cpus, &cpu);
	struct vitald_sched_move *m;
	__u32 pid, made;
	__u64 since;

	if (!c || !who)
		return 0;
	since = c->since_ns;
	pid = c->pid;
	made = c->moves_made;
	if (c->tgid != who->tgid || (who->pid && pid != who->pid))
		return 0;
	if (made - c->moves_seen >= VITALD_SCHED_MOVES) { /* the last two are one then, at the time of the first */
		m = &c->moves[(made - 1) & (VITALD_SCHED_MOVES - 1)];
		m->slot = who->slot;
		m->check = vitald_move_check(m);
		return 0;
	}
	m = &c->moves[made & (VITALD_SCHED_MOVES - 1)];
	m->since_ns = since;
	m->at_ns = who->now;
	m->pid = pid;
	m->slot = who->slot;
	m->check = vitald_move_check(m);
	barrier();
	c->moves_made = made + 1;
	return 0;
}

static __always_inline __u32 cpu_of(struct task_struct *task, bool direct)
{
	/* v5.16 moved it. */
	if (bpf_core_field_exists(task->thread_info.cpu))
		return FIELD(task, thread_info.cpu);
	if (bpf_core_field_exists(((struct task_struct___pre516 *)task)->cpu))
		return FIELD((struct task_struct___pre516 *)task, cpu);
	return ~0u;
}

static __always_inline __u64 clock_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, se.cfs_rq, rq, clock);
}

/*
 * A task was moved to another cgroup, on whatever CPU: where it runs the rest of its slice is the new one's. One at a
 * time, and with interrupts off (cgroup_mutex and trace_cgroup_path_lock, kernel/cgroup/cgroup.c). The clock is the
 * newest of two run queues': where the CPU's weight changes with the cgroup, the task's own was just read.
 */
static __always_inline int attached(struct cgroup *to, struct task_struct *task, bool whole_process, bool direct)
{
	int hierarchy = BPF_CORE_READ(to, root, hierarchy_id);
	struct moved who = {};
	__u32 cpu = ~0u, i;
	__u64 its;

	if (hierarchy && hierarchy != v1_hierarchy)
		return 0;
	who.tgid = FIELD(task, tgid);
	who.pid = whole_process ? 0 : FIELD(task, pid);
	who.slot = owner_seldom(task, direct);
	if (has_last_queued) {
		its = clock_of(task);
		who.now = clock_of((struct task_struct *)bpf_get_current_task());
		if (its > who.now)
			who.now = its;
	} else {
		who.now = bpf_ktime_get_ns();
	}
	if (!whole_process || BPF_CORE_READ(task, signal, nr_threads) == 1)
		cpu = cpu_of(task, direct);
	if (cpu != ~0u)
		return note_move(cpu, &who);
	for (i = 0; i < MOST_CPUS; i++) {
		if (i >= cpu_count)
			break;
		note_move(i, &who);
	}
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int on_attach(__u64 *ctx)
{
	TIMED(COST_ON_ATTACH, attached((struct cgroup *)ctx[0], (struct task_struct *)ctx[2], ctx[3], true));
}

SEC("raw_tp/cgroup_attach_task")
int on_attach_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_ATTACH, attached((struct cgroup *)ctx->args[0], (struct task_struct *)ctx->args[2], ctx->args[3], false));
}

SEC("tp_btf/sched_switch")
int on_switch(__u64 *ctx)
{
	struct task_struct *prev = (struct task_struct *)ctx[1];

	TIMED(COST_ON_SWITCH, switched(ctx[0], prev, (struct task_struct *)ctx[2], has_prev_state ? (long)ctx[3] : state_of(prev, true),
			true));
}

SEC("raw_tp/sched_switch")
int on_switch_raw(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *prev = (struct task_struct *)ctx->args[1];

	TIMED(COST_ON_SWITCH, switched(ctx->args[0], prev, (struct task_struct *)ctx->args[2],
			has_prev_state ? (long)ctx->args[3] : state_of(prev, false), false));
}

SEC("tp_btf/sched_wakeup")
int on_wakeup(__u64 *ctx)
{
	TIMED(COST_ON_WAKEUP, became_runnable((struct task_struct *)ctx[0], true));
}

SEC("raw_tp/sched_wakeup")
int on_wakeup_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_WAKEUP, became_runnable((struct task_struct *)ctx->args[0], false));
}

SEC("tp_btf/sched_wakeup_new")
int on_wakeup_new(__u64 *ctx)
{
	TIMED(COST_ON_WAKEUP_NEW, became_runnable((struct task_struct *)ctx[0], true));
}

SEC("raw_tp/sched_wakeup_new")
int on_wakeup_new_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_WAKEUP_NEW, became_runnable((struct task_struct *)ctx->args[0], false));
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
