/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that were dropped, by the kernel's reason; and how TCP connections begin, stall and break, per owner. Most of
 * it happens in softirqs, where the task that runs has nothing to do with it: a socket knows the cgroup on v2 that made
 * it. Nothing is kept for connections on their way: when the handshake is over, the kernel has measured its time.
 */
#include "owner_table.bpf.h"
#include "vitald/net.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_drops_cpu);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs */
	__type(key, __u32);
	__type(value, struct vitald_tcp_cpu);
} tcp_cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* CPUs * owner_slots */
	__type(key, __u32);
	__type(value, struct vitald_tcp_row);
} rows SEC(".maps");

/* include/net/tcp_states.h */
enum { ESTABLISHED = 1, SYN_SENT = 2, SYN_RECV = 3, TIME_WAIT = 6, CLOSE = 7, NEW_SYN_RECV = 12 };

/* include/net/dropreason-core.h: the subsystem is in the upper half. */
static __always_inline int dropped(__u32 reason)
{
	__u32 cpu = bpf_get_smp_processor_id(), subsystem = reason >> 16;
	struct vitald_drops_cpu *c = bpf_map_lookup_elem(&drops, &cpu);

	if (!(wanted & enabled & VITALD_NET_DROPS) || !c)
		return 0;
	/* A softirq may interrupt who drops outside of one. */
	if (subsystem)
		__sync_fetch_and_add(&c->subsystems[subsystem & (VITALD_DROP_SUBSYSTEMS - 1)], 1);
	else if (reason < VITALD_DROP_REASONS)
		__sync_fetch_and_add(&c->reasons[reason & (VITALD_DROP_REASONS - 1)], 1);
	else
		__sync_fetch_and_add(&c->reasons[VITALD_DROP_REASONS - 1], 1);
	return 0;
}

/*
 * On v2 alone: where tasks are told apart by a v1 hierarchy, a socket's cgroup does not say whose it is. Not inlined, as
 * all that use it are rare. What is sent a reset for may be no more than the beginning or the end of a connection, which
 * is smaller than a socket: the beginning is its listener's, of the end nobody knows whose it was.
 */
static __noinline __u32 owner_of_socket(struct sock *sk)
{
	struct vitald_cgroup_key key = {};
	struct cgroup *cgroup;
	__u8 state;

	if (!sk || v1_controller != V1_NONE)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TIME_WAIT)
		return 0;
	if (state == NEW_SYN_RECV) {
		sk = BPF_CORE_READ(sk, __sk_common.skc_listener);
		if (!sk)
			return 0;
	}
	if (bpf_core_field_exists(sk->sk_cgrp_data.cgroup)) {
		cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup);
	} else { /* before v5.15, a cgroup's address or, with the lowest bit, something else */
		__u64 val = BPF_CORE_READ((struct sock___pre515 *)sk, sk_cgrp_data.val);

		cgroup = val & 1 ? NULL : (struct cgroup *)(val & ~3ull);
	}
	if (!cgroup)
		return 0;
	key.v2 = id_of(cgroup, false);
	return find_slot(&key, cgroup, NULL);
}

static __always_inline struct vitald_tcp_row *row_of(struct sock *sk)
{
	__u32 index = bpf_get_smp_processor_id() * owner_slots + owner_of_socket(sk);

	return bpf_map_lookup_elem(&rows, &index);
}

static __always_inline int state_set(struct sock *sk, int was, int is)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct vitald_tcp_cpu *c = bpf_map_lookup_elem(&tcp_cpus, &cpu);
	bool out = was == SYN_SENT, begun = is == ESTABLISHED;
	struct vitald_tcp_row *row;
	__u64 rtt_ns;

	if (!(wanted & enabled & VITALD_TCP_LIFE) || !c || !((out && (begun || is == CLOSE)) || (was == SYN_RECV && begun)))
		return 0;
	if (BPF_CORE_READ(sk, sk_protocol) != 6) /* TCP; others have states as well */
		return 0;
	row = row_of(sk);
	if (!row)
		return 0;
	if (!begun) {
		/* What went wrong is noted before the state; whoever closes it himself has no error. */
		if (BPF_CORE_READ(sk, sk_err))
			__sync_fetch_and_add(&row->failed, 1);
		else
			__sync_fetch_and_add(&row->abandoned, 1);
		return 0;
	}
	if (out)
		__sync_fetch_and_add(&row->connected, 1);
	else
		__sync_fetch_and_add(&row->accepted, 1);
	rtt_ns = (__u64)(BPF_CORE_READ((struct tcp_sock *)sk, srtt_us) >> 3) * 1000; /* in eighths */
	if (rtt_ns)
		vitald_hist_add(out ? &c->out : &c->in, rtt_ns);
	return 0;
}

static __always_inline int retransmitted(struct sock *sk)
{
	struct vitald_tcp_row *row;

	if (!(wanted & enabled & VITALD_TCP_LIFE))
		return 0;
	row = row_of(sk);
	if (row)
		__sync_fetch_and_add(&row->retransmits, 1);
	return 0;
}

static __always_inline int reset(struct sock *sk, bool sent)
{
	struct vitald_tcp_row *row;

	if (!(wanted & enabled & VITALD_TCP_LIFE))
		return 0;
	row = row_of(sk); /* of no socket: nobody listens there */
	if (row && sent)
		__sync_fetch_and_add(&row->resets_sent, 1);
	else if (row)
		__sync_fetch_and_add(&row->resets_received, 1);
	return 0;
}

SEC("tp_btf/kfree_skb")
int on_drop(__u64 *ctx)
{
	TIMED(COST_ON_DROP, dropped((__u32)ctx[2]));
}

SEC("raw_tp/kfree_skb")
int on_drop_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_DROP, dropped((__u32)ctx->args[2]));
}

SEC("tp_btf/inet_sock_set_state")
int on_state(__u64 *ctx)
{
	TIMED(COST_ON_STATE, state_set((struct sock *)ctx[0], (int)ctx[1], (int)ctx[2]));
}

SEC("raw_tp/inet_sock_set_state")
int on_state_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_STATE, state_set((struct sock *)ctx->args[0], (int)ctx->args[1], (int)ctx->args[2]));
}

SEC("tp_btf/tcp_retransmit_skb")
int on_retransmit(__u64 *ctx)
{
	TIMED(COST_ON_RETRANSMIT, retransmitted((struct sock *)ctx[0]));
}

SEC("raw_tp/tcp_retransmit_skb")
int on_retransmit_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_RETRANSMIT, retransmitted((struct sock *)ctx->args[0]));
}

SEC("tp_btf/tcp_send_reset")
int on_reset_sent(__u64 *ctx)
{
	TIMED(COST_ON_RESET_SENT, reset((struct sock *)ctx[0], true));
}

SEC("raw_tp/tcp_send_reset")
int on_reset_sent_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_RESET_SENT, reset((struct sock *)ctx->args[0], true));
}

SEC("tp_btf/tcp_receive_reset")
int on_reset_received(__u64 *ctx)
{
	TIMED(COST_ON_RESET_RECEIVED, reset((struct sock *)ctx[0], false));
}

SEC("raw_tp/tcp_receive_reset")
int on_reset_received_raw(struct bpf_raw_tracepoint_args *ctx)
{
	TIMED(COST_ON_RESET_RECEIVED, reset((struct sock *)ctx->args[0], false));
}
