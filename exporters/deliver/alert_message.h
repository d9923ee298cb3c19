// SPDX-License-Identifier: Apache-2.0
// A change of an alert as receivers are told it: texts for messages, and the item that carries one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/alert.h"
#include "exporters/deliver/destination.h"
#include "exporters/deliver/receiver.h"

namespace vitald {

const char* status_of(const AlertTransition& t);  // firing, resolved
// With no time later than now: the clock may have been ahead when it began. An Alertmanager calls active what ends
// later than now, for as long as the clock was ahead, and refuses what begins after its end.
Alert not_after(Alert alert, std::int64_t now_ms);
// Since when it fires, as Prometheus tells Alertmanager: not since when it is pending.
std::int64_t starts_at_ms(const Alert& a);
// The alert's, with the external ones.
LabelMap labels_of(const AlertTransition& t, const ReceiverSettings& settings);
std::string label_of(const LabelMap& labels, const std::string& name);  // empty: it has none

std::string rfc3339(std::int64_t epoch_ms);
std::string value_text(double value);
std::string map_json(const LabelMap& map);

// One transition as the JSON an Alertmanager webhook (version "4") would carry, a group by all its labels.
std::string webhook_json(const AlertTransition& t, const ReceiverSettings& settings);
// Several of one status as one message about their group, whose labels are `group`: `alert` is the text of
// alert_json().
struct WebhookAlert {
  std::string_view alert;
  LabelMap labels, annotations;
};
std::string alert_json(const AlertTransition& t, const ReceiverSettings& settings);
std::string webhook_json(std::span<const WebhookAlert> alerts, std::string_view status, const LabelMap& group,
                         const ReceiverSettings& settings);

// With the key by which a receiver knows one that it gets a second time.
Item item_of(const AlertTransition& t, std::string body);

}  // namespace vitald
