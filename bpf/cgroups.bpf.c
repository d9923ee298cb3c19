/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * CPU, memory, I/O, tasks and pressure of many cgroups of v2 at once, as an iterator: it runs when user space reads it,
 * and never else. What is wanted is written to a map: an iterator over cgroups gives no more than one buffer of text.
 */
#include "probe.bpf.h"
#include "vitald/cgroups.h"

/* Which are wanted: id -> record. Filled by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, __u32);
} wanted_cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vitald_cgroup_record);
} records SEC(".maps");

__u64 round_number = 0;

/* The places in the kernel's arrays; -1: not known yet. */
__s32 state_places[4] = {-1, -1, -1, -1};
__s32 event_places[2] = {-1, -1};

__u64 sample_id = 0; /* of the cgroup; 0: none */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct vitald_memory_sample);
} samples SEC(".maps");

#define CSS_VISIBLE 8 /* include/linux/cgroup-defs.h: its files are there */

static __always_inline struct cgroup_subsys_state *shown_css(struct cgroup *cgroup, __u32 subsystem)
{
	struct cgroup_subsys_state **css = &cgroup->subsys[0];
	struct cgroup_subsys_state *value = css[subsystem];

	return value && value->flags & CSS_VISIBLE ? value : NULL;
}

static __always_inline __u64 read_u64(const void *at)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), at);
	return value;
}

static __noinline int take_sample(struct mem_cgroup *memory)
{
	struct vitald_memory_sample *sample;
	const void *stats;
	__u32 size, zero = 0;

	sample = bpf_map_lookup_elem(&samples, &zero);
	if (!sample)
		return 0;
	stats = BPF_CORE_READ(memory, vmstats);
	size = bpf_core_field_size(((struct memcg_vmstats *)0)->state);
	if (size > sizeof(sample->state))
		size = sizeof(sample->state);
	bpf_probe_read_kernel(sample->state, size, stats + bpf_core_field_offset(((struct memcg_vmstats *)0)->state));
	sample->states = size / 8;
	size = bpf_core_field_size(((struct memcg_vmstats *)0)->events);
	if (size > sizeof(sample->event))
		size = sizeof(sample->event);
	bpf_probe_read_kernel(sample->event, size, stats + bpf_core_field_offset(((struct memcg_vmstats *)0)->events));
	sample->events = size / 8;
	sample->round = round_number;
	return 0;
}

static __noinline int read_memory(struct vitald_cgroup_record *r, struct mem_cgroup *memory)
{
	const void *state, *event;
	__u32 i;

	r->memory = BPF_CORE_READ(memory, memory.usage.counter);
	r->memory_peak = BPF_CORE_READ(memory, memory.watermark);
	r->memory_max = BPF_CORE_READ(memory, memory.max);
	r->swap = BPF_CORE_READ(memory, swap.usage.counter);
	r->swap_max = BPF_CORE_READ(memory, swap.max);
	r->at_limit = read_u64((const void *)memory + bpf_core_field_offset(memory->memory_events) +
			       8 * bpf_core_enum_value(enum memcg_memory_event, MEMCG_MAX));
	r->oom_kills = read_u64((const void *)memory + bpf_core_field_offset(memory->memory_events) +
				8 * bpf_core_enum_value(enum memcg_memory_event, MEMCG_OOM_KILL));
	state = BPF_CORE_READ(memory, vmstats);
	event = state + bpf_core_field_offset(((struct memcg_vmstats *)0)->events);
	state += bpf_core_field_offset(((struct memcg_vmstats *)0)->state);
	for (i = 0; i < 4; i++)
		r->stats[i] = state_places[i] >= 0 ? read_u64(state + 8 * state_places[i]) : 0;
	for (i = 0; i < 2; i++)
		r->stats[4 + i] = event_places[i] >= 0 ? read_u64(event + 8 * event_places[i]) : 0;
	return 0;
}

static __noinline int read_io(struct vitald_cgroup_record *r, struct blkcg *blkcg)
{
	struct hlist_node *node = BPF_CORE_READ(blkcg, blkg_list.first);
	struct vitald_cgroup_io *io;
	struct blkcg_gq *group;
	struct gendisk *disk;
	__u32 i;

	for (i = 0; i < VITALD_CGROUP_DISKS && node; i++) {
		group = (void *)node - bpf_core_field_offset(((struct blkcg_gq *)0)->blkcg_node);
		node = BPF_CORE_READ(group, blkcg_node.next);
		disk = BPF_CORE_READ(group, q, disk);
		io = &r->io[i & (VITALD_CGROUP_DISKS - 1)];
		io->major = BPF_CORE_READ(disk, major);
		io->minor = BPF_CORE_READ(disk, first_minor);
		bpf_probe_read_kernel(io->bytes, sizeof(io->bytes), &group->iostat.cur.bytes[0]);
		bpf_probe_read_kernel(io->requests, sizeof(io->requests), &group->iostat.cur.ios[0]);
	}
	r->disks = i;
	return node ? VITALD_CGROUP_MORE_IO : 0;
}

static __noinline int read_cpu(struct vitald_cgroup_record *r, struct task_group *group)
{
	r->shares = BPF_CORE_READ(group, shares);
	if (!bpf_core_field_exists(group->cfs_bandwidth.quota))
		return 0;
	r->quota_ns = BPF_CORE_READ(group, cfs_bandwidth.quota);
	r->period_ns = BPF_CORE_READ(group, cfs_bandwidth.period);
	r->periods = BPF_CORE_READ(group, cfs_bandwidth.nr_periods);
	r->throttled_periods = BPF_CORE_READ(group, cfs_bandwidth.nr_throttled);
	r->throttled_ns = BPF_CORE_READ(group, cfs_bandwidth.throttled_time);
	return 0;
}

static __always_inline int pressure_of(struct vitald_cgroup_record *r, struct cgroup *cgroup)
{
	struct psi_group *psi;
	__u64 *total;

	if (!bpf_core_field_exists(cgroup->psi))
		return 0;
	psi = cgroup->psi;
	if (!psi)
		return 0;
	total = &psi->total[0];
	r->pressure_ns[0] = total[bpf_core_enum_value(enum psi_states, PSI_CPU_SOME)];
	r->pressure_ns[1] = total[bpf_core_enum_value(enum psi_states, PSI_CPU_FULL)];
	r->pressure_ns[2] = total[bpf_core_enum_value(enum psi_states, PSI_MEM_SOME)];
	r->pressure_ns[3] = total[bpf_core_enum_value(enum psi_states, PSI_MEM_FULL)];
	r->pressure_ns[4] = total[bpf_core_enum_value(enum psi_states, PSI_IO_SOME)];
	r->pressure_ns[5] = total[bpf_core_enum_value(enum psi_states, PSI_IO_FULL)];
	return VITALD_CGROUP_PRESSURE;
}

SEC("iter/cgroup")
int each_cgroup(__u64 *ctx)
{
	struct cgroup *cgroup = (struct cgroup *)ctx[1];
	struct cgroup_subsys_state *css;
	struct vitald_cgroup_record *r;
	__u32 *number, has = 0;
	__u64 id;

	if (!cgroup)
		return 0;
	id = cgroup->kn->id;
	if (id == sample_id) {
		css = (&cgroup->subsys[0])[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)];
		if (css)
			take_sample((struct mem_cgroup *)css);
	}
	number = bpf_map_lookup_elem(&wanted_cgroups, &id);
	if (!number)
		return 0;
	r = bpf_map_lookup_elem(&records, number);
	if (!r)
		return 0;
	r->cpu_ns = cgroup->bstat.cputime.sum_exec_runtime;
	r->user_ns = cgroup->bstat.cputime.utime;
	r->system_ns = cgroup->bstat.cputime.stime;
	r->shown_user_ns = cgroup->prev_cputime.utime;
	r->shown_system_ns = cgroup->prev_cputime.stime;
	css = shown_css(cgroup, bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id));
	if (css) {
		read_cpu(r, (struct task_group *)css);
		has |= VITALD_CGROUP_CPU;
	}
	css = shown_css(cgroup, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
	if (css) {
		read_memory(r, (struct mem_cgroup *)css);
		has |= VITALD_CGROUP_MEMORY;
	}
	css = shown_css(cgroup, bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
	if (css) {
		r->tasks = BPF_CORE_READ((struct pids_cgroup *)css, counter.counter);
		r->tasks_max = BPF_CORE_READ((struct pids_cgroup *)css, limit.counter);
		has |= VITALD_CGROUP_PIDS;
	}
	css = shown_css(cgroup, bpf_core_enum_value(enum cgroup_subsys_id, io_cgrp_id));
	if (css)
		has |= VITALD_CGROUP_IO | read_io(r, (struct blkcg *)css);
	r->has = has | pressure_of(r, cgroup);
	r->round = round_number;
	return 0;
}
