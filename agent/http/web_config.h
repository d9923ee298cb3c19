// SPDX-License-Identifier: Apache-2.0
// The file of --web.config.file, in the format that Prometheus and its exporters share (exporter-toolkit).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
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
  std::string priority;                          // versions, suites and curves as GnuTLS writes them
};

struct WebConfig {
  std::optional<TlsSettings> tls;  // none: plain HTTP
  std::vector<std::pair<std::string, std::string>> headers;
  std::map<std::string, std::string, std::less<>> users;  // name -> bcrypt hash
  std::int64_t rate_interval_ns = 0;                      // 0: no limit
  std::int64_t rate_burst = 0;
};

// Every problem with line and column; relative paths are relative to the file's folder.
WebConfig parse_web_config(const std::string& text, const std::string& path, std::vector<std::string>& problems);

}  // namespace vitald
