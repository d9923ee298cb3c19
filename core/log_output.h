// SPDX-License-Identifier: Apache-2.0
// Where log lines go: for the program's start and end, not for those who log.
#pragma once

#include <cstdint>

namespace vitald::log {

// From now on lines are written by a thread of their own and nobody waits for standard error: a pipe that nobody reads,
// a full disk. What does not fit into the queue is dropped, counted (vitald_log_dropped_total) and told once there is
// room again. Before this, as for a command that prints and ends, a line is written by the one who says it.
void never_wait();
// Gives what is queued so long to come out. True when it did.
bool flush(std::int64_t patience_ns);

}  // namespace vitald::log
