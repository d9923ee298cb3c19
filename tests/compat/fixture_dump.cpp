// SPDX-License-Identifier: Apache-2.0
// Runs collectors without an agent around them and prints what they gave:
//   fixture_dump --path.procfs=... [--collector.cpu.info ...] cpu stat ...
// With --repeat=N it runs them N times and prints the CPU time of each run on standard error.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/collector.h"
#include "core/scan.h"

using namespace vitald;

namespace {

struct Arguments {
  HostRoots roots;
  Options options;
  std::vector<const CollectorEntry*> collectors;
  long repeat = 1;
};

bool take_flag(std::string_view flag, Arguments& args) {
  const std::pair<std::string_view, std::string*> paths[] = {{"path.procfs=", &args.roots.proc},
                                                             {"path.sysfs=", &args.roots.sys},
                                                             {"path.rootfs=", &args.roots.root},
                                                             {"path.udev.data=", &args.roots.udev}};
  for (const auto& [name, root] : paths)
    if (take_prefix(flag, name)) return *root = flag, true;
  if (take_prefix(flag, "repeat=")) return (args.repeat = parse_i64(flag).value_or(1)) > 0;
  const bool no = take_prefix(flag, "no-");
  const auto name = flag.substr(0, flag.find('='));
  const auto* spec = args.options.spec(name);
  if (!spec) return false;
  std::string value = name.size() < flag.size() ? std::string(flag.substr(name.size() + 1)) : no ? "false" : "true";
  if (spec->type == FlagType::list) args.options.append(name, std::move(value));
  else args.options.set(name, std::move(value));
  return true;
}

void print(const Batch& batch) {
  std::map<std::string_view, std::string> families;
  for (const auto& s : batch.layout->samples()) {
    auto& text = families[s.family->name];
    if (text.empty())
      text = fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", s.family->name, s.family->help, to_string(s.family->type));
    text += fmt::format("{}{}\n", batch.layout->prefix(s), batch.values[s.value]);
  }
  for (const auto& [name, text] : families) std::fputs(text.c_str(), stdout);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments args;
  for (const auto& entry : collector_list()) args.options.declare(entry.info->flags);
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (take_prefix(word, "--")) {
      if (take_flag(word, args)) continue;
    } else {
      bool found = false;
      for (const auto& entry : collector_list())
        if (entry.name == word) args.collectors.push_back(&entry), found = true;
      if (found) continue;
    }
    fmt::print(stderr, "{}: no such flag or collector\n", argv[i]);
    return 2;
  }
  const Host host(args.roots);
  int failed = 0;
  for (const auto* entry : args.collectors) {
    auto collector = entry->info->make(host, args.options);
    if (!collector) {
      fmt::print(stderr, "{}: {}\n", entry->name, collector.error().text);
      failed = 1;
      continue;
    }
    BatchWriter writer{std::string(entry->name)};
    BatchPtr batch;
    std::int64_t start = 0;
    for (long i = 0; i <= args.repeat; ++i) {
      if (i == 1) start = SystemClock::read(CLOCK_PROCESS_CPUTIME_ID);  // the first run opens files
      writer.begin(host.clock().boot_ns());
      const auto outcome = (*collector)->collect(writer);
      batch = writer.finish(outcome, 0, 0);
      if (args.repeat == 1) break;
    }
    if (args.repeat > 1)
      fmt::print(stderr, "{:12} {:8} ns, {} series\n", entry->name,
                 (SystemClock::read(CLOCK_PROCESS_CPUTIME_ID) - start) / args.repeat, batch->layout->samples().size());
    if (batch->health.error) fmt::print(stderr, "{}: {}\n", entry->name, batch->health.error->text), failed = 1;
    for (const auto& p : batch->health.problems) fmt::print(stderr, "{}: {}\n", entry->name, p.text);
    print(*batch);
  }
  return failed;
}
