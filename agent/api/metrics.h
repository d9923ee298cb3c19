// SPDX-License-Identifier: Apache-2.0
// GET /metrics: which snapshot answers it, in which encoding, through which filter.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/http/message.h"
#include "agent/pipeline/collectors.h"
#include "core/clock.h"
#include "core/snapshot.h"
#include "exporters/encode/gzip.h"
#include "exporters/encode/prom_text.h"

namespace vitald {

// What the handler needs of the pipeline.
struct MetricsSource {
  std::function<SnapshotPtr()> latest;
  std::function<bool(std::int64_t boot_ns)> collect;  // see Pipeline::collect
  std::function<CollectorStatuses()> collectors;
};

// One thread.
class MetricsHandler {
 public:
  struct Settings {
    std::int64_t max_age_ns = 1'000'000'000;
    std::int64_t max_requests = 40;
    std::int64_t deadline_ns = 5'000'000'000;
  };
  MetricsHandler(Settings settings, MetricsSource source, const Clock& clock);
  ~MetricsHandler();

  // A scrape that has begun. It ends when this is destroyed.
  class Scrape {
   public:
    Scrape(MetricsHandler& owner, const Request& request);
    ~Scrape();
    Scrape(const Scrape&) = delete;
    Scrape& operator=(const Scrape&) = delete;
    // Null: no snapshot is new enough yet; ask again when one was published or at deadline_boot_ns().
    // From then on it answers with the newest there is, however old, or with 503.
    std::optional<Response> answer();
    // A snapshot whose collection began at this time or later will do.
    [[nodiscard]] std::int64_t fresh_boot_ns() const { return fresh_ns_; }
    [[nodiscard]] std::int64_t deadline_boot_ns() const { return deadline_ns_; }

   private:
    [[nodiscard]] Response respond(const SnapshotPtr& snapshot) const;
    MetricsHandler& owner_;
    std::int64_t fresh_ns_;
    std::int64_t deadline_ns_;
    bool gzip_;
    std::vector<std::string> collect_, exclude_;
    std::optional<Response> refused_;
  };

  // There is a snapshot whose collection began at `boot_ns` or later.
  [[nodiscard]] bool has_since(std::int64_t boot_ns) const;
  // As many as may be are being answered; the next one is refused.
  [[nodiscard]] bool full() const { return settings_.max_requests > 0 && in_flight_ >= settings_.max_requests; }
  void set_max_age(std::int64_t ns) { settings_.max_age_ns = ns; }

 private:
  struct Body {
    std::uint64_t sequence = 0;  // of the snapshot it shows; 0: none
    std::shared_ptr<std::string> text;
  };
  struct Instruments;
  std::shared_ptr<const std::string> encoded(const Snapshot& snapshot, bool gzip);
  [[nodiscard]] std::optional<Response> check_filter(std::span<const std::string> collect,
                                                     std::span<const std::string> exclude) const;

  Settings settings_;
  MetricsSource source_;
  const Clock& clock_;
  PromText all_, filtered_;
  Gzip gzip_;
  Body plain_, gzipped_;
  std::int64_t in_flight_ = 0;
  std::unique_ptr<Instruments> instruments_;
};

}  // namespace vitald
