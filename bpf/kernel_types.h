/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's fields that our programs read, and nothing else. libbpf moves each access to where the running
 * kernel has the field, by name; so offsets, order and what is left out do not matter. Flavours (___pre514) have
 * the fields of the kernels before that version; which one there is, is asked of the kernel, not of its version.
 */
#ifndef VITALD_KERNEL_TYPES_H
#define VITALD_KERNEL_TYPES_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	struct kernfs_node *__parent;
	const char *name;
	__u64 id;
};
struct kernfs_node___pre615 {
	struct kernfs_node *parent;
};

struct cgroup_root {
	int hierarchy_id;
};
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	unsigned int flags;
};
struct task_cputime {
	__u64 stime;
	__u64 utime;
	unsigned long long sum_exec_runtime;
};
struct prev_cputime {
	__u64 utime;
	__u64 stime;
};
struct cgroup_base_stat {
	struct task_cputime cputime;
};
struct psi_group {
	__u64 total[1]; /* by psi_states, twice: the first ones are what files show */
};
struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup_root *root;
	struct cgroup_subsys_state *subsys[1]; /* CGROUP_SUBSYS_COUNT of them */
	struct cgroup_base_stat bstat;
	struct prev_cputime prev_cputime;
	struct psi_group *psi; /* with CONFIG_PSI */
};
struct css_set {
	struct cgroup_subsys_state *subsys[1]; /* CGROUP_SUBSYS_COUNT of them */
	struct cgroup *dfl_cgrp;
};

struct rq {
	__u64 clock;
};
struct cfs_bandwidth {
	__s64 period;
	__u64 quota;
	int nr_periods;
	int nr_throttled;
	__u64 throttled_time;
};
struct task_group {
	struct cgroup_subsys_state css;
	unsigned long shares;
	struct cfs_bandwidth cfs_bandwidth; /* with CONFIG_CFS_BANDWIDTH */
};
struct cfs_rq {
	struct rq *rq; /* with CONFIG_FAIR_GROUP_SCHED */
	struct task_group *tg;
	__u64 throttled_clock_self_time; /* since 6.6, with CONFIG_CFS_BANDWIDTH */
};
struct cfs_rq___pre66 {
	__u64 throttled_clock_pelt_time; /* since 5.19 */
};
struct cfs_rq___pre519 {
	__u64 throttled_clock_task_time;
};
struct sched_entity {
	struct cfs_rq *cfs_rq; /* with CONFIG_FAIR_GROUP_SCHED */
};
struct sched_info {
	unsigned long long run_delay;
	unsigned long long last_queued; /* with CONFIG_SCHED_INFO */
};

struct sigaction {
	void *sa_handler;
};
struct k_sigaction {
	struct sigaction sa;
};
struct sighand_struct {
	struct k_sigaction action[1]; /* _NSIG of them */
};
typedef struct {
	int counter;
} atomic_t;
struct signal_struct {
	atomic_t live;
	int nr_threads;
	int group_exit_code;
	unsigned int flags;
};
struct kernel_siginfo {
	int si_code;
};

struct thread_info {
	unsigned int cpu;
};
struct task_struct {
	struct thread_info thread_info;
	unsigned int __state;
	unsigned int flags;
	int exit_code;
	struct task_struct *group_leader;
	struct signal_struct *signal;
	struct sighand_struct *sighand;
	int pid;
	int tgid;
	char comm[16];
	int prio;
	unsigned int policy;
	__u64 start_time;
	struct sched_entity se;
	struct sched_info sched_info;
	struct css_set *cgroups;
};
struct task_struct___pre514 {
	long state;
};
struct task_struct___pre516 {
	unsigned int cpu;
};

struct irqaction {
	const char *name;
};

struct sock_cgroup_data {
	struct cgroup *cgroup; /* since 5.15 */
};
struct sock_cgroup_data___pre515 {
	__u64 val;
};
struct sock_common {
	volatile unsigned char skc_state;
	struct sock *skc_listener; /* of a request to connect */
};
struct sock {
	struct sock_common __sk_common;
	struct sock_cgroup_data sk_cgrp_data;
	int sk_err;
	__u16 sk_protocol; /* u8 before 5.6 */
};
struct sock___pre515 {
	struct sock_cgroup_data___pre515 sk_cgrp_data;
};
struct tcp_sock {
	__u32 srtt_us;
};

struct gendisk {
	int major;
	int first_minor;
	char disk_name[32];
};
struct request_queue {
	struct gendisk *disk; /* since 5.15 */
};
struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct blkcg {
	struct cgroup_subsys_state css;
	struct hlist_head blkg_list;
};
struct blkg_iostat {
	__u64 bytes[3]; /* read, written, discarded */
	__u64 ios[3];
};
struct blkg_iostat_set {
	struct blkg_iostat cur;
};
struct blkcg_gq {
	struct request_queue *q;
	struct hlist_node blkcg_node;
	struct blkcg *blkcg;
	struct blkg_iostat_set iostat;
};
struct bio {
	struct blkcg_gq *bi_blkg; /* with CONFIG_BLK_CGROUP */
};
struct request {
	struct request_queue *q;
	struct bio *bio;
	unsigned int cmd_flags;
	unsigned int rq_flags;
	unsigned int __data_len;
	__u64 __sector;
	__u64 start_time_ns;
	__u64 io_start_time_ns;
};
struct request___pre517 {
	struct gendisk *rq_disk;
};

typedef struct {
	long counter;
} atomic_long_t;
struct page_counter {
	atomic_long_t usage;
	unsigned long watermark;
	unsigned long max;
	struct page_counter *parent;
};
struct memcg_vmstats {
	long state[1]; /* as many as the kernel has */
	unsigned long events[1];
};
struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter memory;
	struct page_counter swap;
	struct memcg_vmstats *vmstats;
	atomic_long_t memory_events[1]; /* MEMCG_NR_MEMORY_EVENTS of them */
};
typedef struct {
	__s64 counter;
} atomic64_t;
struct pids_cgroup {
	struct cgroup_subsys_state css;
	atomic64_t counter;
	atomic64_t limit;
};

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
typedef struct {
	long v;
} u64_stats_t;
struct bpf_prog_stats {
	u64_stats_t cnt; /* a __u64 before 5.17 */
	u64_stats_t nsecs;
};
struct bpf_prog_aux {
	__u32 id;
	__u32 func_cnt; /* 0 without subprograms; else with the main one */
	struct bpf_prog **func;
	char name[16];
};
struct bpf_prog {
	__u16 pages;
	enum bpf_prog_type type;
	__u32 jited_len;
	struct bpf_prog_stats *stats; /* since 5.12; of each CPU */
	struct bpf_prog_aux *aux;
};
struct bpf_map {
	enum bpf_map_type map_type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 map_flags;
	__u32 id;
	char name[16];
};
struct bpf_array {
	void *pptrs[1]; /* of a per-CPU array: of each entry */
};
struct bpf_link {
	struct bpf_prog *prog;
};
struct file {
	const void *f_op;
	void *private_data;
};

#pragma clang attribute pop

/* Only the names count: their values are taken from the running kernel. */
enum cgroup_subsys_id {
	vitald_unused_cgrp_id,
	cpu_cgrp_id,
	cpuacct_cgrp_id,
	memory_cgrp_id,
	io_cgrp_id,
	pids_cgrp_id,
};
enum memcg_memory_event {
	MEMCG_MAX,
	MEMCG_OOM_KILL,
};
enum psi_states {
	PSI_IO_SOME,
	PSI_IO_FULL,
	PSI_MEM_SOME,
	PSI_MEM_FULL,
	PSI_CPU_SOME,
	PSI_CPU_FULL,
};

#endif
