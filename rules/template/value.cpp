// SPDX-License-Identifier: Apache-2.0
#include "rules/template/value.h"

#include <fmt/format.h>

namespace vitald::text_template {

std::string_view Value::type() const {
  struct Name {
    std::string_view operator()(std::monostate) const { return "<nil>"; }
    std::string_view operator()(bool) const { return "bool"; }
    std::string_view operator()(const Integer& i) const { return i.type == Integer::Type::int_ ? "int" : "uint8"; }
    std::string_view operator()(double) const { return "float64"; }
    std::string_view operator()(const std::string&) const { return "string"; }
    std::string_view operator()(const std::shared_ptr<const LabelMap>&) const { return "map[string]string"; }
    std::string_view operator()(const std::shared_ptr<const ValueMap>&) const { return "map[string]interface {}"; }
    std::string_view operator()(const std::shared_ptr<const Samples>&) const { return "template.queryResult"; }
    std::string_view operator()(const SamplePtr&) const { return "*template.sample"; }
    std::string_view operator()(const Time&) const { return "*time.Time"; }
    std::string_view operator()(const Duration&) const { return "*time.Duration"; }
    std::string_view operator()(const Named& n) const { return n.type; }
    std::string_view operator()(const std::shared_ptr<const Data>&) const {
      return "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value float64 }";
    }
  };
  return std::visit(Name{}, any_);
}

bool Value::truth() const {
  struct Truth {
    bool operator()(std::monostate) const { return false; }
    bool operator()(bool b) const { return b; }
    bool operator()(const Integer& i) const { return i.value != 0; }
    bool operator()(double v) const { return v != 0; }
    bool operator()(const std::string& s) const { return !s.empty(); }
    bool operator()(const std::shared_ptr<const LabelMap>& m) const { return !m->empty(); }
    bool operator()(const std::shared_ptr<const ValueMap>& m) const { return !m->empty(); }
    bool operator()(const std::shared_ptr<const Samples>& s) const { return !s->empty(); }
    bool operator()(const SamplePtr&) const { return true; }
    bool operator()(const Time&) const { return true; }
    bool operator()(const Duration&) const { return true; }
    bool operator()(const Named& n) const { return n.value != 0; }
    bool operator()(const std::shared_ptr<const Data>&) const { return true; }
  };
  return std::visit(Truth{}, any_);
}

void check_size(std::size_t size) {
  if (size > kMaxOutput) throw Fault(fmt::format("the text becomes longer than {} bytes", kMaxOutput));
}

}  // namespace vitald::text_template
