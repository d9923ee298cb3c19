// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/receiver.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "core/clock.h"
#include "exporters/deliver/alert_message.h"
#include "exporters/deliver/receiver_book.h"

namespace vitald {

#define DESTINATION(name) extern const ReceiverKind name##_receiver;
#include "exporters/deliver/destinations.list"
#undef DESTINATION

std::span<const ReceiverKind* const> receiver_kinds() {
  static constexpr const ReceiverKind* kAll[] = {
#define DESTINATION(name) &name##_receiver,
#include "exporters/deliver/destinations.list"
#undef DESTINATION
  };
  return kAll;
}

namespace {

QueueSettings queue_settings(const ReceiverSettings& settings) {
  QueueSettings q;
  q.name = settings.name;
  q.journal = true;
  q.most_items = settings.queue_limit;
  q.attempt_ns = settings.timeout_ns;
  settings.adjust(q);
  return q;
}

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace

Result<std::string> ReceiverSettings::reach(const Attempt&) const {
  std::vector<std::string> problems;
  check(problems);
  if (!problems.empty()) return fail(Errc::absent, problems.front());
  return "nothing is wrong with it on this machine";
}

Receiver::Receiver(ReceiverPtr settings, std::shared_ptr<const StateDir> state, std::unique_ptr<Receiver> before)
    : settings_(std::move(settings)) {
  auto rest = before ? before->queue_->end() : std::vector<Item>();
  before.reset();  // its folder is free for this one
  queue_ =
      std::make_unique<Queue>(queue_settings(*settings_), settings_->destination(), std::move(state), system_clock());
  queue_->push(std::move(rest));
  std::string text = settings_->text();
  if (!settings_->matchers.empty()) text += fmt::format(" for {{{}}}", fmt::join(settings_->matchers, ", "));
  receiver_book().open(settings_->name, std::move(text), [queue = queue_.get()] { return queue->stats(); });
}
Receiver::~Receiver() { receiver_book().close(settings_->name); }

void Receiver::notify(std::span<const AlertTransition> transitions) {
  std::vector<Item> items;
  for (const auto& t : transitions) {
    auto& item = items.emplace_back(item_of(t, settings_->body(t)));
    item.about_delivery =
        label_of(t.alert.labels, "data_type") == "alerts" && !label_of(t.alert.labels, "destination").empty();
  }
  queue_->push(std::move(items));
}
bool Receiver::wants_repetition(std::int64_t now_boot_ns) const {
  const auto every_ns = settings_->repeat_ns();
  if (every_ns == 0 || now_boot_ns - repeated_boot_ns_ < every_ns) return false;
  const auto stats = queue_->stats();
  return stats.waiting == 0 && stats.in_flight == 0;  // while it is away the newest state is enough
}

void Receiver::repeat(std::span<const Alert> firing, std::int64_t now_boot_ns) {
  repeated_boot_ns_ = now_boot_ns;
  if (firing.empty() && !settings_->repeats_none()) return;
  Item item;
  item.key = fmt::format("{} alerts that fire on", firing.size());
  item.body = settings_->repeated(firing);
  item.wall_ms = system_clock().wall_ns() / 1'000'000;
  // A receiver that is only to hear that we are there is told of no alert.
  if (item.body != settings_->repeated({})) item.records = static_cast<std::uint32_t>(firing.size());
  queue_->push(std::move(item));
}

void Receiver::say(std::string key, std::string body) {
  Item item;
  item.key = std::move(key);
  item.body = std::move(body);
  item.wall_ms = system_clock().wall_ns() / 1'000'000;
  queue_->push(std::move(item));
}

void Receiver::stop() { queue_->stop(); }
void Receiver::measure() { queue_->measure(); }

}  // namespace vitald
