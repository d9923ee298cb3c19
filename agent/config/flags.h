// SPDX-License-Identifier: Apache-2.0
// Every flag there is, as data: the agent's own and those the collectors declare. The command line, the
// YAML file, --help and the docs are all read off this one table.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/collector.h"
#include "core/options.h"

namespace vitald {

std::span<const FlagSpec> all_flags();

// By its name; or by an older spelling of it, then `deprecated` is set.
const FlagSpec* find_flag(std::string_view name, bool* deprecated = nullptr);

// Where the flag lies in vitald.yaml: "collector.netdev.device-exclude" is collectors, netdev,
// device_exclude. Empty: it makes no sense in a file (--once).
std::vector<std::string> yaml_path(const FlagSpec& flag);

// "collector.cpu", or "probe.runq_latency" for what comes from bpf/.
std::string switch_name(const CollectorEntry& entry);
// Whether these options want it: by its switch, else by default. One that the machine has not is wanted, too.
bool is_wanted(const CollectorEntry& entry, const Options& options);

// What is wrong with `value` as a value of this flag, as "what, expected what"; empty when nothing is.
std::string value_problem(const FlagSpec& flag, std::string_view value);
// What a value may be beyond its type, for the docs: "100ms or more", "one of: logfmt, json"; empty: anything.
std::string allowed_text(const FlagSpec& flag);

std::string help_text();
std::string flags_markdown();
std::string config_markdown();

}  // namespace vitald
