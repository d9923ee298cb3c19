// SPDX-License-Identifier: Apache-2.0
// The file of --web.config.file, in the format that Prometheus and its exporters share (exporter-toolkit).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vitald {

struct TlsSettings {
  enum class ClientCert : std::uint8_t { none, request, require, verify_if_given, require_and_verify };
  // PEM from the file itself; the paths win where both are given.
  std::string cert, key, client_ca;
  std::string cert_file, key_file, client_ca_file;
  ClientCert client_cert = ClientCert::none;
  std::vector<std::string> client_allowed_sans;  // empty: any
  // Whether the file says so; else it is the default.
  bool says_client_cert = false, says_allowed_sans = false;
  std::string priority;  // versions, suites and curves as GnuTLS writes them
};

struct WebConfig {
  std::optional<TlsSettings> tls;  // none: plain HTTP
  std::vector<std::pair<std::string, std::string>> headers;
  std::map<std::string, std::string, std::less<>> users;  // name -> bcrypt hash
  bool says_users = false;                                // basic_auth_users is there, and be it {}
  std::int64_t rate_interval_ns = 0;                      // 0: no limit
  std::int64_t rate_burst = 0;
};

// Every problem with line and column; relative paths are relative to the file's folder.
WebConfig parse_web_config(const std::string& text, const std::string& path, std::vector<std::string>& problems);

// Which lock of those in force is gone from the next file without a word, and what the word would be: a file that ends
// too early may be well-formed. Empty: none.
std::string_view opens_unsaid(const WebConfig& now, const WebConfig& next);

}  // namespace vitald
