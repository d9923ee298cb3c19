// SPDX-License-Identifier: Apache-2.0
// Lets the binary link until rules/ is in the tree.
#include "rules/engine.h"

namespace vitald {

struct RuleEngine::Impl {};
RuleEngine::RuleEngine() = default;
RuleEngine::~RuleEngine() = default;
std::unique_ptr<RuleEngine> RuleEngine::load(const RuleSettings&, std::vector<std::string>&) {
  return std::unique_ptr<RuleEngine>(new RuleEngine);
}
void RuleEngine::adopt(RuleEngine&) {}
BatchPtr RuleEngine::evaluate(const Snapshot&) { return nullptr; }
std::vector<AlertTransition> RuleEngine::take_transitions() { return {}; }
std::shared_ptr<const RulesView> RuleEngine::view() const { return std::make_shared<RulesView>(); }
std::size_t RuleEngine::rule_count() const { return 0; }
std::string_view to_string(AlertState) { return "inactive"; }

}  // namespace vitald
