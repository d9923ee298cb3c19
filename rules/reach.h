// SPDX-License-Identifier: Apache-2.0
// Selectors of rules that can match nothing on this host: names that nothing here makes, labels that a family has not,
// families of a collector that is off, and job and instance, which only a server adds. Such a rule never fires, or with
// absent() always, and nobody would know why.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "rules/known_family.h"
#include "rules/load/load.h"

namespace vitald {

// What a server writes about a scrape, and vitald about its own rounds: up, scrape_samples_scraped, ...
std::span<const std::string_view> server_series();

// Names that this machine has for what families with a * stand for. Asked for where a rule has such a name, once.
using NamesHere = std::function<std::vector<std::string>()>;

// Warnings with the place of the rule, at most some ten. `families`: all that can be made here; `series_labels`: what
// every series has. Textfiles may bring other names: the words leave room for that. Where an expression has an answer
// for what is not there (absent(), `or`), only names that are nearly those of a family are told.
std::vector<std::string> unreachable(std::span<const RuleGroup> groups, std::span<const KnownFamily> families,
                                     const LabelMap& series_labels, const NamesHere& names_here = {});

// What is wrong with a name of series that somebody asks for; empty: a collector or a rule makes it.
std::string unknown_series(std::string_view name, std::span<const RuleGroup> groups,
                           std::span<const KnownFamily> families);

}  // namespace vitald
