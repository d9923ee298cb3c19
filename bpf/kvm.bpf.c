/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why virtual CPUs leave their guest, how long the host takes until they are back in it, how long they waited for a CPU
 * meanwhile, and how their halts end. Per guest, which is the owner of the virtual CPU's thread.
 *
 * KVM is a module of most kernels, and comes late: its tracepoints are taken by their names (raw_tp), and where a virtual
 * CPU has its exit's reason is a number that user space reads in the module's types.
 */
#include "owner_table.bpf.h"
#include "vitald/kvm.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* VITALD_GUESTS * CPUs: user space maps those of the guests there are */
	__type(key, __u32);
	__type(value, struct vitald_guest_row);
} rows SEC(".maps");

/* The guest of each owner slot, 0: none yet. Made here, ended by user space with the slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* owner_slots */
	__type(key, __u32);
	__type(value, __u64);
} guest_of_slot SEC(".maps");

/* The owner slot of each guest; 0: nobody's. Two CPUs may both have made a guest of one slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VITALD_GUESTS);
	__type(key, __u32);
	__type(value, __u64);
} slot_of_guest SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, VITALD_GUESTS);
	__type(value, __u32);
} free_guests SEC(".maps");

/* Of `reasons`. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, VITALD_EXIT_REASONS);
	__type(value, __u32);
} free_numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, VITALD_EXIT_REASONS);
	__type(key, __u32);
	__type(value, struct vitald_exit_reason);
} reasons SEC(".maps");

/*
 * The thread of a virtual CPU -> its last exit. Threads' numbers are used again, so it goes with the task's start. Full:
 * those longest not seen are forgotten, and begin anew.
 */
struct exit {
	__u64 since_ns; /* 0: it is in its guest, or was not seen to leave */
	__u64 start_ns;
	__u64 run_delay;
	__u32 code;
	__u16 isa;
	__u16 halted;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* 4096 when used, more on many CPUs */
	__type(key, __u32);
	__type(value, struct exit);
} exits SEC(".maps");

/*
 * From struct kvm_vcpu, as its vendor's module lays it out: to the reason, or to the pointer to the control block that
 * has it. 0: not known.
 */
const volatile __s32 vmx_reason = 0;
const volatile __s32 svm_block = 0;
const volatile __s32 svm_reason = 0; /* in the block */
const volatile __s32 other_reason = 0;
const volatile __u32 guest_cpus = 1; /* possible ones */
const volatile __u32 only_isa = VITALD_ISA_OTHER; /* where the tracepoint has the reason itself */

__u8 number_of[VITALD_EXIT_CODES] = {}; /* of a reason: its entry in `reasons`; 0: none yet */

static __always_inline __u32 read_u32(const void *at)
{
	__u32 value;

	return bpf_probe_read_kernel(&value, sizeof(value), at) ? VITALD_EXIT_UNKNOWN : value;
}

static __always_inline __u32 reason_of(const void *vcpu, __u32 isa)
{
	const void *block;

	if (isa == VITALD_ISA_VMX && vmx_reason)
		return read_u32(vcpu + vmx_reason) & 0xffff; /* without its flags */
	if (isa == VITALD_ISA_SVM && svm_block)
		return bpf_probe_read_kernel(&block, sizeof(block), vcpu + svm_block) ? VITALD_EXIT_UNKNOWN :
										       read_u32(block + svm_reason);
	return other_reason ? read_u32(vcpu + other_reason) : VITALD_EXIT_UNKNOWN; /* whose numbers they are like */
}

/*
 * Through Linux 5.16 the arguments were (reason, vcpu, isa), since then (vcpu, isa). A reason has 32 bits, and no address
 * of the kernel has so few. A program that looks at a third one is refused where there are two.
 */
static __always_inline int leaves(__u64 first, __u64 second)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 thread = (__u32)bpf_get_current_pid_tgid(), isa = first >> 32 ? (__u32)second : only_isa;
	struct exit fresh = {}, *e;

	if (!(wanted & enabled & VITALD_GUEST_EXITS))
		return 0;
	e = bpf_map_lookup_elem(&exits, &thread);
	if (!e) {
		fresh.run_delay = BPF_CORE_READ(task, sched_info.run_delay);
		fresh.start_ns = BPF_CORE_READ(task, start_time);
		bpf_map_update_elem(&exits, &thread, &fresh, BPF_NOEXIST);
		e = bpf_map_lookup_elem(&exits, &thread);
		if (!e)
			return 0;
	} else if (e->start_ns != BPF_CORE_READ(task, start_time)) {
		e->run_delay = BPF_CORE_READ(task, sched_info.run_delay);
		e->start_ns = BPF_CORE_READ(task, start_time);
	}
	e->isa = isa == VITALD_ISA_VMX || isa == VITALD_ISA_SVM ? isa : VITALD_ISA_OTHER;
	e->code = first >> 32 ? reason_of((const void *)first, e->isa) :
		  e->isa == VITALD_ISA_VMX ? (__u32)first & 0xffff : (__u32)first;
	e->halted = 0;
	e->since_ns = bpf_ktime_get_ns();
	return 0;
}

/* 0 when it has none of its own: a number that hardly ever is, or all are taken. */
static __noinline __u32 number_reason(__u32 code, __u32 isa)
{
	struct vitald_exit_reason *r;
	__u32 at, number;

	if (isa == VITALD_ISA_SVM)
		at = code < 256 ? 256 + code : code >> 8 == 4 ? 512 + (code & 0xff) : code == VITALD_EXIT_UNKNOWN ? 767 : 0;
	else
		at = code < 255 ? code : code == VITALD_EXIT_UNKNOWN ? 255 : 0;
	if (isa == VITALD_ISA_OTHER)
		at += 768;
	if (!at && code)
		return 0;
	at &= VITALD_EXIT_CODES - 1;
	number = number_of[at];
	if (number)
		return number;
	if (bpf_map_pop_elem(&free_numbers, &number))
		return 0;
	r = bpf_map_lookup_elem(&reasons, &number);
	if (!r)
		return 0;
	r->code = code;
	r->isa = isa;
	barrier();
	r->used = 1;
	number_of[at] = number;
	return number;
}

static __noinline __u32 make_guest(__u32 slot)
{
	__u32 guest;
	__u64 *of_slot = bpf_map_lookup_elem(&guest_of_slot, &slot), *of_guest;

	if (!of_slot || !slot || bpf_map_pop_elem(&free_guests, &guest))
		return 0;
	of_guest = bpf_map_lookup_elem(&slot_of_guest, &guest);
	if (!of_guest)
		return 0;
	*of_guest = slot;
	barrier(); /* user space looks for guests of slots that have one */
	*of_slot = guest;
	return guest;
}

static __always_inline struct vitald_guest_row *row_of(__u32 slot)
{
	__u64 *known = bpf_map_lookup_elem(&guest_of_slot, &slot);
	__u32 guest = known ? *known : 0, index;

	if (!guest)
		guest = make_guest(slot);
	index = (guest & (VITALD_GUESTS - 1)) * guest_cpus + bpf_get_smp_processor_id();
	return bpf_map_lookup_elem(&rows, &index);
}

static __always_inline bool is_halt(const struct exit *e)
{
	return e->halted || (e->isa == VITALD_ISA_VMX && e->code == 12 /* EXIT_REASON_HLT */) ||
	       (e->isa == VITALD_ISA_SVM && (e->code == 0x78 /* SVM_EXIT_HLT */ || e->code == 0xa6 /* SVM_EXIT_IDLE_HLT */));
}

/* Interrupts are off, as in the scheduler's program, so the same cache of owners may be used. */
static __always_inline int enters(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 thread = (__u32)bpf_get_current_pid_tgid(), cpu = bpf_get_smp_processor_id();
	struct exit *e = bpf_map_lookup_elem(&exits, &thread);
	struct vitald_owner_cpu *o;
	struct vitald_guest_row *row;
	__u64 ns, delay;

	if (!(wanted & enabled & VITALD_GUEST_EXITS) || !e || !e->since_ns)
		return 0;
	ns = bpf_ktime_get_ns() - e->since_ns;
	e->since_ns = 0;
	if (e->start_ns != BPF_CORE_READ(task, start_time))
		return 0;
	o = bpf_map_lookup_elem(&owner_cpus, &cpu);
	row = o ? row_of(owner_of(o, task, false)) : NULL;
	if (!row)
		return 0;
	row->exits[number_reason(e->code, e->isa) & (VITALD_EXIT_REASONS - 1)]++;
	if (!is_halt(e)) {
		row->handling[vitald_coarse_slot(vitald_hist_slot(ns))]++;
		row->handling_ns += ns;
	}
	delay = BPF_CORE_READ(task, sched_info.run_delay);
	if (delay != e->run_delay) {
		ns = delay - e->run_delay;
		e->run_delay = delay;
		row->wait[vitald_coarse_slot(vitald_hist_slot(ns))]++;
		row->wait_ns += ns;
	}
	return 0;
}

/* (ns, waited, valid): how long it had nothing to do, and whether the host slept for it. It may be interrupted. */
static __always_inline int halted(__u64 ns, bool slept)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 thread = (__u32)bpf_get_current_pid_tgid();
	struct vitald_guest_row *row;
	struct exit *e;

	if (wanted & enabled & VITALD_GUEST_EXITS) {
		e = bpf_map_lookup_elem(&exits, &thread);
		if (e)
			e->halted = 1;
	}
	if (!(wanted & enabled & VITALD_GUEST_HALTS))
		return 0;
	row = row_of(owner_seldom(task, false));
	if (!row)
		return 0;
	if (slept) {
		__sync_fetch_and_add(&row->slept_count, 1);
		__sync_fetch_and_add(&row->slept_ns, ns);
	} else {
		__sync_fetch_and_add(&row->polled_count, 1);
		__sync_fetch_and_add(&row->polled_ns, ns);
	}
	return 0;
}

SEC("raw_tp/kvm_exit")
int on_guest_exit_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_GUEST_EXIT, leaves(ctx->args[0], ctx->args[1]));
}

SEC("raw_tp/kvm_entry")
int on_guest_entry_raw(void *ctx __attribute__((unused)))
{
	TIMED(COST_ON_GUEST_ENTRY, enters());
}

SEC("raw_tp/kvm_vcpu_wakeup")
int on_guest_halt_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_GUEST_HALT, halted(ctx->args[0], ctx->args[1] & 1));
}
