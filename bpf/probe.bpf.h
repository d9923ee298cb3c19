/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every program starts with. */
#ifndef VITALD_PROBE_BPF_H
#define VITALD_PROBE_BPF_H

#include "kernel_types.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "cost.bpf.h"

/*
 * Each hook exists twice, as tp_btf and as raw_tp, around one body. With tp_btf the verifier knows the types and
 * fields are read by plain loads; a raw_tp program has to copy each of them. `direct` is constant in both.
 */
#define FIELD(p, f) (direct ? (p)->f : BPF_CORE_READ(p, f))

/*
 * An object has several signals, bits of these two. What is not `wanted` leaves no code; what is not `enabled` is off
 * at once, and counts on when it is enabled again.
 */
const volatile __u32 wanted = ~0u;
__u32 enabled = ~0u;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
