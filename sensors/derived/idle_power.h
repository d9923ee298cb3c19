// SPDX-License-Identifier: Apache-2.0
// What a processor draws when nothing runs on it, learned from what it draws while little does: where the lower edge of
// power over load meets no load.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

namespace vitald {

// A line through the samples, of which those of low load count most, those below it count more than those above
// (frequency, vector units and memory only ever add), and old ones less and less. Not thread-safe.
class IdlePower {
 public:
  // `load`: share of the CPUs' time that was used, 0 to 1.
  void sample(double load, double watts, double seconds) {
    if (!(load >= 0) || !(watts >= 0) || !(seconds > 0)) return;
    const double kept = std::exp2(-seconds / kHalfLifeS);
    for (double* sum : {&n_, &u_, &uu_, &p_, &up_, &low_s_, &all_s_, &spread_n_, &spread_u_, &spread_uu_}) *sum *= kept;
    lowest_ = lowest_ ? std::min(watts, *lowest_ + (watts - *lowest_) * (1 - kept)) : watts;
    const auto line = fit();
    const bool above = !line || watts >= line->intercept + line->slope * load;
    const double w = seconds * (above ? kAbove : 1 - kAbove) * std::exp(-(load / kNear) * (load / kNear));
    n_ += w, u_ += w * load, uu_ += w * load * load, p_ += w * watts, up_ += w * load * watts;
    all_s_ += seconds;
    spread_n_ += seconds, spread_u_ += seconds * load, spread_uu_ += seconds * load * load;
    if (load < kLow) low_s_ += seconds;
    learn();
  }
  // Not before it was seen under little load for some seconds, or for ten minutes under loads that differ. Then for
  // good: what nothing new is learned of, since the load is high and always the same, stays as it was last known.
  [[nodiscard]] std::optional<double> watts() const {
    if (!watts_) return std::nullopt;
    return std::clamp(*watts_, 0.0, *lowest_);
  }
  // How it is known: "low-load", "fit" (continued to no load from higher ones); empty: it is not known.
  [[nodiscard]] std::string_view method() const { return method_; }

 private:
  // What is remembered well enough to tell now.
  [[nodiscard]] std::string_view tells() const {
    if (low_s_ >= kLowSeconds) return "low-load";
    const double mean = spread_n_ > 0 ? spread_u_ / spread_n_ : 0;
    const bool differ = spread_n_ > 0 && spread_uu_ / spread_n_ - mean * mean > kSpread * kSpread;
    return all_s_ >= kFitSeconds && differ ? "fit" : "";
  }
  void learn() {
    const auto how = tells();
    const auto line = how.empty() ? std::nullopt : fit();
    if (!line) return;
    method_ = how;
    watts_ = line->intercept;
  }
  static constexpr double kHalfLifeS = 12 * 3600;
  static constexpr double kAbove = 0.2, kNear = 0.3;
  static constexpr double kLow = 0.2, kLowSeconds = 20, kFitSeconds = 600, kSpread = 0.05;
  struct Line {
    double intercept, slope;
  };
  [[nodiscard]] std::optional<Line> fit() const {
    if (!(n_ > 0)) return std::nullopt;
    const double mean_u = u_ / n_, mean_p = p_ / n_, variance = uu_ / n_ - mean_u * mean_u;
    // More load never takes less.
    const double slope = variance > 1e-6 ? std::max(0.0, (up_ / n_ - mean_u * mean_p) / variance) : 0;
    return Line{mean_p - slope * mean_u, slope};
  }
  double n_ = 0, u_ = 0, uu_ = 0, p_ = 0, up_ = 0;
  double low_s_ = 0, all_s_ = 0, spread_n_ = 0, spread_u_ = 0, spread_uu_ = 0;
  std::optional<double> lowest_, watts_;
  std::string_view method_;
};

}  // namespace vitald
