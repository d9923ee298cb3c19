/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * All BPF programs and maps of this host, and which processes hold them, as iterators: they run when user space reads
 * them, and never else. What BPF_PROG_GET_NEXT_ID and its kin want CAP_SYS_ADMIN for is seen here with CAP_BPF and
 * CAP_PERFMON.
 */
#include "probe.bpf.h"
#include "vitald/programs.h"

#define NAME_BYTES VITALD_BPF_NAME
#define CPUS 1024
#define SUBPROGRAMS 256 /* BPF_MAX_SUBPROGS */

/*
 * A program's counters are per CPU, and what the program says is where they would lie on a CPU without an offset. The
 * offsets are found with a map of our own, of which both are known: where it lies on each CPU, and where without.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} here SEC(".maps");

const volatile bool counts_runs = true; /* bpf_map_lookup_percpu_elem, v5.19 */
const volatile __u32 cpus = 1;

__u32 here_id = 0;		/* of that map */
__u64 offsets[CPUS] = {};
volatile __u64 address = 0;
__u32 offsets_known = 0;

/* Open files tell what they are by these; learned from some of our own, whose numbers are given. */
__u32 reader = 0;		/* the process that reads, as the host numbers it */
__u32 known_program = 0, known_map = 0, known_link = 0;
__u64 program_files = 0, map_files = 0, link_files = 0;

static __always_inline void find_offsets(struct bpf_map *map)
{
	struct bpf_array *array = (struct bpf_array *)map;
	__u64 without;
	__u32 i, zero = 0;
	void *at;

	without = (__u64)BPF_CORE_READ(array, pptrs[0]);
	for (i = 0; i < CPUS; i++) {
		if (i >= cpus)
			break;
		at = bpf_map_lookup_percpu_elem(&here, &zero, i);
		if (!at)
			return;
		address = (__u64)at; /* what comes from a map is a number for the verifier */
		offsets[i] = address - without;
	}
	offsets_known = 1;
}

static __always_inline void add_runs(struct bpf_prog *program, struct vitald_bpf_program *out)
{
	__u64 stats = (__u64)BPF_CORE_READ(program, stats), at, value;
	__u32 i;

	if (!stats)
		return;
	for (i = 0; i < CPUS; i++) {
		if (i >= cpus)
			break;
		at = stats + offsets[i];
		value = 0;
		bpf_probe_read_kernel(&value, sizeof(value),
				      (void *)(at + bpf_core_field_offset(((struct bpf_prog_stats *)0)->cnt)));
		out->runs += value;
		value = 0;
		bpf_probe_read_kernel(&value, sizeof(value),
				      (void *)(at + bpf_core_field_offset(((struct bpf_prog_stats *)0)->nsecs)));
		out->run_ns += value;
	}
}

static __always_inline __u32 jited_bytes(struct bpf_prog *program, struct bpf_prog_aux *aux)
{
	struct bpf_prog **functions = BPF_CORE_READ(aux, func), *function;
	__u32 i, sum = 0, count = BPF_CORE_READ(aux, func_cnt);

	if (!count)
		return BPF_CORE_READ(program, jited_len);
	for (i = 0; i < SUBPROGRAMS; i++) {
		if (i >= count)
			break;
		function = NULL;
		bpf_probe_read_kernel(&function, sizeof(function), functions + i);
		if (function)
			sum += BPF_CORE_READ(function, jited_len);
	}
	return sum;
}

SEC("iter/bpf_map")
int each_map(__u64 *ctx)
{
	struct bpf_iter_meta *meta = (struct bpf_iter_meta *)ctx[0];
	struct bpf_map *map = (struct bpf_map *)ctx[1];
	struct vitald_bpf_map out = {};

	if (!map)
		return 0;
	out.id = BPF_CORE_READ(map, id);
	if (counts_runs && out.id == here_id)
		find_offsets(map);
	out.type = BPF_CORE_READ(map, map_type);
	out.key_size = BPF_CORE_READ(map, key_size);
	out.value_size = BPF_CORE_READ(map, value_size);
	out.max_entries = BPF_CORE_READ(map, max_entries);
	out.flags = BPF_CORE_READ(map, map_flags);
	bpf_probe_read_kernel_str(out.name, sizeof(out.name), map->name);
	bpf_seq_write(meta->seq, &out, sizeof(out));
	return 0;
}

SEC("iter/bpf_prog")
int each_program(__u64 *ctx)
{
	struct bpf_iter_meta *meta = (struct bpf_iter_meta *)ctx[0];
	struct bpf_prog *program = (struct bpf_prog *)ctx[1];
	struct vitald_bpf_program out = {};
	struct bpf_prog_aux *aux;

	if (!program)
		return 0;
	aux = BPF_CORE_READ(program, aux);
	out.id = BPF_CORE_READ(aux, id);
	out.type = BPF_CORE_READ(program, type);
	out.pages = BPF_CORE_READ(program, pages);
	out.jited_bytes = jited_bytes(program, aux);
	bpf_probe_read_kernel_str(out.name, sizeof(out.name), aux->name);
	if (counts_runs && offsets_known)
		add_runs(program, &out);
	bpf_seq_write(meta->seq, &out, sizeof(out));
	return 0;
}

SEC("iter/task_file")
int each_file(__u64 *ctx)
{
	struct bpf_iter_meta *meta = (struct bpf_iter_meta *)ctx[0];
	struct task_struct *task = (struct task_struct *)ctx[1];
	__u32 number = (__u32)ctx[2];
	struct file *file = (struct file *)ctx[3];
	struct vitald_bpf_holder out = {};
	__u64 kind;
	void *held;

	if (!task || !file)
		return 0;
	kind = (__u64)BPF_CORE_READ(file, f_op);
	out.pid = BPF_CORE_READ(task, tgid);
	reader = bpf_get_current_pid_tgid() >> 32;
	if (out.pid == reader) {
		if (number == known_program)
			program_files = kind;
		if (number == known_map)
			map_files = kind;
		if (number == known_link)
			link_files = kind;
	}
	if (!kind || (kind != program_files && kind != map_files && kind != link_files))
		return 0;
	held = BPF_CORE_READ(file, private_data);
	if (kind == map_files) {
		out.held = VITALD_HOLDS_MAP;
		out.id = BPF_CORE_READ((struct bpf_map *)held, id);
	} else {
		out.held = VITALD_HOLDS_PROGRAM;
		if (kind == link_files)
			held = BPF_CORE_READ((struct bpf_link *)held, prog);
		if (!held)
			return 0;
		out.id = BPF_CORE_READ((struct bpf_prog *)held, aux, id);
	}
	task = BPF_CORE_READ(task, group_leader);
	bpf_probe_read_kernel_str(out.comm, sizeof(out.comm), task->comm);
	bpf_seq_write(meta->seq, &out, sizeof(out));
	return 0;
}
