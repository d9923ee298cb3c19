// SPDX-License-Identifier: Apache-2.0
// Who may come in, and how: --web.config.file in force, as gate_file.h publishes it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/http/basic_auth.h"
#include "agent/http/gate_file.h"
#include "agent/http/routes.h"
#include "core/instruments.h"

namespace vitald {

// One thread at a time.
class Gate {
 public:
  // Null with problems. `path` may be empty: no gate, and no problem.
  static std::unique_ptr<Gate> load(const std::string& path, std::vector<std::string>& problems);

  // Before the first request: looks for changes from now on; `wake` is signalled when a password was compared.
  void start(std::shared_ptr<const Wake> wake, std::int64_t look_every_ns = GateFile::kEveryNs);
  // Whether the server speaks TLS is settled by the first reading of the file.
  [[nodiscard]] bool tls() const { return tls_; }
  // For a new connection; keep it as long as the session.
  [[nodiscard]] std::shared_ptr<const TlsCredentials> credentials() const { return file_->state()->credentials; }
  // What `routes` answer to those who may come in, which may take the comparison of a password; otherwise why not.
  Answer answer(Request& request, const Routes& routes);
  // Its headers are for every response.
  [[nodiscard]] std::shared_ptr<const GateState> state() const { return file_->state(); }

 private:
  class Admission;
  explicit Gate(std::unique_ptr<GateFile> file);
  std::optional<Response> limit(const WebConfig& config, std::int64_t boot_ns);
  struct Decision {
    std::optional<std::int64_t> ask_again_boot_ns;  // or when woken
    std::optional<Response> refusal;
  };
  Decision admit(const WebConfig& config, Request& request, std::int64_t now_boot_ns);
  void watch_files(std::int64_t now_boot_ns);

  std::unique_ptr<GateFile> file_;
  bool tls_;
  std::unique_ptr<BasicAuth> auth_;
  double tokens_ = -1;  // of the rate limit; before the first request: -1
  std::int64_t refilled_boot_ns_ = 0;
  bool stuck_ = false;
  prometheus::Gauge& in_force_;
};

}  // namespace vitald
