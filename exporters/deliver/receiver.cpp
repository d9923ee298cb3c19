// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/receiver.h"

#include <iterator>
#include <utility>

#include "core/clock.h"
#include "exporters/deliver/alert_message.h"

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

Receiver::Receiver(ReceiverPtr settings, std::shared_ptr<const StateDir> state, std::unique_ptr<Receiver> before)
    : settings_(std::move(settings)) {
  auto rest = before ? before->queue_->end() : std::vector<Item>();
  before.reset();  // its folder is free for this one
  queue_ =
      std::make_unique<Queue>(queue_settings(*settings_), settings_->destination(), std::move(state), system_clock());
  queue_->push(std::move(rest));
}
Receiver::~Receiver() = default;

void Receiver::notify(std::span<const AlertTransition> transitions) {
  std::vector<Item> items;
  for (const auto& t : transitions) items.push_back(item_of(t, settings_->body(t)));
  queue_->push(std::move(items));
}
void Receiver::stop() { queue_->stop(); }
void Receiver::measure() { queue_->measure(); }

}  // namespace vitald
