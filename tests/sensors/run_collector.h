// SPDX-License-Identifier: Apache-2.0
// Runs one collector against a tree written in the test.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/collector.h"

namespace vitald {

// Path below the tree's root -> content: {"proc/loadavg", "0.1 0.2 0.3 1/2 3\n"}. A content that starts
// with "->" makes a symbolic link to the rest.
using Tree = std::map<std::string, std::string>;
using FlagValues = std::vector<std::pair<std::string, std::string>>;

struct CollectorRun {
  std::string text;   // what was emitted, as exposition lines without HELP and TYPE, in emission order
  std::string types;  // "name type help" per family, in order of first emission
  std::string error;  // "kind: text" of the collector's error, with the tree's path cut off; empty when fine
  std::vector<std::string> problems;  // the same for single items
};

// A fixture tree in a temporary folder, its Host and one collector that lives across runs.
class CollectorFixture {
 public:
  explicit CollectorFixture(std::string_view collector, const Tree& tree = {}, const FlagValues& flags = {});
  ~CollectorFixture();
  void write(const std::string& path, std::string_view content);
  void remove(const std::string& path);
  CollectorRun run();

  [[nodiscard]] const std::string& root() const { return root_; }
  FakeClock clock;

 private:
  std::string root_;
  std::optional<Host> host_;
  Options options_;
  std::unique_ptr<Collector> collector_;
  std::string make_error_;
  BatchWriter writer_;
};

// One collector on the running system, with the default flags.
class LiveCollector {
 public:
  explicit LiveCollector(std::string_view collector);
  std::string run();  // exposition lines; throws when it fails

 private:
  Host host_;
  Options options_;
  std::unique_ptr<Collector> collector_;
  BatchWriter writer_;
};

CollectorRun run_collector(std::string_view collector, const Tree& tree, const FlagValues& flags = {});

// The lines of a text that have `needle` in them.
std::string lines_with(std::string_view text, std::string_view needle);

// A batch as exposition lines, values as text; for tests of anything that makes a Batch.
std::string exposition(const Batch& batch);

}  // namespace vitald
