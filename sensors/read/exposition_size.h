// SPDX-License-Identifier: Apache-2.0
// How much a text exposition is, without parsing it: parsed it takes several times the memory of its text.
#pragma once

#include <cstddef>
#include <string_view>

namespace vitald {

struct ExpositionSize {
  std::size_t bytes = 0;
  std::size_t samples = 0;   // lines that are neither blank nor comments
  std::size_t comments = 0;  // of a family each that may have no sample

  ExpositionSize& operator+=(const ExpositionSize& other) {
    bytes += other.bytes;
    samples += other.samples;
    comments += other.comments;
    return *this;
  }
};

inline ExpositionSize exposition_size(std::string_view text) {
  ExpositionSize out{text.size()};
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() == text.size() ? line.size() : line.size() + 1);
    if (const auto first = line.find_first_not_of(" \t\r"); first != std::string_view::npos)
      ++(line[first] == '#' ? out.comments : out.samples);
  }
  return out;
}

}  // namespace vitald
