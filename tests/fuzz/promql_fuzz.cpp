// SPDX-License-Identifier: Apache-2.0
// Lexer, parser, checker, and the evaluator for what passes them, over a few series with odd values.
#include <limits>

#include "rules/promql/eval.h"
#include "rules/promql/parser.h"
#include "tests/fuzz/input.h"
#include "tests/rules/memory_source.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald::promql;
  std::vector<Problem> problems;
  const auto tree = compile(vitald::Input(data, size).rest(), problems, {.experimental = true});
  if (!tree) return 0;
  // What is printed reads back as the same.
  const auto text = to_string(*tree);
  problems.clear();
  const auto again = compile(text, problems, {.experimental = true});
  if (!again || to_string(*again) != text) __builtin_trap();
  MemorySource source;
  constexpr auto kInf = std::numeric_limits<double>::infinity();
  const auto add = [&](Labels labels, std::initializer_list<double> values) {
    std::int64_t t = 0;
    for (const auto v : values) source.add(labels, t += 15'000, v);
  };
  add(Labels({{"__name__", "a"}, {"x", "1"}}), {1, 2, 3, 0, 5});
  add(Labels({{"__name__", "a"}, {"x", "2"}}), {1, -kInf, kInf, stale_marker(), 1e308});
  add(Labels({{"__name__", "b"}, {"x", "1"}}), {0, 0, -1, 1e-308, 7});
  add(Labels({{"__name__", "h_bucket"}, {"le", "1"}}), {1, 2, 2, 3, 4});
  add(Labels({{"__name__", "h_bucket"}, {"le", "+Inf"}}), {1, 2, 5, 6, 9});
  source.load(
      "n{x=\"1\"} {{schema:0 count:4 sum:5 z_bucket:1 z_bucket_w:0.1 buckets:[1 0 2] n_buckets:[1]}}x1 {{}} "
      "{{schema:2 count:3 sum:NaN buckets:[1 2] offset:-3}} {{schema:-53 count:3 custom_values:[1 2] buckets:[1 1 1]}}",
      15'000);
  source.load(
      "n{x=\"2\"} 1 {{schema:-53 count:3 sum:-1 custom_values:[-1 2] buckets:[1 1 1]}}+{{schema:-53 count:1 "
      "custom_values:[2] buckets:[1]}}x1 stale {{counter_reset_hint:gauge}}",
      15'000);
  source.load("b{x=\"1\",job=\"j\"}@st -1s -1s -16s 1s", 15'000);
  source.load("b{x=\"1\",job=\"j\"} 1 2 3 1 5", 15'000);
  source.load("target_info{job=\"j\",y=\"z\"} 1 1 1 1 1", 15'000);
  for (const auto dialect : {Dialect::v3, Dialect::v2}) {
    Evaluator evaluator(*tree, source,
                        {.step_ms = 15'000, .range_ms = 60'000, .dialect = dialect, .max_work = 100'000});
    (void)evaluator.eval(60'000, 15'000, 75'000);
    (void)evaluator.eval(75'000, 15'000, 75'000);
  }
  return 0;
}
