// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/trees.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "core/collector.h"

namespace vitald {
namespace fs = std::filesystem;
namespace {

std::string content_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(text).str();
}

std::vector<std::pair<std::string, std::string>> corpus_flags(std::string_view collector) {
  if (collector == "qdisc") return {{"collector.qdisc.fixtures", "@ROOT@/qdisc"}};
  if (collector == "wifi") return {{"collector.wifi.fixtures", "@ROOT@/wifi"}};
  if (collector == "cpu") return {{"collector.cpu.info", "true"}};
  if (collector == "netdev") return {{"collector.netdev.netlink", "false"}};
  if (collector == "stat") return {{"collector.stat.softirq", "true"}};
  if (collector == "bcache") return {{"collector.bcache.priorityStats", "true"}};
  return {};
}

}  // namespace

std::vector<SeedTree> read_seed_trees(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::vector<SeedTree> trees;
  std::string* file = nullptr;
  for (std::string line; std::getline(in, line);) {
    const auto rest = line.substr(std::min<std::size_t>(2, line.size()));
    switch (line.empty() ? '#' : line[0]) {
      case '#': break;
      case '@': trees.push_back({rest, {}, {}}); break;
      case '!': trees.back().flags.emplace_back(rest.substr(0, rest.find('=')), rest.substr(rest.find('=') + 1)); break;
      case '=': file = &trees.back().files[rest]; break;
      case '|': file->append(line, 1).append("\n"); break;
      case ':': file->append(line, 1); break;
      default: throw std::runtime_error(path + ": unknown line: " + line);
    }
  }
  return trees;
}

void add_corpus_trees(std::vector<SeedTree>& trees, const std::string& folder) {
  SeedTree all;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const auto name = fs::relative(entry.path(), folder).string();
    if (entry.is_symlink()) all.files[name] = "->" + fs::read_symlink(entry.path()).string();
    else if (entry.is_regular_file()) all.files[name] = content_of(entry.path());
  }
  for (const auto& entry : collector_list()) {
    if (entry.folder == "bpf" || entry.folder == "virt" || !entry.info->make) continue;
    auto tree = all;
    tree.collector = entry.name;
    tree.flags = corpus_flags(entry.name);
    trees.push_back(std::move(tree));
  }
}

}  // namespace vitald
