// SPDX-License-Identifier: Apache-2.0
// What --config.check looks at beyond what reading the configuration finds: whether what it names is there.
#pragma once

#include <string>
#include <vector>

#include "agent/config/config.h"
#include "core/host.h"
#include "rules/alert_reach.h"

namespace vitald {

// Problems are what the start or the first alert would trip over; warnings what will never do anything. Opens no port
// and runs no program.
void check_surroundings(const Config& config, std::vector<std::string>& problems, std::vector<std::string>& warnings);

// The parts of it that a start and a reload look at, too, and go on: what a receiver needs, and patterns of files.
void check_receivers(const Config& config, std::vector<std::string>& problems);
void check_patterns(const Options& options, std::vector<std::string>& warnings);
// Receivers and inhibitions whose matchers fit no alert of these rules.
void check_alerts(const Config& config, const AlertReach& reach, std::vector<std::string>& warnings);

// A connection URI of libvirt that names nothing that there is.
void check_libvirt(const Options& options, std::vector<std::string>& warnings);

// The programs of `exec`: whether they can be run, and as whom.
void check_exec(const Config& config, std::vector<std::string>& problems);

// Settings that a collector refuses when it is made: two filters that exclude each other, a server that must be local.
// Probes are not tried: that would load them.
void check_collectors(const Options& options, const Host& host, std::vector<std::string>& problems);

}  // namespace vitald
