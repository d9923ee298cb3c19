// SPDX-License-Identifier: Apache-2.0
// What a service manager gives and wants: readiness, the watchdog, how many descriptors there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/os/fd.h"

namespace vitald {

// Tells the service manager ("READY=1"), as sd_notify(3) does: one datagram to $NOTIFY_SOCKET, if there is one.
void notify_service(std::string_view state);

// How often the service manager wants to hear WATCHDOG=1 of this process (sd_watchdog_enabled(3)); 0: not at all.
std::int64_t watchdog_interval_ns();

// Soft limit of open files to the hard one: kept descriptors are what makes reading cheap. When it is low all the
// same, a part is left to clients (core/os/descriptors.h): so many connections may each listener have.
unsigned share_out_descriptors(std::size_t listeners = 1);

// Where the limit is very low: held while collectors open what they keep (sockets, watches), and let go then, so that
// something is left for whoever asks for their numbers.
std::vector<Fd> seats_for_clients();

// Why a daemon should not start with the limit of open files that is in force; empty: it may. With fewer it would say
// that it listens, and answer nobody.
std::string too_few_descriptors(std::size_t listeners);

}  // namespace vitald
