// SPDX-License-Identifier: Apache-2.0
// vitald.yaml. Which keys there are comes from the flags; only `notify`, `push`, `exec` and `inhibit_rules` have a
// shape of their own.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "agent/config/config.h"
#include "agent/config/exec.h"
#include "agent/config/flags.h"
#include "core/log.h"
#include "core/os/kernel_file.h"
#include "core/yaml/reader.h"
#include "exporters/deliver/claimant.h"
#include "exporters/deliver/receiver.h"
#include "exporters/push/push.h"
#include "rules/silences.h"

namespace vitald {
namespace {

struct Key {
  const FlagSpec* flag = nullptr;  // a leaf
  std::map<std::string, Key, std::less<>> keys;
};

const Key& tree() {
  static const Key root = [] {
    Key top;
    for (const auto& flag : all_flags()) {
      Key* at = &top;
      const auto path = yaml_path(flag);
      for (const auto& part : path) at = &at->keys[part];
      if (!path.empty()) at->flag = &flag;
    }
    top.keys["notify"];
    top.keys["push"];
    top.keys["exec"];
    top.keys["inhibit_rules"];
    return top;
  }();
  return root;
}

class Reader : public YamlReader {
 public:
  using YamlReader::YamlReader;

  ConfigFile parse(const std::string& text, std::vector<std::string>& problems) {
    read(text, problems, [this](const YAML::Node& root) {
      if (!root.IsNull()) walk(root, tree(), "");  // an empty file sets nothing
    });
    return std::move(file_);
  }

 private:
  [[nodiscard]] std::string unknown_key(const std::string& at, const std::string& key,
                                        std::span<const std::string_view> known) const override {
    if (at == "groups" || at == "thresholds") return at + ": unknown key, it belongs in a rule file (rules.files)";
    for (const auto& flag : all_flags())
      if (yaml_path(flag).empty() && flag.name.substr(0, flag.name.find('.')) == key)
        return at + ": unknown key, it belongs on the command line only";
    return YamlReader::unknown_key(at, key, known);
  }

  void walk(const YAML::Node& map, const Key& key, const std::string& path) {
    std::vector<std::string_view> known;
    for (const auto& [name, below] : key.keys) known.push_back(name);
    each(map, path, known, [&](const std::string& at, const std::string& name, const YAML::Node& value) {
      const auto& below = key.keys.find(name)->second;
      if (at == "notify") return kinds(value, at, receiver_kinds(), file_.receivers, file_.receiver_places);
      if (at == "push") return kinds(value, at, push_kinds(), file_.pushes, file_.push_places);
      if (at == "exec") return exec(value);
      if (at == "inhibit_rules") return inhibit(value);
      if (below.flag) return leaf(value, *below.flag, at);
      const auto on = below.keys.find("enabled");
      if (on != below.keys.end() && value.IsScalar()) return leaf(value, *on->second.flag, at);  // netdev: false
      if (!value.IsNull()) walk(value, below, at);
    });
  }

  void leaf(const YAML::Node& node, const FlagSpec& flag, const std::string& path) {
    if (flag.type == FlagType::list && node.IsSequence()) {
      for (const auto& item : items(node)) {
        if (flag.name == "history.keep" && item.IsMap()) keep(item, flag, path);
        else scalar(item, flag, path);
      }
      return;
    }
    scalar(node, flag, path);
  }
  void scalar(const YAML::Node& node, const FlagSpec& flag, const std::string& path) {
    static constexpr std::string_view kWanted[] = {"true or false",
                                                   "text",
                                                   "a regular expression",
                                                   "a duration",
                                                   "a whole number",
                                                   "a list of texts",
                                                   "words with commas between"};
    if (!node.IsScalar())
      return say(node.Mark(), path,
                 fmt::format("{} found, expected {}", kind_of(node), kWanted[static_cast<std::size_t>(flag.type)]));
    if (const auto problem = value_problem(flag, node.Scalar()); !problem.empty())
      return say(node.Mark(), path, problem);
    // A service starts in /, so a relative path can only mean the folder of this file, as in Prometheus.
    static constexpr std::string_view kBeside[] = {"rules.file", "checks.file", "verdict.file", "web.config.file"};
    const bool beside = std::ranges::find(kBeside, flag.name) != std::end(kBeside) && !node.Scalar().empty();
    file_.settings.push_back(
        {&flag, beside ? (std::filesystem::path(name()).parent_path() / node.Scalar()).string() : node.Scalar(),
         place(node.Mark())});
  }

  void exec(const YAML::Node& node) {
    if (!node.IsSequence()) return say(node.Mark(), "exec", fmt::format("{} found, expected a list", kind_of(node)));
    const auto& flag = *std::ranges::find(all_flags(), "collector.exec.program", &FlagSpec::name);
    std::set<std::string> names;
    std::size_t i = 0;
    for (const auto& item : items(node)) {
      const auto path = fmt::format("exec[{}]", i++);
      ExecProgram program;
      if (!read_exec(*this, item, path, program)) continue;
      if (!names.insert(program.name).second)
        say(item.Mark(), path, fmt::format("a second '{}', expected another name", program.name));
      else file_.settings.push_back({&flag, exec_line(program), place(item.Mark())});
    }
  }

  // As in alertmanager.yml.
  void inhibit(const YAML::Node& node) {
    if (!node.IsSequence())
      return say(node.Mark(), "inhibit_rules", fmt::format("{} found, expected a list", kind_of(node)));
    static constexpr std::string_view kKeys[] = {"source_matchers", "target_matchers", "equal"};
    std::size_t i = 0;
    for (const auto& item : items(node)) {
      const auto path = fmt::format("inhibit_rules[{}]", i++);
      const auto before = problem_count();
      InhibitRule rule;
      each(item, path, kKeys, [&](const std::string& at, const std::string& key, const YAML::Node& list) {
        if (!list.IsSequence()) return say(list.Mark(), at, fmt::format("{} found, expected a list", kind_of(list)));
        for (const auto& text : items(list)) {
          if (!text.IsScalar()) {
            say(text.Mark(), at, fmt::format("{} found, expected text", kind_of(text)));
          } else if (key == "equal") {
            rule.equal.push_back(text.Scalar());
          } else if (auto matchers = parse_alert_matchers(text.Scalar()); !matchers) {
            say(text.Mark(), at, matchers.error().text);
          } else {
            auto& to = key == "source_matchers" ? rule.source : rule.target;
            to.insert(to.end(), matchers->begin(), matchers->end());
          }
        }
      });
      if (problem_count() != before) continue;
      if (rule.source.empty() || rule.target.empty())
        say(item.Mark(), path, "expected source_matchers and target_matchers: which alerts mute which others");
      else {
        file_.inhibit_rules.push_back(std::move(rule));
        file_.inhibit_places.push_back(place(item.Mark()));
      }
    }
  }

  // {match: '...', for: 7d, every: 1m}, which the flag writes in one line.
  void keep(const YAML::Node& node, const FlagSpec& flag, const std::string& path) {
    static constexpr std::string_view kKeys[] = {"match", "for", "every"};
    std::map<std::string, std::string> given;
    each(node, path, kKeys, [&](const std::string& at, const std::string& key, const YAML::Node& value) {
      if (value.IsScalar()) given[key] = value.Scalar();
      else say(value.Mark(), at, fmt::format("{} found, expected text", kind_of(value)));
    });
    for (const std::string_view key : {"match", "for"})
      if (!given.contains(std::string(key)))
        return say(node.Mark(), path, fmt::format("no '{}', expected {{match: '{{...}}', for: 7d, every: 1m}}", key));
    auto text = fmt::format("{} for {}", given["match"], given["for"]);
    if (given.contains("every")) text += " every " + given["every"];
    file_.settings.push_back({&flag, std::move(text), place(node.Mark())});
  }

  // A list for each kind; what is in it has a name, which is a label of the same metrics everywhere.
  template <class Kind, class Settings>
  void kinds(const YAML::Node& node, const std::string& path, std::span<const Kind* const> all,
             std::vector<std::shared_ptr<Settings>>& into, std::vector<std::string>& places) {
    std::vector<std::string_view> keys;
    for (const auto* kind : all) keys.push_back(kind->key);
    each(node, path, keys, [&](const std::string& at, const std::string& key, const YAML::Node& list) {
      if (!list.IsSequence()) return say(list.Mark(), at, fmt::format("{} found, expected a list", kind_of(list)));
      const auto& kind = **std::ranges::find(all, key, &Kind::key);
      std::size_t i = 0;
      for (const auto& item : items(list)) {
        const auto below = fmt::format("{}[{}]", at, i++);
        auto settings = kind.read(*this, item, below);
        if (!settings) continue;
        if constexpr (requires { settings->matchers; })
          if (!are_matchers(settings->matchers, item, below)) continue;
        if constexpr (requires { settings->files(); })
          if (!are_its_own(settings->files(), settings->name, item, below)) continue;
        if (!names_.insert(settings->name).second) {
          say(item.Mark(), below, fmt::format("a second '{}', expected another name", settings->name));
          continue;
        }
        if (const auto* owner = dynamic_cast<const Claimant*>(settings.get()))
          if (const auto what = owner->owns(); !what.empty())
            if (const auto [first, is_new] = owners_.emplace(what, settings->name); !is_new) {
              say(item.Mark(), below,
                  fmt::format(
                      "a second receiver of {}, which are those of '{}' and would be ended by each other; expected "
                      "one receiver for them",
                      what, first->second));
              continue;
            }
        into.push_back(std::move(settings));
        places.push_back(place(item.Mark()));
      }
    });
  }
  // One file of two writers has half of what each wrote. Folders are looked at only where two files have the same name:
  // one may be on a server that does not answer.
  bool are_its_own(const std::vector<std::string>& files, const std::string& name_of_it, const YAML::Node& item,
                   const std::string& path) {
    for (const auto& file : files) {
      for (const auto& [before, whose] : writers_) {
        if (!is_same_file(before, file)) continue;
        say(item.Mark(), path,
            fmt::format("'{}' writes {}, which '{}' writes, too; expected a file for each", name_of_it,
                        file == "-" ? "standard output" : file, whose));
        return false;
      }
      writers_.emplace_back(file, name_of_it);
    }
    return true;
  }
  static bool is_same_file(const std::filesystem::path& one, const std::filesystem::path& other) {
    if (one == other) return true;
    if (one.filename() != other.filename()) return false;
    const auto real = [](const std::filesystem::path& file) {
      std::error_code unknown;
      const auto folder = std::filesystem::weakly_canonical(file.parent_path(), unknown);
      return ((unknown ? file.parent_path() : folder) / file.filename()).lexically_normal();
    };
    return real(one) == real(other);
  }
  bool are_matchers(const std::vector<std::string>& texts, const YAML::Node& item, const std::string& path) {
    bool good = true;
    for (const auto& text : texts)
      if (const auto parsed = parse_alert_matchers(text); !parsed) {
        say(item.Mark(), path + ".matchers", parsed.error().text);
        good = false;
      }
    return good;
  }
  [[nodiscard]] std::string place(const YAML::Mark& mark) const {
    return fmt::format("{}:{}:{}", name(), mark.line + 1, mark.column + 1);
  }

  ConfigFile file_;
  std::set<std::string> names_;
  std::vector<std::pair<std::string, std::string>> writers_;  // files, and the name of whose they are
  std::map<std::string, std::string> owners_;                 // of what only one may have: its name
};

}  // namespace

ConfigFile parse_config(const std::string& text, const std::string& name, std::vector<std::string>& problems) {
  return Reader(name).parse(text, problems);
}

ConfigFile read_config_file(const std::string& path, std::vector<std::string>& problems) {
  const auto text = read_text_file(path, kConfigBytes);
  if (text) return parse_config(*text, path, problems);
  problems.push_back(text.error().kind == Errc::malformed ? text.error().text
                                                          : text.error().text + ", expected a readable file");
  return {};
}

}  // namespace vitald
