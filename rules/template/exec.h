// SPDX-License-Identifier: Apache-2.0
// Runs a parsed template, as Go's text/template does: values, variables, loops, templates in it.
#pragma once

#include <string>

#include "rules/template/functions.h"
#include "rules/template/parser.h"

namespace vitald::text_template {

// Throws Fault in Go's words, with the place: template: NAME:1:115: executing "NAME" at <humanize>: ...
std::string execute(const Tree& tree, const std::string& name, const Value& dot, const Environment& environment);

}  // namespace vitald::text_template
