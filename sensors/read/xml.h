// SPDX-License-Identifier: Apache-2.0
// Walks a document of XML, element by element, by libexpat.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace vitald {

// The attributes of one element, with references resolved. Valid while it is being opened.
class XmlAttributes {
 public:
  explicit XmlAttributes(const char** pairs) : pairs_(pairs) {}
  // The value of one attribute; "": it has none of this name.
  [[nodiscard]] std::string_view operator[](std::string_view name) const;
  // Of all of them: each(name, value).
  template <class Each>
  void each(Each&& each) const {
    for (const char** p = pairs_; *p; p += 2) each(std::string_view(p[0]), std::string_view(p[1]));
  }

 private:
  const char** pairs_;  // name, value, ..., null
};

// What is to be done with the elements of a document. Names are as they are written, with their prefix.
struct XmlWalk {
  std::function<void(std::string_view name, const XmlAttributes&)> open;
  // What stands between the element's tags and in no element of its own: comments are left out, references
  // resolved, CDATA is text, blanks at both ends are cut.
  std::function<void(std::string_view name, std::string_view text)> close;
};

// Calls `walk` in the order of the document. Its depth is bounded, and nothing outside it is read (no external
// entities; expansion of its own is bounded by libexpat). A document that is not well-formed is an Errc::malformed
// with line and reason: what was called before has to be thrown away. For any thread.
Result<> walk_xml(std::string_view document, const XmlWalk& walk);

}  // namespace vitald
