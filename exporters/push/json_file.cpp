// SPDX-License-Identifier: Apache-2.0
// The destination that is a file with the newest numbers as JSON.
#include <fmt/format.h>

#include "exporters/deliver/http_receiver.h"
#include "exporters/push/file_push.h"
#include "exporters/push/text_encoder.h"

namespace vitald {
namespace {

struct JsonFilePush final : PushOf<JsonFilePush>, FileSettings {
  bool operator==(const JsonFilePush&) const = default;

  JsonFilePush() { interval_ns = 30'000'000'000; }

  [[nodiscard]] std::string text() const override { return fmt::format("json_file '{}' ({})", name, path); }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override {
    auto settings = table();
    settings.target.clear();  // whoever reads the file adds his own
    return std::make_unique<TextEncoder>(std::move(settings), aggregated(), true, remove_at_end);
  }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override { return file_destination(name, *this); }
  void check(std::vector<std::string>& problems) const override {
    if (const auto found = file_reach(path); !found)
      problems.push_back(fmt::format("push.json_file '{}': {}", name, found.error().text));
  }
  [[nodiscard]] Result<std::string> reach(const Attempt&) const override { return file_reach(path); }
  [[nodiscard]] std::vector<std::string> files() const override { return {path}; }
  [[nodiscard]] bool newest_only() const override { return true; }
};

constexpr auto kFields = joined(push_fields<JsonFilePush>(), file_fields<JsonFilePush>());

}  // namespace

extern const PushKind json_file_push;
constinit const PushKind json_file_push =
    push_kind<JsonFilePush, kFields>("json_file",
                                     "a file in JSON: `{\"timestamp\", \"metrics\": {NAME: {\"value\", \"labels\", "
                                     "\"timestamp\"}}, \"events_count\", \"running\"}`");

}  // namespace vitald
