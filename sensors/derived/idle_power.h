// SPDX-License-Identifier: Apache-2.0
// What a processor draws when nothing runs on it, learned from what it draws while little does: where the lower edge of
// power over load meets no load.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
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
    for (double* sum : {&n_, &u_, &uu_, &p_, &up_, &pp_, &low_s_, &all_s_, &spread_n_, &spread_u_, &spread_uu_})
      *sum *= kept;
    nn_ *= kept * kept;
    lowest_ = lowest_ ? std::min(watts, *lowest_ + (watts - *lowest_) * (1 - kept)) : watts;
    const auto line = fit();
    const bool above = !line || watts >= line->intercept + line->slope * load;
    const double w = seconds * (above ? kAbove : 1 - kAbove) * std::exp(-(load / kNear) * (load / kNear));
    n_ += w, u_ += w * load, uu_ += w * load * load, p_ += w * watts, up_ += w * load * watts;
    pp_ += w * watts * watts, nn_ += w * w;
    all_s_ += seconds;
    spread_n_ += seconds, spread_u_ += seconds * load, spread_uu_ += seconds * load * load;
    if (load < kLow) low_s_ += seconds;
    learn();
  }
  // Not before it was seen under little load for some seconds, or for ten minutes under loads that differ, and the
  // samples agree on it: few noisy ones of nearly the same load continue to anything at no load, also to nothing. Then
  // for good: what nothing new is learned of, since the load is high and always the same, stays as it was last known.
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
    if (!line || line->doubt > kDoubt * p_ / n_) return;
    method_ = how;
    watts_ = line->intercept;
  }
  static constexpr double kHalfLifeS = 12 * 3600;
  static constexpr double kAbove = 0.2, kNear = 0.3;
  static constexpr double kLow = 0.2, kLowSeconds = 20, kFitSeconds = 600, kSpread = 0.05;
  static constexpr double kDoubt = 0.1;  // of what the processor takes
  static constexpr double kLeastSamples = 5;
  static constexpr double kSteepness = 3;  // times what it takes, from no load to all, is possible where nothing tells
  struct Line {
    double intercept, slope, doubt;  // watts; doubt: two standard errors of the intercept
  };
  [[nodiscard]] std::optional<Line> fit() const {
    if (!(n_ > 0)) return std::nullopt;
    const double mean_u = u_ / n_, mean_p = p_ / n_, variance = uu_ / n_ - mean_u * mean_u;
    const double together = up_ / n_ - mean_u * mean_p;
    // More load never takes less.
    double slope = variance > 1e-6 ? std::max(0.0, together / variance) : 0;
    const double count = n_ * n_ / nn_;  // samples, as if all counted the same
    if (count < kLeastSamples - 0.5)
      return Line{mean_p - slope * mean_u, slope, std::numeric_limits<double>::infinity()};
    const double around = pp_ / n_ - mean_p * mean_p - slope * (2 * together - slope * variance);
    const double error = 2 * std::sqrt(std::max(0.0, around) / (count - 2));
    double of_slope = kSteepness * mean_p;
    if (error < of_slope * std::sqrt(std::max(0.0, variance))) of_slope = error / std::sqrt(variance);
    else slope = 0;  // the samples do not tell it
    const double doubt = std::hypot(error, mean_u * of_slope);
    return Line{mean_p - slope * mean_u, slope, doubt};
  }
  double n_ = 0, u_ = 0, uu_ = 0, p_ = 0, up_ = 0, pp_ = 0, nn_ = 0;
  double low_s_ = 0, all_s_ = 0, spread_n_ = 0, spread_u_ = 0, spread_uu_ = 0;
  std::optional<double> lowest_, watts_;
  std::string_view method_;
};

}  // namespace vitald
