// SPDX-License-Identifier: Apache-2.0
// Who may come in, and how: --web.config.file in force. The file, certificates and keys are looked at for every
// connection and request (one stat(2) each) and read again when they changed. What cannot be read or is wrong
// is said once and the last good one stays: a certificate is renewed in two steps.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/http/basic_auth.h"
#include "agent/http/routes.h"
#include "agent/http/tls.h"
#include "agent/http/web_config.h"
#include "core/clock.h"

namespace vitald {

// One thread at a time.
class Gate {
 public:
  // Null with problems. `path` may be empty: no gate, and no problem.
  static std::unique_ptr<Gate> load(const std::string& path, std::vector<std::string>& problems);

  // Whether the server speaks TLS is settled by the first reading of the file.
  [[nodiscard]] bool tls() const { return tls_; }
  // For a new connection; keep it as long as the session.
  std::shared_ptr<const TlsCredentials> credentials();

  // Before the first request: who is told when a password was compared.
  void set_wake(std::shared_ptr<const Wake> wake) { auth_ = std::make_unique<BasicAuth>(std::move(wake)); }
  // What `routes` answer to those who may come in, which may take the comparison of a password; otherwise why not.
  Answer answer(Request& request, const Routes& routes);
  // For every response.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& headers() const { return config_.headers; }

 private:
  // Which content a path leads to; a symbolic link may lead elsewhere the next time.
  struct Stamp {
    std::string path;
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    timespec changed{};
    bool operator==(const Stamp& o) const;
  };
  explicit Gate(std::string path) : path_(std::move(path)) {}
  static Stamp stamp(const std::string& path);
  void read(std::vector<std::string>& problems);
  void refresh();
  class Admission;
  std::optional<Response> limit(std::int64_t boot_ns);
  struct Decision {
    bool pending = false;  // ask again when woken
    std::optional<Response> refusal;
  };
  Decision admit(Request& request);

  std::string path_;
  std::vector<Stamp> stamps_;
  WebConfig config_;
  bool tls_ = false;
  bool in_force_ = false;  // something was read without a problem
  std::shared_ptr<const TlsCredentials> credentials_;
  std::unique_ptr<BasicAuth> auth_;
  double tokens_ = -1;  // of the rate limit; before the first request: -1
  std::int64_t refilled_boot_ns_ = 0;
};

}  // namespace vitald
