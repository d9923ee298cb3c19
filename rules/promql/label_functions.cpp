// SPDX-License-Identifier: Apache-2.0
// Functions that change labels or order by them.
#include <fmt/format.h>
#include <re2/re2.h>

#include "core/text/scan.h"
#include "rules/promql/eval_impl.h"

namespace vitald::promql {

namespace {

// Of a label that label_replace() or label_join() makes: nested, each can double what the one before made.
constexpr std::size_t kMaxLabelBytes = 64 * 1024;

// `$1`, `${1}`, `$name`, `$$` as Go's regexp.Expand reads them.
std::string expand(std::string_view pattern, const RE2& re, const std::vector<re2::StringPiece>& groups) {
  std::string out;
  while (!pattern.empty() && out.size() <= kMaxLabelBytes) {
    const auto dollar = pattern.find('$');
    out += pattern.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    pattern.remove_prefix(dollar + 1);
    if (take_prefix(pattern, "$")) {
      out += '$';
      continue;
    }
    auto rest = pattern;
    const bool braces = take_prefix(rest, "{");
    std::size_t n = 0;
    while (n < rest.size() && (std::isalnum(static_cast<unsigned char>(rest[n])) || rest[n] == '_')) ++n;
    const auto name = rest.substr(0, n);
    rest.remove_prefix(n);
    if (n == 0 || (braces && !take_prefix(rest, "}"))) {
      out += '$';
      continue;
    }
    pattern = rest;
    auto index = parse_u64(name);
    if (!index)
      if (const auto at = re.NamedCapturingGroups().find(std::string(name)); at != re.NamedCapturingGroups().end())
        index = static_cast<std::uint64_t>(at->second);
    if (index && *index < groups.size()) out.append(groups[*index].data(), groups[*index].size());
  }
  return out;
}

}  // namespace

// Numbers inside the values count as numbers: eth2 before eth10.
void Evaluator::Impl::sort_by_label(const Call& call, std::int64_t t, Node& n) {
  n.out = vector(*call.args[0], t);
  spend(kLabelsWork * work_to_sort(n.out.samples.size()));  // it compares texts
  const bool down = call.name == "sort_by_label_desc";
  std::ranges::stable_sort(n.out.samples, [&](const Sample& a, const Sample& b) {
    for (std::size_t i = 1; i < call.args.size(); ++i) {
      const auto x = n.out.labels(a).get(text(*call.args[i])), y = n.out.labels(b).get(text(*call.args[i]));
      if (x != y) return down ? natural_less(y, x) : natural_less(x, y);
    }
    return down ? n.out.labels(b).text() < n.out.labels(a).text() : n.out.labels(a).text() < n.out.labels(b).text();
  });
}

Labels Evaluator::Impl::with_label(const Labels& labels, const std::string& name, const std::string& value) {
  if (value.size() > kMaxLabelBytes) fail(fmt::format("label {} would be longer than {} bytes", name, kMaxLabelBytes));
  spend(value.size());
  hold(made_held_,
       made_held_ + value.size() / kBytesOfASample);  // text of the query's own making, a copy for each series
  if (!error_.empty()) return labels;
  LabelsBuilder b(labels);
  b.set(name, value);
  return b.labels();
}

void Evaluator::Impl::label_replace(const Call& call, std::int64_t t, Node& n) {
  const auto& in = vector(*call.args[0], t);
  const auto &dst = text(*call.args[1]), &replacement = text(*call.args[2]), &src = text(*call.args[3]);
  auto& c = *n.cache;
  n.out.samples = in.samples;
  if (c.in == in.shape) return finish(n, c.relabelled);
  if (!c.pattern) {  // once, however often the series change
    auto made = compile_pattern(text(*call.args[4]), options_.patterns);
    if (!made && made.error().too_large)
      return fail(fmt::format("too large a regular expression in label_replace(): {}", made.error().text));
    if (!made) return fail(fmt::format("invalid regular expression in label_replace(): {}", text(*call.args[4])));
    c.pattern = std::move(*made);
  }
  const RE2& re = *c.pattern;
  const bool valid = late_names() ? valid_quoted_name(dst) : valid_label_name(dst);
  if (!valid) return fail(fmt::format("invalid destination label name in label_replace(): {}", dst));
  const auto& r = relabel_named(c, in.shape, dst, [&](const Labels& l) {
    const auto value = l.get(src);
    std::vector<re2::StringPiece> groups(static_cast<std::size_t>(re.NumberOfCapturingGroups()) + 1);
    if (!re.Match({value.data(), value.size()}, 0, value.size(), RE2::ANCHOR_BOTH, groups.data(),
                  static_cast<int>(groups.size())))
      return std::pair{l, false};
    return std::pair{with_label(l, dst, expand(replacement, re, groups)), true};
  });
  finish(n, r);
}

void Evaluator::Impl::label_join(const Call& call, std::int64_t t, Node& n) {
  const auto& in = vector(*call.args[0], t);
  const auto &dst = text(*call.args[1]), &separator = text(*call.args[2]);
  n.out.samples = in.samples;
  const auto valid = late_names() ? valid_quoted_name : valid_label_name;
  if (!valid(dst)) return fail(fmt::format("invalid destination label name in label_join(): {}", dst));
  for (std::size_t i = 3; i < call.args.size(); ++i)
    if (!valid(text(*call.args[i])))
      return fail(fmt::format("invalid source label name in label_join(): {}", text(*call.args[i])));
  const auto& r = relabel_named(*n.cache, in.shape, dst, [&](const Labels& l) {
    std::string joined;
    for (std::size_t i = 3; i < call.args.size() && joined.size() <= kMaxLabelBytes; ++i) {
      if (i > 3) joined += separator;
      joined += l.get(text(*call.args[i]));
    }
    return std::pair{with_label(l, dst, joined), true};
  });
  finish(n, r);
}

}  // namespace vitald::promql
