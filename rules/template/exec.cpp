// SPDX-License-Identifier: Apache-2.0
#include "rules/template/exec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "rules/template/humanize.h"
#include "rules/template/printf.h"
#include "rules/template/unicode.h"

namespace vitald::text_template {

namespace {

// Since 1970. As Go's, it wraps around where 64 bits do not hold it.
std::int64_t in_units(const Time& t, std::int64_t per_second) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(t.seconds) * static_cast<std::uint64_t>(per_second) +
                                   static_cast<std::uint64_t>(t.nanos / (1'000'000'000 / per_second)));
}

// Fields and methods of what is no map. Nothing: it has no such one.
std::optional<Value> field_of(const Value& v, const std::string& name) {
  if (const auto* d = v.as<std::shared_ptr<const Data>>()) {
    if (name == "Labels") return (*d)->labels;
    if (name == "ExternalLabels") return (*d)->external_labels;
    if (name == "ExternalURL") return (*d)->external_url;
    if (name == "Value") return (*d)->histogram.empty() ? Value((*d)->value) : Value((*d)->histogram);
  } else if (const auto* s = v.as<SamplePtr>()) {
    if (name == "Labels") return std::shared_ptr<const LabelMap>(*s, &(*s)->labels);
    if (name == "Value") return (*s)->value;
  }
  return {};
}

// Methods of times and durations. `arg`: what the call has, if anything.
std::optional<Value> method_of(const Value& v, const std::string& name, const Value* arg) {
  const auto integer = [](std::int64_t i) { return Value(Integer{i}); };
  if (const auto* d = v.as<Duration>()) {
    if (name == "Seconds") return static_cast<double>(d->nanos) / 1e9;
    if (name == "Minutes") return static_cast<double>(d->nanos) / 60e9;
    if (name == "Hours") return static_cast<double>(d->nanos) / 3600e9;
    if (name == "Milliseconds") return integer(d->nanos / 1'000'000);
    if (name == "Nanoseconds") return integer(d->nanos);
    if (name == "String") return to_string(*d);
    return {};
  }
  const auto* t = v.as<Time>();
  if (!t) return {};
  if (name == "Format" && arg) {
    if (const auto* layout = arg->as<std::string>()) return format(*t, *layout);
    throw Fault(fmt::format("wrong type for value; expected string; got {}", arg->type()));
  }
  if (name == "Unix") return integer(t->seconds);
  if (name == "UnixMilli") return integer(in_units(*t, 1000));
  if (name == "UnixNano") return integer(in_units(*t, 1'000'000'000));
  if (name == "UTC") return *t;
  if (name == "String") return to_string(*t);
  // The rest are parts of the calendar, which a layout knows.
  struct Part {
    std::string_view name, layout;
  };
  static constexpr Part kParts[] = {{"Year", "2006"}, {"Day", "2"},    {"YearDay", "002"},
                                    {"Hour", "15"},   {"Minute", "4"}, {"Second", "5"}};
  for (const auto& p : kParts)
    if (name == p.name) return integer(std::atoll(format(*t, p.layout).c_str()));
  static constexpr std::array<std::string_view, 13> kMonths = {"",        "January",  "February", "March",  "April",
                                                               "May",     "June",     "July",     "August", "September",
                                                               "October", "November", "December"};
  static constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                            "Thursday", "Friday", "Saturday"};
  if (name == "Month") {
    const auto month = std::atoi(format(*t, "1").c_str());
    return Named{month, kMonths[static_cast<std::size_t>(month)], "time.Month"};
  }
  if (name == "Weekday") {
    const auto at = std::ranges::find(kDays, format(*t, "Monday"));
    return Named{at - kDays.begin(), *at, "time.Weekday"};
  }
  if (name == "Nanosecond") return integer(t->nanos);
  return {};
}

bool is_method(const Value& v, const std::string& name) {
  const Value text(std::string{});
  return (v.as<Time>() || v.as<Duration>()) && method_of(v, name, &text).has_value();
}

class Run {
 public:
  Run(const Tree& tree, const std::string& name, const Environment& environment)
      : tree_(tree), name_(name), template_(name), environment_(environment) {}

  std::string run(const Value& dot) {
    variables_.emplace_back("$", dot);
    walk(dot, *tree_.root);
    return std::move(out_);
  }

 private:
  enum class Flow : std::uint8_t { on, breaks, continues };
  using Arguments = std::vector<NodePtr>;
  static inline const Arguments kNoArguments;

  [[noreturn]] void fail(const std::string& what) const {
    const auto before = std::string_view(tree_.text).substr(0, node_->at);
    const auto line = 1 + std::ranges::count(before, '\n');
    const auto newline = before.rfind('\n');
    const auto column = newline == before.npos ? node_->at : node_->at - newline - 1;
    throw Fault(fmt::format("template: {}:{}:{}: executing {} at <{}>: {}", name_, line, column, quote(template_),
                            text_template::to_string(*node_), what));
  }
  void at(const Node& n) { node_ = &n; }
  void step() {
    if (++steps_ > kMaxSteps) fail(fmt::format("the template takes more than {} steps", kMaxSteps));
  }
  void write(std::string_view text) {
    if (out_.size() + text.size() > kMaxOutput) fail(fmt::format("the text becomes longer than {} bytes", kMaxOutput));
    out_ += text;
  }

  Flow walk(const Value& dot, const Node& n) {
    step();
    at(n);
    switch (n.kind) {
      case Kind::list:
        for (const auto& i : n.items)
          if (const auto flow = walk(dot, *i); flow != Flow::on) return flow;
        return Flow::on;
      case Kind::text: write(n.text); return Flow::on;
      case Kind::action: {
        const auto v = pipeline(dot, *n.pipe);
        if (n.pipe->variables.empty()) print(n, v);
        return Flow::on;
      }
      case Kind::if_:
      case Kind::with: {
        const auto mark = variables_.size();
        const auto v = pipeline(dot, *n.pipe);
        auto flow = Flow::on;
        if (v.truth()) flow = walk(n.kind == Kind::with ? v : dot, *n.yes);
        else if (n.no) flow = walk(dot, *n.no);
        variables_.resize(mark);
        return flow;
      }
      case Kind::range: return range(dot, n);
      case Kind::template_: {
        const auto& body = defined(n.text);
        run_template(n, n.text, body, n.pipe ? pipeline(dot, *n.pipe) : Value());
        return Flow::on;
      }
      case Kind::break_: return Flow::breaks;
      case Kind::continue_: return Flow::continues;
      default: fail("unknown node");
    }
  }

  void print(const Node& n, const Value& v) {
    at(n);
    if (v.nil()) return write("<no value>");
    try {
      auto text = go_text(v);
      // What a pointer points to shows without the &.
      write(v.as<SamplePtr>() ? std::string_view(text).substr(1) : std::string_view(text));
    } catch (const Fault& f) {
      fail(f.what());
    }
  }

  Flow range(const Value& dot, const Node& n) {
    const auto mark = variables_.size();
    const auto over = pipeline(dot, *n.pipe);
    const auto inner = variables_.size();
    bool any = false, stopped = false;
    const auto once = [&](const Value& index, const Value& element) {
      if (stopped) return;
      any = true;
      const auto& set = n.pipe->variables;
      // The last one named is the element.
      if (n.pipe->assigns) {
        if (set.size() == 2) assign(set[0]->names[0], index);
        if (!set.empty()) assign(set.back()->names[0], element);
      } else {
        if (set.size() == 2) variables_[inner - 2].second = index;
        if (!set.empty()) variables_[inner - 1].second = element;
      }
      stopped = walk(element, *n.yes) == Flow::breaks;
      variables_.resize(inner);
    };
    if (const auto* m = over.as<std::shared_ptr<const LabelMap>>())
      for (const auto& [k, v] : **m) once(k, v);
    else if (const auto* a = over.as<std::shared_ptr<const ValueMap>>())
      for (const auto& [k, v] : **a) once(k, v);
    else if (const auto* list = over.as<std::shared_ptr<const Samples>>())
      for (std::size_t i = 0; i < (*list)->size(); ++i)
        once(Integer{static_cast<std::int64_t>(i)}, SamplePtr((**list)[i]));
    else if (const auto* i = over.as<Integer>())
      for (std::int64_t k = 0; k < i->value && !stopped; ++k) once(Integer{k}, Integer{k});
    else if (!over.nil()) fail(fmt::format("range can't iterate over {}", go_text(over)));
    auto flow = Flow::on;
    if (!any && n.no) flow = walk(dot, *n.no);
    variables_.resize(mark);
    return flow;
  }

  const Node& defined(const std::string& name) const {
    const auto t = tree_.defined.find(name);
    if (t == tree_.defined.end()) fail(fmt::format("template {} not defined", quote(name)));
    return *t->second;
  }
  void run_template(const Node& n, const std::string& name, const Node& body, const Value& dot) {
    at(n);
    if (++depth_ > kMaxDepth) fail(fmt::format("exceeded maximum template depth ({})", kMaxDepth));
    auto variables = std::exchange(variables_, {{"$", dot}});
    auto outer = std::exchange(template_, name);
    walk(dot, body);
    template_ = std::move(outer);
    variables_ = std::move(variables);
    --depth_;
  }

  Value& variable(const std::string& name) {
    for (auto i = variables_.rbegin(); i != variables_.rend(); ++i)
      if (i->first == name) return i->second;
    fail("undefined variable: " + name);
  }
  void assign(const std::string& name, const Value& v) { variable(name) = v; }

  Value pipeline(const Value& dot, const Node& pipe) {
    at(pipe);
    Value v;
    const Value* final = nullptr;
    for (const auto& c : pipe.items) {
      v = command(dot, *c, final);
      final = &v;
    }
    for (const auto& name : pipe.variables) {
      if (pipe.assigns) assign(name->names[0], v);
      else variables_.emplace_back(name->names[0], v);
    }
    return v;
  }

  void not_a_function(const Arguments& args, const Value* final) const {
    if (args.size() > 1 || final)
      fail(fmt::format("can't give argument to non-function {}", text_template::to_string(*args[0])));
  }

  Value command(const Value& dot, const Node& c, const Value* final) {
    step();
    const auto& first = *c.items[0];
    switch (first.kind) {
      case Kind::field: at(first); return fields(dot, dot, first, 0, &c.items, final);
      case Kind::chain: return chain(dot, first, &c.items, final);
      case Kind::identifier: return function(dot, first, c, c.items, final);
      case Kind::pipe: not_a_function(c.items, final); return pipeline(dot, first);
      case Kind::variable: return variable_node(dot, first, &c.items, final);
      default: break;
    }
    at(first);
    not_a_function(c.items, final);
    switch (first.kind) {
      case Kind::boolean:
      case Kind::number: return first.constant;
      case Kind::dot: return dot;
      case Kind::nil: fail("nil is not a command");
      case Kind::string: return first.text;
      default: fail(fmt::format("can't evaluate command {}", quote(text_template::to_string(first))));
    }
  }

  Value variable_node(const Value& dot, const Node& n, const Arguments* args, const Value* final) {
    at(n);
    const Value v = variable(n.names[0]);
    if (n.names.size() > 1) return fields(dot, v, n, 1, args, final);
    if (args) not_a_function(*args, final);
    return v;
  }

  Value chain(const Value& dot, const Node& n, const Arguments* args, const Value* final) {
    at(n);
    if (n.items[0]->kind == Kind::nil)
      fail(fmt::format("indirection through explicit nil in {}", text_template::to_string(n)));
    const auto from = argument(dot, *n.items[0], Param::any);
    return fields(dot, from, n, 0, args, final);
  }

  // .a.b.c of a value; the last one may be a method with arguments.
  Value fields(const Value& dot, Value v, const Node& n, std::size_t from, const Arguments* args, const Value* final) {
    for (std::size_t i = from; i < n.names.size(); ++i) {
      const bool last = i + 1 == n.names.size();
      v = field(dot, v, n, n.names[i], last ? args : nullptr, last ? final : nullptr);
    }
    return v;
  }

  Value field(const Value& dot, const Value& v, const Node& n, const std::string& name, const Arguments* args,
              const Value* final) {
    if (v.nil()) return {};
    const bool has_args = (args && args->size() > 1) || final;
    if (is_method(v, name)) {
      const std::size_t given = (args ? args->size() - 1 : 0) + (final ? 1 : 0), wanted = name == "Format" ? 1 : 0;
      if (given != wanted) fail(fmt::format("wrong number of args for {}: want {} got {}", name, wanted, given));
      const auto arg = wanted == 0 ? Value() : final ? *final : argument(dot, *(*args)[1], Param::string);
      at(n);
      try {
        return *method_of(v, name, wanted == 0 ? nullptr : &arg);
      } catch (const Fault& f) {
        fail(f.what());
      }
    }
    if (const auto* m = v.as<std::shared_ptr<const LabelMap>>()) {
      if (has_args) fail(fmt::format("{} is not a method but has arguments", name));
      const auto at = (*m)->find(name);
      return at == (*m)->end() ? std::string() : at->second;
    }
    if (const auto* m = v.as<std::shared_ptr<const ValueMap>>()) {
      if (has_args) fail(fmt::format("{} is not a method but has arguments", name));
      const auto at = (*m)->find(name);
      return at == (*m)->end() ? Value() : at->second;
    }
    auto found = field_of(v, name);
    if (!found) {
      const auto type = v.as<SamplePtr>() ? "*template.sample" : v.type();
      fail(fmt::format("can't evaluate field {} in type {}", name, type));
    }
    if (has_args) fail(fmt::format("{} has arguments but cannot be invoked as function", name));
    return std::move(*found);
  }

  static bool takes(Param p, const Value& v) {
    switch (p) {
      case Param::any:
      case Param::value: return true;
      case Param::string: return v.as<std::string>() != nullptr;
      case Param::sample: return v.as<SamplePtr>() != nullptr;
      case Param::samples: return v.as<std::shared_ptr<const Samples>>() != nullptr;
    }
    return false;
  }
  Value checked(Value v, Param p) const {
    if (takes(p, v)) return v;
    if (v.nil()) {
      if (p == Param::string) fail(fmt::format("invalid value; expected {}", to_string(p)));
      if (p == Param::samples) return std::make_shared<const Samples>();
      fail(fmt::format("nil pointer of type {}", to_string(p)));
    }
    fail(fmt::format("wrong type for value; expected {}; got {}", to_string(p), v.type()));
  }

  Value argument(const Value& dot, const Node& n, Param p) {
    step();
    at(n);
    switch (n.kind) {
      case Kind::dot: return checked(dot, p);
      case Kind::nil:
        if (p == Param::string) fail(fmt::format("cannot assign nil to {}", to_string(p)));
        return {};
      case Kind::field: return checked(fields(dot, dot, n, 0, nullptr, nullptr), p);
      case Kind::variable: return checked(variable_node(dot, n, nullptr, nullptr), p);
      case Kind::pipe: return checked(pipeline(dot, n), p);
      case Kind::identifier: return checked(function(dot, n, n, kNoArguments, nullptr), p);
      case Kind::chain: return checked(chain(dot, n, nullptr, nullptr), p);
      case Kind::boolean:
      case Kind::number:
      case Kind::string: {
        Value v = n.kind == Kind::string ? Value(n.text) : n.constant;
        if (takes(p, v)) return v;
        if (p == Param::string) fail(fmt::format("expected string; found {}", text_template::to_string(n)));
        fail(fmt::format("can't handle {} for arg of type {}", text_template::to_string(n), to_string(p)));
      }
      default: fail(fmt::format("can't handle {} for arg of type {}", text_template::to_string(n), to_string(p)));
    }
  }

  Value function(const Value& dot, const Node& n, const Node& whole, const Arguments& all, const Value* final) {
    at(n);
    const auto& f = *find_function(n.text);
    const std::size_t written = all.empty() ? 0 : all.size() - 1, given = written + (final ? 1 : 0);
    const auto least = f.params.size() - (f.variadic ? 1 : 0);
    if (f.variadic ? given < least : given != least)
      fail(fmt::format("wrong number of args for {}: want {}{} got {}", n.text, f.variadic ? "at least " : "", least,
                       given));
    if (n.text == "and" || n.text == "or") {
      const bool stops_at = n.text == "or";
      Value v;
      for (std::size_t i = 0; i < written; ++i) {
        v = argument(dot, *all[i + 1], Param::value);
        if (v.truth() == stops_at) return v;
      }
      return final ? *final : v;
    }
    std::vector<Value> args;
    args.reserve(given);
    const auto param = [&](std::size_t i) { return f.params[std::min(i, f.params.size() - 1)]; };
    for (std::size_t i = 0; i < written; ++i) args.push_back(argument(dot, *all[i + 1], param(i)));
    if (final) {
      at(n);
      args.push_back(checked(*final, param(written)));
    }
    if (n.text == "tmpl") {  // to be printed: what the template writes is the value
      auto before = std::exchange(out_, {});
      const auto& name = *args[0].as<std::string>();
      run_template(whole, name, defined(name), args[1]);
      return std::exchange(out_, std::move(before));
    }
    try {
      return f.call(environment_, args);
    } catch (const Fault& fault) {
      at(whole);
      fail(fmt::format("error calling {}: {}", n.text, fault.what()));
    }
  }

  const Tree& tree_;
  const std::string& name_;
  std::string template_;
  const Environment& environment_;
  std::string out_;
  std::vector<std::pair<std::string, Value>> variables_;
  const Node* node_ = nullptr;
  std::size_t depth_ = 0, steps_ = 0;
};

}  // namespace

std::string execute(const Tree& tree, const std::string& name, const Value& dot, const Environment& environment) {
  return Run(tree, name, environment).run(dot);
}

}  // namespace vitald::text_template
