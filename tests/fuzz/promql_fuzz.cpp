// SPDX-License-Identifier: Apache-2.0
// Lexer, parser, checker, and the evaluator for what passes them, over a few series with odd values.
#include <limits>

#include "rules/promql/eval.h"
#include "tests/fuzz/input.h"
#include "tests/rules/memory_source.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald::promql;
  std::vector<Problem> problems;
  const auto tree = compile(vitald::Input(data, size).rest(), problems);
  if (!tree) return 0;
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
  Evaluator evaluator(*tree, source, {.max_work = 100'000});
  (void)evaluator.eval(60'000);
  (void)evaluator.eval(75'000);
  return 0;
}
