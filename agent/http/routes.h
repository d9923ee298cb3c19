// SPDX-License-Identifier: Apache-2.0
// The table of what is served: which path, by which methods, for whom, with how much of a body. Everything that follows
// from the table alone is answered here: 404, 405, OPTIONS, and who may change something.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/http/pending.h"

namespace vitald {

enum class Access : std::uint8_t {
  read,    // whoever the gate lets in
  change,  // an authenticated user, or this machine itself where no users are configured; never another site's page
  look_or_change,  // GET like read, everything else like change
  anyone,          // also without a password: what a kubelet or a load balancer asks, which has none
};

struct Route {
  std::string path;          // one segment may be {NAME}: it stands for any text without a slash
  std::string_view methods;  // "GET", "POST, PUT"; GET brings HEAD along
  Access access = Access::read;
  std::size_t body_bytes = 0;  // the handler sees a body up to this size; 0: it sees none
  std::string_view help;       // a sentence for docs/api.md
  Handler answer;
};

class Routes {
 public:
  Routes() = default;
  explicit Routes(std::vector<Route> rows) : rows_(std::move(rows)) {}

  // Null: there is nothing.
  [[nodiscard]] const Route* find(std::string_view path) const;
  [[nodiscard]] Answer answer(const Request& request) const;
  [[nodiscard]] const std::vector<Route>& rows() const { return rows_; }

 private:
  std::vector<Route> rows_;
};

// Every method of a row, as the header Allow lists them: "GET, HEAD, OPTIONS".
std::string allowed_methods(const Route& route);
// "//metrics" and "http://web1:9100/metrics" (what proxies may send) are "/metrics".
std::string path_of(std::string_view target);
// What stands in `path` for the {NAME} of the route; empty where it has none.
std::string_view part_of_path(std::string_view route, std::string_view path);
// docs/api.md
std::string routes_markdown(const std::vector<Route>& rows);

}  // namespace vitald
