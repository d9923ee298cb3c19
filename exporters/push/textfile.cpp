// SPDX-License-Identifier: Apache-2.0
// The destination that is a file with the newest numbers as Prometheus' text.
#include <fmt/format.h>

#include "exporters/deliver/http_receiver.h"
#include "exporters/push/file_push.h"
#include "exporters/push/text_encoder.h"

namespace vitald {
namespace {

struct TextfilePush final : PushOf<TextfilePush>, FileSettings {
  bool operator==(const TextfilePush&) const = default;

  TextfilePush() { interval_ns = 30'000'000'000; }

  [[nodiscard]] std::string text() const override { return fmt::format("textfile '{}' ({})", name, path); }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override {
    auto settings = table();
    settings.target.clear();  // whoever reads the file adds his own
    return std::make_unique<TextEncoder>(std::move(settings), aggregated(), false, remove_at_end);
  }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override { return file_destination(name, *this); }
  void check(std::vector<std::string>& problems) const override {
    if (const auto found = file_reach(path); !found)
      problems.push_back(fmt::format("push.textfile '{}': {}", name, found.error().text));
  }
  [[nodiscard]] Result<std::string> reach(const Attempt&) const override { return file_reach(path); }
  [[nodiscard]] std::vector<std::string> files() const override { return {path}; }
  [[nodiscard]] bool newest_only() const override { return true; }
};

constexpr auto kFields = joined(push_fields<TextfilePush>(), file_fields<TextfilePush>());

}  // namespace

extern const PushKind textfile_push;
constinit const PushKind textfile_push = push_kind<TextfilePush, kFields>(
    "textfile", "a file in Prometheus' text format, as node_exporter reads it from `--collector.textfile.directory`");

}  // namespace vitald
