// SPDX-License-Identifier: Apache-2.0
// What clients say to the API: forms, times, matchers, silences as JSON, queries over a small history; and the files
// that keep silences and callbacks.
#include "agent/api/alerts.h"
#include "agent/api/body.h"
#include "agent/api/prom_params.h"
#include "agent/pipeline/callbacks.h"
#include "core/batch.h"
#include "rules/history/store.h"
#include "tests/fuzz/input.h"

namespace vitald {
namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;

const History& small_history() {
  static const auto kOne = [] {
    auto history = std::make_unique<History>(History::Settings{{{"job", "node"}}});
    static constexpr MetricDesc kDesc{.name = "m", .type = MetricType::gauge, .help = "", .labels = "a"};
    BatchWriter writer("test");
    for (int i = 0; i < 20; ++i) {
      Snapshot s;
      s.boot_ns = (1000 + i * 5) * 1'000'000'000LL;
      s.wall_ns = kNow * 1'000'000 - (20 - i) * 5'000'000'000LL;
      writer.begin(s.boot_ns);
      for (const auto* a : {"x", "y"}) writer.set(kDesc, i, a);
      s.batches.push_back(writer.finish({}, 0, 0));
      history->begin(s);
      history->end();
    }
    return history;
  }();
  return *kOne;
}

void ask(std::string_view text, std::size_t shape) {
  const auto expr = parse_query(text);
  if (!expr) {
    if (expr.error().text.empty()) __builtin_trap();
    return;
  }
  const auto view = small_history().view();
  QueryLimits limits;
  limits.max_samples = 1000;
  int asked = 0;
  limits.given_up = [&asked] { return ++asked > 50; };
  if (shape % 2 == 0) {
    (void)instant_query(**expr, *view, kNow, limits);
  } else if ((*expr)->type == promql::ValueType::vector || (*expr)->type == promql::ValueType::scalar) {
    const auto found = range_query(**expr, *view, kNow - 60'000, kNow, 1000 + static_cast<std::int64_t>(shape), limits);
    std::size_t samples = 0;
    if (found)
      for (const auto& [labels, points] : found->matrix) samples += points.size();
    if (samples > limits.max_samples) __builtin_trap();
  }
}

template <class T, class Save, class Load>
void file(std::string_view bytes, const Save& save_it, const Load& load_it) {
  const auto loaded = load_it(source_of(bytes), bytes.size());
  if (!loaded) return;
  std::string again;
  if (!save_it(*loaded, [&again](std::string_view piece) -> Result<> {
        again += piece;
        return {};
      }))
    __builtin_trap();
  if (!load_it(source_of(again), again.size())) __builtin_trap();
}

}  // namespace
}  // namespace vitald

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  Input in(data, size);
  switch (in.byte() % 7) {
    case 0: {
      Request request;
      request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
      request.body = in.rest();
      std::string problem;
      auto budget = promql::PatternBudget::of_request();
      (void)AlertFilter::read(parameters_of(request), problem, budget);
      std::optional<Response> refused;
      (void)matchers_of(parameters_of(request), true, refused, budget);
      break;
    }
    case 1:
      (void)parse_api_time(in.rest());
      (void)parse_api_duration(in.rest());
      break;
    case 2:
      if (const auto matchers = parse_alert_matchers(in.rest())) {
        const auto again = parse_alert_matchers(matchers_text(*matchers));
        if (!again || matchers_text(*again) != matchers_text(*matchers)) __builtin_trap();
        (void)fits(*matchers, {{"alertname", "x"}});
      }
      break;
    case 3:
      if (auto silence = parse_silence(in.rest(), kNow)) {
        Silences all;
        (void)all.put(std::move(*silence), kNow);
      }
      break;
    case 4: {
      const auto shape = in.byte();
      ask(in.rest(), shape);
      break;
    }
    case 5:
      file<Marks>(
          in.rest(), [](const auto& what, auto sink) { return save(what, std::move(sink)); },
          [](auto source, std::size_t n) { return load_marks(std::move(source), n); });
      break;
    default:
      file<std::vector<Callback>>(
          in.rest(), [](const auto& what, auto sink) { return save(what, std::move(sink)); },
          [](auto source, std::size_t n) { return load_callbacks(std::move(source), n); });
  }
  return 0;
}
