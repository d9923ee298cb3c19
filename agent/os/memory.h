// SPDX-License-Identifier: Apache-2.0
// Memory that was needed once and is not any more, and what threads get for their stacks.
#pragma once

namespace vitald {

// Starting takes far more memory than running: libbpf parses the kernel's BTF, yaml-cpp and CLI code run
// once, and every library's constructors touch their pages. Afterwards this gives back the free heap and
// unmaps the pages of program text and constants that were touched; those still in use come back from the
// page cache at their next use, a minor fault each 64 KiB. Call it once the first cycles have run.
void give_back_startup_memory();

// The free heap, after a crowd or a reload: what it needed is not in use any more, and would be ours for good.
void give_back_free_memory();

// Threads that begin after this have stacks of 8 MiB (of which they use what they touch), whatever the limit of this
// process is: where there is none, glibc gives them 2, and under a small one as little. What we read of others may be
// nested as deep as 8 MiB hold.
void give_threads_stacks();

}  // namespace vitald
