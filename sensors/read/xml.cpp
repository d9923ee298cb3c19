// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/xml.h"

#include <expat.h>
#include <fmt/format.h>

#include <climits>
#include <cstddef>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "core/text/scan.h"

namespace vitald {
namespace {

// Nobody's document is as deep; what is could cost whoever keeps a path of it.
constexpr std::size_t kMostDepth = 256;

struct State {
  XML_Parser parser;
  const XmlWalk& walk;
  std::vector<std::string> texts;  // of each open element
  std::exception_ptr thrown;       // by `walk`: libexpat is C, and must not see it
  bool too_deep = false;

  // Runs what may throw.
  template <class F>
  void guarded(F&& f) {
    if (thrown || too_deep) return;
    try {
      f();
    } catch (...) {  // goes on in walk_xml()
      thrown = std::current_exception();
      XML_StopParser(parser, XML_FALSE);
    }
  }
};

void on_open(void* data, const char* name, const char** attributes) {
  auto& s = *static_cast<State*>(data);
  s.guarded([&] {
    if (s.texts.size() == kMostDepth) {
      s.too_deep = true;
      XML_StopParser(s.parser, XML_FALSE);
      return;
    }
    s.texts.emplace_back();
    if (s.walk.open) s.walk.open(name, XmlAttributes(attributes));
  });
}

void on_close(void* data, const char* name) {
  auto& s = *static_cast<State*>(data);
  s.guarded([&] {
    if (s.walk.close) s.walk.close(name, trim(s.texts.back()));
    s.texts.pop_back();
  });
}

void on_text(void* data, const char* text, int size) {
  auto& s = *static_cast<State*>(data);
  s.guarded([&] {
    if (!s.texts.empty()) s.texts.back().append(text, static_cast<std::size_t>(size));
  });
}

}  // namespace

std::string_view XmlAttributes::operator[](std::string_view name) const {
  for (const char** p = pairs_; *p; p += 2)
    if (name == p[0]) return p[1];
  return {};
}

Result<> walk_xml(std::string_view document, const XmlWalk& walk) {
  if (document.size() > INT_MAX) return fail(Errc::malformed, "XML of more than 2 GiB");
  const std::unique_ptr<std::remove_pointer_t<XML_Parser>, decltype(&XML_ParserFree)> parser(XML_ParserCreate("UTF-8"),
                                                                                             XML_ParserFree);
  if (!parser) throw std::bad_alloc();
  State state{parser.get(), walk, {}, nullptr};
  XML_SetUserData(parser.get(), &state);
  XML_SetElementHandler(parser.get(), on_open, on_close);
  XML_SetCharacterDataHandler(parser.get(), on_text);
  const auto status = XML_Parse(parser.get(), document.data(), static_cast<int>(document.size()), XML_TRUE);
  if (state.thrown) std::rethrow_exception(state.thrown);
  if (state.too_deep) return fail(Errc::malformed, fmt::format("XML of more than {} levels", kMostDepth));
  if (status == XML_STATUS_OK) return {};
  return fail(Errc::malformed, fmt::format("line {}: {}", XML_GetCurrentLineNumber(parser.get()),
                                           XML_ErrorString(XML_GetErrorCode(parser.get()))));
}

}  // namespace vitald
