// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/run_collector.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>

#include "core/text/scan.h"

namespace vitald {
namespace fs = std::filesystem;

namespace {

const CollectorInfo& info_of(std::string_view name) {
  for (const auto& entry : collector_list())
    if (entry.name == name) return *entry.info;
  throw std::runtime_error("no such collector: " + std::string(name));
}

std::string without(std::string text, const std::string& root) {
  for (std::size_t at; (at = text.find(root)) != std::string::npos;) text.erase(at, root.size());
  return text;
}

// "@ROOT@/text": below the tree, wherever that is.
std::string with_root(std::string text, const std::string& root) {
  constexpr std::string_view kRoot = "@ROOT@";
  if (const auto at = text.find(kRoot); at != std::string::npos) text.replace(at, kRoot.size(), root);
  return text;
}

// Whoever reads docs/metrics.md, and the warnings of rules, take a family to have the labels that are declared.
// Families whose names a source brings along have what it brings.
void expect_declared_labels(const CollectorInfo& info, const Batch& batch) {
  for (const auto& s : batch.layout->samples()) {
    const auto declared = std::ranges::find(info.metrics, s.family->name, &MetricDesc::name);
    if (declared == info.metrics.end()) continue;
    std::set<std::string_view> names{"le", "quantile"};
    for (auto rest = declared->labels; !rest.empty();) names.insert(take_until(rest, ','));
    for (const auto& label : batch.layout->labels(s))
      EXPECT_TRUE(names.contains(label.name) || names.contains("*"))
          << s.family->name << " has a label '" << label.name << "' that is not declared: '" << declared->labels << "'";
  }
}

// Of all collectors; one collector may ask for another's.
constexpr FlagSpec kSwitches[] = {{"collector.disable-defaults", FlagType::boolean, "false"},
                                  {"collector.cpufreq", FlagType::boolean, "true"}};

// Its own flags, and those of others that it reads.
void declare(Options& options, const CollectorInfo& info) {
  options.declare(info.flags);
  options.declare(kSwitches);
  for (const auto name : info.others_flags)
    for (const auto& entry : collector_list())
      for (const auto& flag : entry.info->flags)
        if (flag.name == name) options.declare(std::span(&flag, 1));
}

}  // namespace

std::string lines_with(std::string_view text, std::string_view needle) {
  std::string out;
  while (!text.empty()) {
    const auto line = take_line(text);
    if (line.find(needle) != std::string_view::npos) out.append(line).append("\n");
  }
  return out;
}

std::string exposition(const Batch& batch) {
  std::string out;
  for (const auto& s : batch.layout->samples())
    out += fmt::format("{}{}\n", batch.layout->prefix(s), batch.values[s.value]);
  return out;
}

CollectorFixture::CollectorFixture(std::string_view collector, const Tree& tree, const FlagValues& flags)
    : writer_(std::string(collector)) {
  const char* folder = getenv("TMPDIR");
  root_ = std::string(folder ? folder : "/tmp") + "/vitald-test-XXXXXX";
  if (!mkdtemp(root_.data())) throw std::runtime_error("mkdtemp");
  for (const auto* dir : {"proc", "sys", "root", "udev"}) fs::create_directories(root_ + "/" + dir);
  for (const auto& [path, content] : tree) write(path, content);
  host_.emplace(Host::Roots{root_ + "/proc", root_ + "/sys", root_ + "/root", root_ + "/udev"}, &clock);
  const auto& info = info_of(collector);
  declare(options_, info);
  for (const auto& [flag, value] : flags) {
    const auto* spec = options_.spec(flag);
    if (!spec) throw std::runtime_error("no such flag: " + flag);
    if (spec->type == FlagType::list) options_.append(flag, with_root(value, root_));
    else options_.set(flag, with_root(value, root_));
  }
  auto made = info.make(*host_, options_);
  if (made) collector_ = std::move(*made);
  else make_error_ = fmt::format("{}: {}", to_string(made.error().kind), without(made.error().text, root_));
}

CollectorFixture::~CollectorFixture() {
  std::error_code ignored;  // a leftover temporary folder is no reason to fail a test
  fs::remove_all(root_, ignored);
}

void CollectorFixture::write(const std::string& path, std::string_view content) {
  const auto full = root_ + "/" + path;
  fs::create_directories(fs::path(full).parent_path());
  if (content.starts_with("->")) {
    fs::remove(full);
    fs::create_symlink(with_root(std::string(content.substr(2)), root_), full);
  } else {
    std::ofstream(full, std::ios::binary | std::ios::trunc) << content;
  }
}

LiveCollector::LiveCollector(std::string_view collector) : writer_(std::string(collector)) {
  const auto& info = info_of(collector);
  declare(options_, info);
  auto made = info.make(host_, options_);
  if (!made) throw std::runtime_error(made.error().text);
  collector_ = std::move(*made);
}

std::string LiveCollector::run() {
  writer_.begin(host_.clock().boot_ns());
  const auto outcome = collector_->collect(writer_);
  if (!outcome) throw std::runtime_error(outcome.error().text);
  return exposition(*writer_.finish(outcome, 0, 0));
}

void CollectorFixture::remove(const std::string& path) { fs::remove_all(root_ + "/" + path); }

CollectorRun CollectorFixture::run() {
  CollectorRun result;
  if (!collector_) {
    result.error = make_error_;
    return result;
  }
  writer_.begin(clock.boot_ns());
  const auto outcome = collector_->collect(writer_);
  const auto batch = writer_.finish(outcome, 0, 0);
  result.text = exposition(*batch);
  expect_declared_labels(info_of(writer_.collector()), *batch);
  std::set<std::string_view> seen;
  for (const auto& s : batch->layout->samples())
    if (seen.insert(s.family->name).second)
      result.types += fmt::format("{} {} {}\n", s.family->name, to_string(s.family->type), s.family->help);
  if (!outcome)
    result.error = fmt::format("{}: {}", to_string(outcome.error().kind), without(outcome.error().text, root_));
  for (const auto& p : batch->health.problems)
    result.problems.push_back(fmt::format("{}: {}", to_string(p.kind), without(p.text, root_)));
  return result;
}

CollectorRun run_collector(std::string_view collector, const Tree& tree, const FlagValues& flags) {
  return CollectorFixture(collector, tree, flags).run();
}

}  // namespace vitald
