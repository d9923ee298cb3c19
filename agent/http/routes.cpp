// SPDX-License-Identifier: Apache-2.0
#include "agent/http/routes.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text/scan.h"

namespace vitald {
namespace {

bool takes(const Route& route, std::string_view method) {
  if (method == "OPTIONS") return true;
  if (method == "HEAD") method = "GET";
  for (auto rest = route.methods; !rest.empty();)
    if (trim(take_until(rest, ',')) == method) return true;
  return false;
}

Response with_allow(Response response, const Route& route) {
  response.headers.emplace_back("Allow", allowed_methods(route));
  return response;
}

// A browser says where the page comes from that makes it send a request; nothing else does. A name that leads to this
// machine proves nothing: whoever owns the name may have made it lead here, so where no user logs in no page may ask.
bool from_another_site(const Request& request) {
  const auto site = request.header("Sec-Fetch-Site");
  std::string_view origin = request.header("Origin");
  if (site.empty() && origin.empty()) return false;
  if (!request.has_users || (!site.empty() && site != "same-origin" && site != "none")) return true;
  if (origin.empty()) return false;
  if (!take_prefix(origin, "http://")) take_prefix(origin, "https://");
  return origin != request.header("Host");
}

std::optional<Response> refuse_change(const Request& request) {
  if (from_another_site(request))
    return text_response(403, request.has_users
                                  ? "refused: a page of another site asked for this; use this agent's own page, or a "
                                    "program such as curl\n"
                                  : "refused: a page in a browser may do this only where somebody logs in: configure "
                                    "basic_auth_users in --web.config.file, or use a program such as curl\n");
  if (!request.user.empty() || (request.loopback && !request.proxied && !request.has_users)) return std::nullopt;
  if (request.loopback && !request.has_users)
    return text_response(403,
                         "refused: this came by a proxy, behind which anybody may be: configure basic_auth_users in "
                         "--web.config.file\n");
  if (request.has_users) return text_response(403, "refused: log in as one of basic_auth_users\n");
  return text_response(403,
                       "refused: without basic_auth_users in --web.config.file only this machine itself may do this; "
                       "ask from 127.0.0.1 or [::1], send SIGHUP, or configure a user\n");
}

}  // namespace

std::string allowed_methods(const Route& route) {
  std::string all(route.methods);
  if (all == "GET") all += ", HEAD";
  return all + ", OPTIONS";
}

std::string_view part_of_path(std::string_view route, std::string_view path) {
  const auto open = route.find('{'), close = route.find('}');
  if (open == route.npos || close == route.npos) return {};
  const auto before = route.substr(0, open), after = route.substr(close + 1);
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) || !path.ends_with(after)) return {};
  const auto part = path.substr(before.size(), path.size() - before.size() - after.size());
  return part.find('/') == part.npos ? part : std::string_view();
}

const Route* Routes::find(std::string_view path) const {
  auto row = std::ranges::find(rows_, path, &Route::path);
  if (row == rows_.end())
    row = std::ranges::find_if(rows_, [&](const Route& r) { return !part_of_path(r.path, path).empty(); });
  return row == rows_.end() ? nullptr : &*row;
}

Answer Routes::answer(const Request& request) const {
  const auto* route = find(request.path);
  if (!route) return text_response(404, "nothing here; see /\n");
  if (!takes(*route, request.method))
    return with_allow(text_response(405, fmt::format("only {} here\n", allowed_methods(*route))), *route);
  if (request.method == "OPTIONS") return with_allow(text_response(204, ""), *route);
  const bool looks = request.method == "GET" || request.method == "HEAD";
  if (route->access == Access::change || (route->access == Access::look_or_change && !looks))
    if (auto refused = refuse_change(request)) return std::move(*refused);
  return route->answer(request);
}

std::string path_of(std::string_view target) {
  if (take_prefix(target, "http://") || take_prefix(target, "https://")) {
    const auto slash = target.find('/');
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  std::string path;
  for (const char c : target)
    if (c != '/' || !path.ends_with('/')) path += c;
  return path;
}

static std::string_view who(Access access) {
  switch (access) {
    case Access::read: return "all";
    case Access::change: return "change";
    case Access::look_or_change: return "GET all, others change";
    case Access::anyone: return "anyone";
  }
  return "";
}

std::string routes_markdown(const std::vector<Route>& rows) {
  std::string out =
      "# Endpoints\n\n"
      "Written by `vitald --dump-api-docs` from the table in `agent/api/endpoints.list`; "
      "[adding one](adding-an-endpoint.md). Every path also answers OPTIONS; another method is 405 with `Allow`, an "
      "unknown path 404.\n\n"
      "Who: `all` are those whom `--web.config.file` lets in. `change` are its users; where it has none, whoever asks "
      "from this machine itself. Pages of other sites are refused. `anyone` needs no password.\n\n"
      "| Path | Methods | Who | Body | |\n|---|---|---|---|---|\n";
  for (const auto& row : rows) {
    const auto body = row.body_bytes > 0 ? fmt::format("up to {} bytes", row.body_bytes) : std::string("none");
    const auto methods = allowed_methods(row);
    out += fmt::format("| `{}` | {} | {} | {} | {} |\n", row.path, methods.substr(0, methods.rfind(',')),
                       who(row.access), body, row.help);
  }
  return out;
}

}  // namespace vitald
