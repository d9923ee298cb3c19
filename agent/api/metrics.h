// SPDX-License-Identifier: Apache-2.0
// GET /metrics: which snapshot answers it, in which format and packing, through which filter.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/api/freshness.h"
#include "agent/api/scrape_shape.h"
#include "agent/http/pending.h"
#include "agent/pipeline/collectors.h"
#include "agent/pipeline/health.h"
#include "core/clock.h"
#include "core/snapshot.h"
#include "exporters/encode/gzip.h"
#include "exporters/encode/scrape_body.h"
#include "exporters/encode/zstd.h"

namespace vitald {

// What the handler needs of the pipeline.
struct MetricsSource {
  std::function<SnapshotPtr()> latest;
  std::function<CollectorStatuses()> collectors;
};

// One thread, but for set_max_age().
class MetricsHandler {
 public:
  struct Settings {
    std::int64_t max_age_ns = 1'000'000'000;
    std::int64_t max_requests = 40;
    std::int64_t deadline_ns = 5'000'000'000;
    bool created = false;  // `_created` in OpenMetrics
  };
  // `freshness`: null: no number is ever too old.
  MetricsHandler(Settings settings, MetricsSource source, std::shared_ptr<const Freshness> freshness = nullptr);
  ~MetricsHandler();

  // A scrape that has begun. It ends when this is destroyed.
  class Scrape final : public Pending {
   public:
    Scrape(MetricsHandler& owner, const Request& request);
    ~Scrape() override;
    // None while no snapshot is new enough. At the deadline it answers with the newest there is, or with 503 where that
    // is too old.
    std::optional<Response> poll(std::int64_t now_boot_ns) override;
    [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const override { return std::max<std::int64_t>(fresh_ns_, 1); }
    [[nodiscard]] std::int64_t deadline_boot_ns() const override { return deadline_ns_; }

   private:
    [[nodiscard]] Response respond(const SnapshotPtr& snapshot, std::int64_t now_boot_ns) const;
    [[nodiscard]] Response unavailable(std::string why) const;
    MetricsHandler& owner_;
    std::int64_t fresh_ns_;
    std::int64_t deadline_ns_;
    ScrapeShape shape_;
    Packing packing_;
    std::vector<std::string> collect_, exclude_;
    std::optional<Response> refused_;
  };

  // There is a snapshot whose collection began at `boot_ns` or later.
  [[nodiscard]] bool has_since(std::int64_t boot_ns) const;
  // As many as may be are being answered; the next one is refused.
  [[nodiscard]] bool full() const { return settings_.max_requests > 0 && in_flight_ >= settings_.max_requests; }
  void set_max_age(std::int64_t ns) { max_age_ns_ = ns; }

 private:
  struct Body {
    std::uint64_t sequence = 0;  // of the snapshot it shows; 0: none
    std::shared_ptr<std::string> text;
  };
  struct Instruments;
  Snapshot select(const Snapshot& all, const std::function<bool(std::string_view)>& keep);
  std::shared_ptr<const std::string> encoded(const Snapshot& snapshot, ScrapeFormat format, Packing packing);
  Result<> pack(std::string_view text, Packing packing, std::string& out);
  [[nodiscard]] std::optional<Response> check_filter(std::span<const std::string> collect,
                                                     std::span<const std::string> exclude) const;

  Settings settings_;
  std::atomic<std::int64_t> max_age_ns_;
  MetricsSource source_;
  std::shared_ptr<const Freshness> freshness_;
  ScrapeBody all_, filtered_;
  BatchWriter some_health_{std::string(HealthWriter::kName)};  // keeps the layout of the selection asked for last
  Gzip gzip_;
  Zstd zstd_;
  std::array<std::array<Body, kPackings>, kScrapeFormats> bodies_;
  std::int64_t in_flight_ = 0;
  std::unique_ptr<Instruments> instruments_;
};

}  // namespace vitald
