// SPDX-License-Identifier: Apache-2.0
// Selectors of rules that can match nothing on this host: names that nothing here makes, and job and instance, which
// only a server adds. Such a rule never fires, or with absent() always, and nobody would know why.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "rules/load/load.h"

namespace vitald {

// What a server writes about a scrape, and vitald about its own rounds: up, scrape_samples_scraped, ...
std::span<const std::string_view> server_series();

// Warnings with the place of the rule, at most some ten. `families`: all that can be made here, a * stands for
// anything; `series_labels`: what every series has. Textfiles may bring other names: the words leave room for that.
std::vector<std::string> unreachable(std::span<const RuleGroup> groups, std::span<const std::string_view> families,
                                     const LabelMap& series_labels);

// What is wrong with a name of series that somebody asks for; empty: a collector or a rule makes it.
std::string unknown_series(std::string_view name, std::span<const RuleGroup> groups,
                           std::span<const std::string_view> families);

}  // namespace vitald
