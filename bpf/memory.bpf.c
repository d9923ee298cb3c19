/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * When memory runs short: who was killed, and how long tasks stood still because an allocation had to free memory
 * first.
 *
 * mark_victim names the task since v6.8 and in the stable kernels since; before, only its pid, and the task itself was
 * seen a moment earlier by signal_generate, sent by the same thread (__oom_kill_process, mm/oom_kill.c). Nothing in the
 * kernel keeps when a stall began, but it is rare and long, so one map entry per stalled task costs nothing that shows.
 */
#include "cgroup.bpf.h"
#include "vitald/memory.h"

const volatile bool victim_is_task = true;

/* A ring: record n is at (n - 1) % VITALD_OOM_RECORDS. Written under the kernel's oom_lock, so by one at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VITALD_OOM_RECORDS);
	__type(key, __u32);
	__type(value, struct vitald_oom_record);
} records SEC(".maps");

__u64 sequence = 0;

/* Wakes who waits for news; what happened stands in the records. Since v5.8. */
const volatile bool has_news = true;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* a page */
} news SEC(".maps");

static __always_inline void tell(void)
{
	__u32 one = 1;

	/* Full: nobody has read what woke him already. */
	if (has_news)
		bpf_ringbuf_output(&news, &one, sizeof(one), BPF_RB_FORCE_WAKEUP);
}

/* Only where mark_victim has but a pid: killing thread -> the last one it sent SIGKILL. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 256 when used: an entry is large, and read within the same call */
	__type(key, __u32);
	__type(value, struct vitald_oom_record);
} last_kill SEC(".maps");

/* Too large for the stack: a template to start a last_kill entry from. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vitald_oom_record);
} empty SEC(".maps");

#define JUST_NOW_NS 1000000000ull
#define MEMORY_LEVELS 64 /* cgroups one in another that may have the limit; deeper ones than container runtimes make */
#define CHARGE_BATCH 64 /* pages charged ahead per CPU: MEMCG_CHARGE_BATCH */

static __always_inline struct page_counter *counter_of(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);

	/* css is the first field of mem_cgroup */
	return &((struct mem_cgroup *)css_of(set, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id), false))->memory;
}

static __always_inline struct mem_cgroup *group_of(struct page_counter *counter)
{
	return (void *)counter - bpf_core_field_offset(struct mem_cgroup, memory);
}

static __always_inline int level_of(struct page_counter *counter)
{
	return BPF_CORE_READ(group_of(counter), css.cgroup, level);
}

/* The first of this counter and those above it that has no more than so many pages left. */
static __noinline struct page_counter *first_full(struct page_counter *counter, __u64 left)
{
	int i;

	for (i = 0; i < MEMORY_LEVELS; i++) {
		unsigned long usage, max;

		if (!counter)
			break;
		usage = BPF_CORE_READ(counter, usage.counter);
		max = BPF_CORE_READ(counter, max);
		if (max && usage + left >= max)
			return counter;
		counter = BPF_CORE_READ(counter, parent);
	}
	return NULL;
}

/*
 * The tracepoint does not say whether a cgroup's limit or the host's memory ran out, so ask those that the victim and
 * the one who needed memory are both in whether one is at its limit: another one of the victim's may be full without
 * being asked. Who makes a limit smaller kills without being in there, but then more is used than the limit allows. The
 * counter of the first; NULL when none is.
 */
static __always_inline struct page_counter *at_limit(struct task_struct *task)
{
	struct page_counter *victims, *askers, *full;
	int i;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return NULL;
	victims = counter_of(task);
	askers = counter_of((struct task_struct *)bpf_get_current_task());
	for (i = 0; i < 2 * MEMORY_LEVELS; i++) {
		if (!victims || !askers || victims == askers)
			break;
		if (level_of(victims) >= level_of(askers))
			victims = BPF_CORE_READ(victims, parent);
		else
			askers = BPF_CORE_READ(askers, parent);
	}
	full = victims == askers ? first_full(victims, CHARGE_BATCH) : NULL;
	return full ? full : first_full(counter_of(task), -1);
}

static __always_inline void describe(struct vitald_oom_record *record, struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct page_counter *counter = at_limit(task);
	struct mem_cgroup *limited;

	record->pid = BPF_CORE_READ(task, tgid);
	bpf_probe_read_kernel_str(record->comm, sizeof(record->comm), task->comm);
	record->seen = 1;
	record->asker_pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(record->asker_comm, sizeof(record->asker_comm));
	record->memcg = counter != NULL;
	record->limit_pages = 0;
	if (counter) {
		limited = group_of(counter);
		record->limit_pages = BPF_CORE_READ(counter, max);
		read_path(&record->limit, BPF_CORE_READ(limited, css.cgroup));
	}
	read_path(&record->v2, BPF_CORE_READ(set, dfl_cgrp));
	if (v1_controller != V1_NONE)
		read_path(&record->v1, v1_of(set, false));
}

static __always_inline int marked_task(struct task_struct *task)
{
	__u32 index = sequence % VITALD_OOM_RECORDS;
	struct vitald_oom_record *record = bpf_map_lookup_elem(&records, &index);

	if (!(wanted & enabled & VITALD_OOM_KILLS) || !record)
		return 0;
	describe(record, task);
	record->sequence = ++sequence;
	tell();
	return 0;
}

static __always_inline int marked_pid(__u32 pid)
{
	__u32 index = sequence % VITALD_OOM_RECORDS, killer = (__u32)bpf_get_current_pid_tgid();
	struct vitald_oom_record *record = bpf_map_lookup_elem(&records, &index);
	struct vitald_oom_record *kill = bpf_map_lookup_elem(&last_kill, &killer);

	if (!(wanted & enabled & VITALD_OOM_KILLS) || !record)
		return 0;
	/* That of an earlier life of this pid, or of this thread, is older. */
	if (kill && kill->pid == pid && bpf_ktime_get_ns() - kill->sequence < JUST_NOW_NS) {
		bpf_probe_read_kernel(record, sizeof(*record), kill);
	} else { /* it was exiting already, and is marked to get at the reserves */
		record->pid = pid;
		record->memcg = 0;
		record->comm[0] = 0;
		record->seen = 0;
	}
	record->sequence = ++sequence;
	tell();
	return 0;
}

static __always_inline int signalled(int sig, struct task_struct *task)
{
	__u32 killer = (__u32)bpf_get_current_pid_tgid(), zero = 0;
	struct vitald_oom_record *record;

	if (!(wanted & enabled & VITALD_OOM_KILLS) || sig != 9)
		return 0;
	record = bpf_map_lookup_elem(&empty, &zero);
	if (!record)
		return 0;
	bpf_map_update_elem(&last_kill, &killer, record, BPF_ANY);
	record = bpf_map_lookup_elem(&last_kill, &killer);
	if (record) {
		describe(record, task);
		record->sequence = bpf_ktime_get_ns();
	}
	return 0;
}

SEC("tp_btf/mark_victim")
int on_victim(__u64 *ctx)
{
	TIMED(COST_ON_VICTIM, victim_is_task ? marked_task((struct task_struct *)ctx[0]) : marked_pid((__u32)ctx[0]));
}

SEC("raw_tp/mark_victim")
int on_victim_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_VICTIM, victim_is_task ? marked_task((struct task_struct *)ctx->args[0]) : marked_pid((__u32)ctx->args[0]));
}

SEC("tp_btf/signal_generate")
int on_signal(__u64 *ctx)
{
	TIMED(COST_ON_SIGNAL, signalled((int)ctx[0], (struct task_struct *)ctx[2]));
}

SEC("raw_tp/signal_generate")
int on_signal_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_SIGNAL, signalled((int)ctx->args[0], (struct task_struct *)ctx->args[2]));
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_reclaim_cpu);
} stalls SEC(".maps");

/*
 * Thread -> since when. Its number is used again, so it goes with the task's start. Full: the oldest are forgotten and
 * not counted.
 */
struct stall {
	__u64 since_ns;
	__u64 start_ns;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 4096 when used, more on many CPUs */
	__type(key, __u32);
	__type(value, struct stall);
} stalled_since SEC(".maps");

static __always_inline __u64 start_of_current(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, start_time);
}

static __always_inline int begin(void)
{
	struct stall now = {bpf_ktime_get_ns(), start_of_current()};
	__u32 thread = (__u32)bpf_get_current_pid_tgid();

	if (wanted & enabled & VITALD_DIRECT_RECLAIM)
		bpf_map_update_elem(&stalled_since, &thread, &now, BPF_ANY);
	return 0;
}

static __always_inline int end(void)
{
	__u32 thread = (__u32)bpf_get_current_pid_tgid(), cpu = bpf_get_smp_processor_id();
	struct stall *stall = bpf_map_lookup_elem(&stalled_since, &thread);
	struct vitald_reclaim_cpu *c = bpf_map_lookup_elem(&stalls, &cpu);

	if (!stall)
		return 0;
	if (c && (wanted & enabled & VITALD_DIRECT_RECLAIM) && stall->start_ns == start_of_current())
		vitald_hist_add(&c->stall, bpf_ktime_get_ns() - stall->since_ns);
	bpf_map_delete_elem(&stalled_since, &thread);
	return 0;
}

/* The arguments (order, flags; in another order since 7.0) are not needed. */
SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int on_begin(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_BEGIN, begin());
}

SEC("raw_tp/mm_vmscan_direct_reclaim_begin")
int on_begin_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_BEGIN, begin());
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int on_end(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_END, end());
}

SEC("raw_tp/mm_vmscan_direct_reclaim_end")
int on_end_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_END, end());
}
