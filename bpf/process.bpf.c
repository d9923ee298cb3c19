/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How processes begin and end, per owner: forks, execs, and of what they died. Of a signal that ends a process the kernel
 * forgets who sent it, so the last one that would end each process is kept until it does: what the receiver has not
 * asked to handle, and only while it is not known to be gone.
 */
#include "owner_table.bpf.h"
#include "vitald/process.h"

const volatile bool victim_is_task = true; /* mark_victim, as in memory.bpf.c */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * owner_slots */
	__type(key, __u32);
	__type(value, struct vitald_process_row);
} rows SEC(".maps");

/* Process -> who wants it to end. Its number is used again, so it goes with the process' start. */
struct sent {
	__u64 start_ns;
	__u32 signal;
	__u32 oom;
	__u32 pid; /* 0: the kernel */
	__u32 slot;
	char comm[16];
	__u32 gone; /* counted as killed, in this slot + 1 */
	__u32 unused;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 1024 when used, more on many CPUs */
	__type(key, __u32);
	__type(value, struct sent);
} sent_to SEC(".maps");

/*
 * sched_process_exit says since v6.16 whether it is for the last thread. Before, threads that go at once all see that
 * none is left: process -> its start, of those that are counted and may still have such threads.
 */
const volatile bool has_group_dead = true;
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 1024 when used, more on many CPUs */
	__type(key, __u32);
	__type(value, __u64);
} counted SEC(".maps");

/*
 * Per slot: processes that were counted as killed before they were marked. The kernel marks right after the signal, and
 * since v6.16 one that is quick may have come to its end by then.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* owner_slots */
	__type(key, __u32);
	__type(value, __u64);
} marked_late SEC(".maps");

const volatile bool has_deaths = true; /* ring buffers, v5.8 */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* some pages */
} deaths SEC(".maps");

__u64 deaths_lost = 0;

#define SIGNAL_GROUP_EXIT 4 /* include/linux/sched/signal.h */
#define SIGNAL_KILL 9
#define BIT_OF(n) (1ull << (n))
/* What a process is ended with for what it did: ILL, TRAP, ABRT, BUS, FPE, SEGV, XCPU, XFSZ, SYS. */
#define CRASHES \
	(BIT_OF(4) | BIT_OF(5) | BIT_OF(6) | BIT_OF(7) | BIT_OF(8) | BIT_OF(11) | BIT_OF(24) | BIT_OF(25) | BIT_OF(31))
/* What does not end one by itself: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH. The same on x86, arm and most. */
#define HARMLESS \
	(BIT_OF(17) | BIT_OF(18) | BIT_OF(19) | BIT_OF(20) | BIT_OF(21) | BIT_OF(22) | BIT_OF(23) | BIT_OF(28))

/* Events of one CPU may interrupt each other, so these are added to atomically; they are rare. */
static __always_inline struct vitald_process_row *row_of(__u32 slot)
{
	__u32 index = bpf_get_smp_processor_id() * owner_slots + slot;

	return bpf_map_lookup_elem(&rows, &index);
}

static __always_inline int forked(struct task_struct *parent, struct task_struct *child, bool direct)
{
	struct vitald_process_row *row;

	if (!(wanted & enabled & VITALD_PROCESS_LIFE) || FIELD(child, pid) != FIELD(child, tgid))
		return 0;
	row = row_of(owner_seldom(parent, direct));
	if (row)
		__sync_fetch_and_add(&row->forks, 1);
	return 0;
}

static __always_inline int execed(struct task_struct *task, bool direct)
{
	struct vitald_process_row *row;

	if (!(wanted & enabled & VITALD_PROCESS_LIFE))
		return 0;
	row = row_of(owner_seldom(task, direct));
	if (row)
		__sync_fetch_and_add(&row->execs, 1);
	return 0;
}

static __noinline int tell(struct task_struct *task, __u32 slot, __u32 death, __u32 code, struct sent *sent)
{
	struct vitald_death_record record = {};

	if (!has_deaths)
		return 0;
	record.boot_ns = bpf_ktime_get_ns();
	record.pid = BPF_CORE_READ(task, tgid);
	record.slot = slot;
	record.death = death;
	record.signal = code & 0xff;
	bpf_probe_read_kernel_str(record.comm, sizeof(record.comm), BPF_CORE_READ(task, group_leader)->comm);
	if (sent) {
		record.sender_pid = sent->pid;
		record.sender_slot = sent->slot;
		__builtin_memcpy(record.sender_comm, sent->comm, sizeof(record.sender_comm));
	}
	/* Who waits for news decides himself how often he looks. */
	if (bpf_ringbuf_output(&deaths, &record, sizeof(record), BPF_RB_FORCE_WAKEUP))
		__sync_fetch_and_add(&deaths_lost, 1);
	return 0;
}

/* The first of the threads that see that none is left. Those that are gone for good are not in nr_threads. */
static __noinline bool is_last(struct task_struct *task, __u32 tgid)
{
	__u64 start = BPF_CORE_READ(task, group_leader, start_time), *seen;
	bool more = BPF_CORE_READ(task, signal, nr_threads) > 1;

	seen = bpf_map_lookup_elem(&counted, &tgid);
	if (seen && *seen == start) {
		if (!more)
			bpf_map_delete_elem(&counted, &tgid);
		return false;
	}
	if (!more)
		return true;
	if (seen)
		bpf_map_delete_elem(&counted, &tgid);
	return !bpf_map_update_elem(&counted, &tgid, &start, BPF_NOEXIST); /* or another thread was faster */
}

/* A thread goes; signal->live was counted down already. */
static __always_inline int exited(struct task_struct *task, bool group_dead, bool direct)
{
	struct signal_struct *process = FIELD(task, signal);
	struct vitald_process_row *row;
	struct task_struct *leader;
	struct sent *sent;
	__u32 code, signal, slot, tgid = FIELD(task, tgid);

	if (!(wanted & enabled & VITALD_PROCESS_LIFE))
		return 0;
	if (has_group_dead ? !group_dead : FIELD(process, live.counter) || !is_last(task, tgid))
		return 0;
	leader = FIELD(task, group_leader);
	code = FIELD(process, flags) & SIGNAL_GROUP_EXIT ? FIELD(process, group_exit_code) : FIELD(leader, exit_code);
	slot = owner_seldom(task, direct);
	row = row_of(slot);
	if (!row)
		return 0;
	signal = code & 0x7f;
	if (!signal) {
		if (code)
			__sync_fetch_and_add(&row->failed, 1);
		else
			__sync_fetch_and_add(&row->exited, 1);
		return 0;
	}
	sent = bpf_map_lookup_elem(&sent_to, &tgid);
	if (sent && (sent->start_ns != FIELD(leader, start_time) || sent->signal != signal))
		sent = NULL;
	if (signal == SIGNAL_KILL && sent && sent->oom) {
		__sync_fetch_and_add(&row->oom, 1);
		tell(task, slot, VITALD_DEATH_OOM, code, sent);
	} else if (signal == SIGNAL_KILL || (signal < 64 && BIT_OF(signal) & CRASHES && sent && sent->pid &&
					      sent->pid != tgid)) {
		__sync_fetch_and_add(&row->killed, 1);
		tell(task, slot, VITALD_DEATH_KILLED, code, sent);
		if (signal == SIGNAL_KILL && sent && !sent->pid) { /* it may be marked in a moment */
			sent->gone = slot + 1;
			return 0;
		}
	} else if (signal < 64 && BIT_OF(signal) & CRASHES) {
		__sync_fetch_and_add(&row->crashed, 1);
		tell(task, slot, VITALD_DEATH_CRASHED, code, sent);
	} else { /* as services stop: nobody is told */
		__sync_fetch_and_add(&row->terminated, 1);
	}
	if (sent)
		bpf_map_delete_elem(&sent_to, &tgid);
	return 0;
}

/* Whether nobody has asked to be told of this signal: it ends the process. */
static __always_inline bool by_default(struct task_struct *task, int signal)
{
	struct sighand_struct *hand = BPF_CORE_READ(task, sighand);
	void *action = (void *)&hand->action[0] + (signal - 1) * bpf_core_type_size(struct k_sigaction), *handler = NULL;

	bpf_core_read(&handler, sizeof(handler), &((struct k_sigaction *)action)->sa.sa_handler);
	return !handler;
}

static __always_inline int signalled(int signal, struct kernel_siginfo *info, struct task_struct *task, int result)
{
	struct task_struct *leader;
	struct sent sent = {}, *before;
	int code = 0;
	__u32 tgid;

	if (!(wanted & enabled & VITALD_PROCESS_LIFE) || signal < 1 || signal > 63 || BIT_OF(signal) & HARMLESS ||
	    result)
		return 0;
	if (signal != SIGNAL_KILL && !by_default(task, signal))
		return 0;
	leader = BPF_CORE_READ(task, group_leader);
	tgid = BPF_CORE_READ(task, tgid);
	sent.start_ns = BPF_CORE_READ(leader, start_time);
	sent.signal = signal;
	before = bpf_map_lookup_elem(&sent_to, &tgid);
	if (before && before->start_ns == sent.start_ns && before->signal == SIGNAL_KILL) /* that is what it dies of */
		return 0;
	if ((__u64)info > 1) /* 0: from a process, 1: from the kernel (SEND_SIG_PRIV) */
		code = BPF_CORE_READ(info, si_code);
	if ((__u64)info != 1 && code <= 0 && code != -2) { /* SI_USER, SI_TKILL, SI_QUEUE; -2: of a timer */
		struct task_struct *sender = (struct task_struct *)bpf_get_current_task();

		sent.pid = BPF_CORE_READ(sender, tgid);
		sent.slot = owner_seldom(sender, false);
		bpf_get_current_comm(sent.comm, sizeof(sent.comm));
	}
	bpf_map_update_elem(&sent_to, &tgid, &sent, BPF_ANY);
	return 0;
}

/*
 * The kernel sent it SIGKILL a moment ago; or it is dying already of something else, and is marked to get at the
 * reserves. `start_ns`: the process', 0 where it is not known.
 */
static __always_inline int marked(__u32 tgid, __u64 start_ns)
{
	struct sent *sent = bpf_map_lookup_elem(&sent_to, &tgid);
	__u64 *late;
	__u32 slot;

	if (!sent || sent->signal != SIGNAL_KILL || sent->pid || (start_ns && sent->start_ns != start_ns))
		return 0;
	sent->oom = 1;
	if (!sent->gone)
		return 0;
	slot = sent->gone - 1;
	late = bpf_map_lookup_elem(&marked_late, &slot);
	if (late)
		__sync_fetch_and_add(late, 1);
	bpf_map_delete_elem(&sent_to, &tgid);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int on_fork(__u64 *ctx)
{
	TIMED(COST_ON_FORK, forked((struct task_struct *)ctx[0], (struct task_struct *)ctx[1], true));
}

SEC("raw_tp/sched_process_fork")
int on_fork_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_FORK, forked((struct task_struct *)ctx->args[0], (struct task_struct *)ctx->args[1], false));
}

SEC("tp_btf/sched_process_exec")
int on_exec(__u64 *ctx)
{
	TIMED(COST_ON_EXEC, execed((struct task_struct *)ctx[0], true));
}

SEC("raw_tp/sched_process_exec")
int on_exec_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_EXEC, execed((struct task_struct *)ctx->args[0], false));
}

SEC("tp_btf/sched_process_exit")
int on_exit(__u64 *ctx)
{
	TIMED(COST_ON_EXIT, exited((struct task_struct *)ctx[0], has_group_dead ? ctx[1] & 1 : false, true));
}

SEC("raw_tp/sched_process_exit")
int on_exit_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_EXIT, exited((struct task_struct *)ctx->args[0], has_group_dead ? ctx->args[1] & 1 : false, false));
}

SEC("tp_btf/signal_generate")
int on_sent(__u64 *ctx)
{
	TIMED(COST_ON_SENT, signalled((int)ctx[0], (struct kernel_siginfo *)ctx[1], (struct task_struct *)ctx[2], (int)ctx[4]));
}

SEC("raw_tp/signal_generate")
int on_sent_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_SENT, signalled((int)ctx->args[0], (struct kernel_siginfo *)ctx->args[1], (struct task_struct *)ctx->args[2],
			 (int)ctx->args[4]));
}

static __always_inline int marked_task_or_pid(__u64 victim)
{
	struct task_struct *task = (struct task_struct *)victim;

	if (!victim_is_task)
		return marked((__u32)victim, 0);
	return marked(BPF_CORE_READ(task, tgid), BPF_CORE_READ(task, group_leader, start_time));
}

SEC("tp_btf/mark_victim")
int on_marked(__u64 *ctx)
{
	TIMED(COST_ON_MARKED, marked_task_or_pid(ctx[0]));
}

SEC("raw_tp/mark_victim")
int on_marked_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_MARKED, marked_task_or_pid(ctx->args[0]));
}
