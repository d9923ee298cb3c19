// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/fixture_json.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {

std::optional<double> FixtureItem::known_number(std::string_view key) const {
  const auto at = fields.find(key);
  return at == fields.end() ? std::nullopt : parse_double(at->second);
}

std::string FixtureItem::text(std::string_view key) const {
  const auto at = fields.find(key);
  return at == fields.end() ? std::string() : at->second;
}

Result<> each_fixture(const std::string& path, const std::function<void(const FixtureItem&)>& each) {
  const auto text = read_kernel_file(path);
  if (!text) return fail(text.error());
  if (trim(*text).empty()) return fail(Errc::malformed, path + ": empty, expected JSON");
  std::string json(*text);
  std::ranges::replace(json, '\t', ' ');  // JSON is YAML but for tabs as indentation
  const auto item = [&](const YAML::Node& node) {
    FixtureItem result;
    for (const auto& field : node)
      if (field.second.IsScalar()) result.fields[field.first.Scalar()] = field.second.Scalar();
    each(result);
  };
  try {
    const YAML::Node root = YAML::Load(json);
    if (root.IsMap()) item(root);
    else
      for (const auto& node : root) item(node);
  } catch (const YAML::Exception& e) {
    return fail(Errc::malformed, path + ": " + e.what());
  }
  return {};
}

}  // namespace vitald
