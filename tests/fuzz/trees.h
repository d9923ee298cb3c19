// SPDX-License-Identifier: Apache-2.0
// The trees that the fuzzer of collectors starts from.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace vitald {

struct SeedTree {
  std::string collector;
  std::vector<std::pair<std::string, std::string>> flags;
  std::map<std::string, std::string> files;  // "proc/stat" -> content; "->x" is a link to x
};

// Of tests/fuzz/trees.txt (its format is described at its top).
std::vector<SeedTree> read_seed_trees(const std::string& path);

// One per collector that has none yet: all of `folder`, which has proc/, sys/ and udev/ in it.
void add_corpus_trees(std::vector<SeedTree>& trees, const std::string& folder);

}  // namespace vitald
