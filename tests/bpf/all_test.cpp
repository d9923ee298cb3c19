// SPDX-License-Identifier: Apache-2.0
// All probes in one agent, as they run: those of one object are in one program, which the verifier has to get through
// with all of them, on this kernel and with the cgroups that there are.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/collector.h"
#include "tests/bpf/live_probe.h"

namespace vitald {
namespace {

TEST_F(Probes, AllAttachTogether) {
  const Host host;
  Options options;
  std::deque<std::string> flags;
  std::vector<const CollectorEntry*> probes;
  for (const auto& entry : collector_list())
    if (entry.folder == "bpf") probes.push_back(&entry);
  ASSERT_GE(probes.size(), 17U);
  for (const auto* probe : probes) {
    flags.push_back(fmt::format("probe.{}", probe->name));
    const FlagSpec on[] = {{flags.back(), FlagType::boolean, "true"}};
    options.declare(on);
    options.declare(probe->info->flags);
  }
  std::vector<std::unique_ptr<Collector>> made;
  for (const auto* probe : probes) {
    auto one = probe->info->make(host, options);
    ASSERT_TRUE(one) << probe->name << ": " << one.error().text;
    made.push_back(std::move(*one));
    const auto status = made.back()->status();
    fmt::print("{}: {}\n", probe->name, status);
    // What a kernel has not, it says; what it has, it takes.
    const bool kernel_lacks = status.find("this kernel") != std::string::npos && status.starts_with("off");
    const bool machine_lacks = status.starts_with("waiting for");
    EXPECT_TRUE(status.starts_with("attached") || kernel_lacks || machine_lacks) << probe->name << ": " << status;
  }
}

}  // namespace
}  // namespace vitald
