// SPDX-License-Identifier: Apache-2.0
#include "agent/http/gate.h"

#include <algorithm>

#include "core/log.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "core/yaml/reader.h"

namespace vitald {

bool Gate::Stamp::operator==(const Stamp& o) const {
  return path == o.path && device == o.device && inode == o.inode && size == o.size &&
         changed.tv_sec == o.changed.tv_sec && changed.tv_nsec == o.changed.tv_nsec;
}

Gate::Stamp Gate::stamp(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return {path, 0, 0, 0, {}};
  return {path, st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

std::unique_ptr<Gate> Gate::load(const std::string& path, std::vector<std::string>& problems) {
  if (path.empty()) return nullptr;
  std::unique_ptr<Gate> gate(new Gate(path));
  const auto before = problems.size();
  gate->read(problems);
  if (problems.size() != before) return nullptr;
  gate->tls_ = gate->config_.tls.has_value();
  return gate;
}

// Takes over what it read only when there was no problem. The stamps are taken before the reading: what changes
// meanwhile is read again the next time.
void Gate::read(std::vector<std::string>& problems) {
  const auto before = problems.size();
  stamps_ = {stamp(path_)};
  const auto text = read_text_file(path_, kConfigBytes);
  if (!text) {
    problems.push_back("--web.config.file: " + text.error().text);
    return;
  }
  auto config = parse_web_config(*text, path_, problems);
  // Somebody is writing it just now, or took the locks off by mistake; neither must open the door.
  if (in_force_ && trim(*text).empty() && problems.size() == before)
    problems.push_back(path_ + ": empty: to let everybody in, write 'basic_auth_users: {}'");
  else if (in_force_ && tls_ && !config.tls && problems.size() == before)
    problems.push_back(path_ + ": no tls_server_config: TLS is switched off only with a restart");
  std::shared_ptr<const TlsCredentials> credentials;
  if (config.tls) {
    for (const auto* file : {&config.tls->cert_file, &config.tls->key_file, &config.tls->client_ca_file})
      if (!file->empty()) stamps_.push_back(stamp(*file));
    if (problems.size() != before) return;
    auto loaded = TlsCredentials::load(*config.tls);
    if (!loaded) problems.push_back(path_ + ": tls_server_config: " + loaded.error().text);
    else credentials = std::move(*loaded);
  }
  if (problems.size() != before) return;
  config_ = std::move(config);
  in_force_ = true;
  if (credentials) credentials_ = std::move(credentials);
}

void Gate::refresh() {
  if (std::ranges::all_of(stamps_, [](const Stamp& s) { return stamp(s.path) == s; })) return;
  std::vector<std::string> problems;
  read(problems);
  for (const auto& problem : problems) log::error("the web configuration in force stays", {{"err", problem}});
  if (!problems.empty()) return;
  log::info("web configuration read again", {{"file", path_}});
  if (config_.tls.has_value() != tls_) log::warn("TLS is switched on only with a restart");
}

std::shared_ptr<const TlsCredentials> Gate::credentials() {
  refresh();
  return credentials_;
}

// A token bucket: full at the start, one more each interval.
std::optional<Response> Gate::limit(std::int64_t boot_ns) {
  refresh();
  if (config_.rate_interval_ns <= 0) return std::nullopt;
  const auto burst = static_cast<double>(config_.rate_burst);
  if (tokens_ < 0) tokens_ = burst;
  else tokens_ += static_cast<double>(boot_ns - refilled_boot_ns_) / static_cast<double>(config_.rate_interval_ns);
  tokens_ = std::min(tokens_, burst);
  refilled_boot_ns_ = boot_ns;
  if (tokens_ < 1) return text_response(429, "Too Many Requests\n");
  tokens_ -= 1;
  return std::nullopt;
}

// A password that is being compared, and then what the routes say.
class Gate::Admission final : public Pending {
 public:
  Admission(Gate& gate, Request& request, const Routes& routes)
      : gate_(gate), request_(request), routes_(routes), until_ns_(request.arrived_boot_ns + kAdmissionNs) {}

  std::optional<Response> poll(std::int64_t now_boot_ns) override {
    if (next_) return next_->poll(now_boot_ns);
    auto decision = gate_.admit(request_);
    if (decision.refusal) return std::move(decision.refusal);
    if (decision.pending) {
      if (now_boot_ns < until_ns_) return std::nullopt;
      return text_response(503, "the password could not be compared in time; try again in a moment\n");
    }
    auto answer = routes_.answer(request_);
    if (auto* response = std::get_if<Response>(&answer)) return std::move(*response);
    next_ = std::move(std::get<1>(answer));
    return next_->poll(now_boot_ns);
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override { return next_ ? next_->deadline_boot_ns() : until_ns_; }
  [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const override {
    return next_ ? next_->wants_snapshot_boot_ns() : 0;
  }

 private:
  static constexpr std::int64_t kAdmissionNs = 30'000'000'000;
  Gate& gate_;
  Request& request_;
  const Routes& routes_;
  std::int64_t until_ns_;
  std::unique_ptr<Pending> next_;
};

Answer Gate::answer(Request& request, const Routes& routes) {
  if (auto response = limit(request.arrived_boot_ns)) return std::move(*response);
  auto decision = admit(request);
  if (decision.refusal) return std::move(*decision.refusal);
  if (decision.pending) return std::make_unique<Admission>(*this, request, routes);
  return routes.answer(request);
}

Gate::Decision Gate::admit(Request& request) {
  request.has_users = !config_.users.empty();
  if (config_.users.empty()) return {};
  switch (auth_->check(config_.users, request.header("Authorization"))) {
    case BasicAuth::Verdict::admitted: request.user = user_of(request.header("Authorization")); return {};
    case BasicAuth::Verdict::pending: return {true, {}};
    case BasicAuth::Verdict::busy: {
      auto response = text_response(503, "too many unknown passwords at once; try again in a moment\n");
      response.headers.emplace_back("Retry-After", "1");
      return {false, std::move(response)};
    }
    case BasicAuth::Verdict::refused: break;
  }
  auto response = text_response(401, "Unauthorized\n");
  response.headers.emplace_back("WWW-Authenticate", "Basic");
  return {false, std::move(response)};
}

}  // namespace vitald
