// SPDX-License-Identifier: Apache-2.0
#include "agent/http/web_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "agent/http/basic_auth.h"
#include "core/options.h"
#include "core/text/scan.h"
#include "core/yaml/reader.h"

namespace vitald {
namespace {

// Go's names, and what GnuTLS calls the parts. Those of TLS 1.3 have no key exchange of their own.
struct Suite {
  std::string_view name, key_exchange, cipher, mac;
};
constexpr Suite kSuites[] = {
    {"TLS_AES_128_GCM_SHA256", "", "AES-128-GCM", "AEAD"},
    {"TLS_AES_256_GCM_SHA384", "", "AES-256-GCM", "AEAD"},
    {"TLS_CHACHA20_POLY1305_SHA256", "", "CHACHA20-POLY1305", "AEAD"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA", "AES-128-CBC", "SHA1"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA", "AES-256-CBC", "SHA1"},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA", "AES-128-CBC", "SHA1"},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA", "AES-256-CBC", "SHA1"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA", "AES-128-GCM", "AEAD"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA", "AES-256-GCM", "AEAD"},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA", "AES-128-GCM", "AEAD"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA", "AES-256-GCM", "AEAD"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA", "CHACHA20-POLY1305", "AEAD"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA", "CHACHA20-POLY1305", "AEAD"},
};

struct Word {
  std::string_view name, means;
};
constexpr Word kCurves[] = {{"CurveP256", "GROUP-SECP256R1"},
                            {"CurveP384", "GROUP-SECP384R1"},
                            {"CurveP521", "GROUP-SECP521R1"},
                            {"X25519", "GROUP-X25519"}};
constexpr Word kVersions[] = {
    {"TLS10", "VERS-TLS1.0"}, {"TLS11", "VERS-TLS1.1"}, {"TLS12", "VERS-TLS1.2"}, {"TLS13", "VERS-TLS1.3"}};
constexpr std::size_t kTls12 = 2, kTls13 = 3;

using enum TlsSettings::ClientCert;
struct ClientCertWord {
  std::string_view name;
  TlsSettings::ClientCert means;
};
constexpr ClientCertWord kClientCerts[] = {
    {"NoClientCert", none},
    {"RequestClientCert", request},
    {"RequireAnyClientCert", require},
    {"RequireClientCert", require},  // the older spelling
    {"VerifyClientCertIfGiven", verify_if_given},
    {"RequireAndVerifyClientCert", require_and_verify},
};

// Which headers may be set, and to what; no value: to anything.
struct Header {
  std::string_view name;
  std::array<std::string_view, 2> values;
};
constexpr Header kHeaders[] = {{"Content-Security-Policy", {}},
                               {"Strict-Transport-Security", {}},
                               {"X-Content-Type-Options", {"nosniff"}},
                               {"X-Frame-Options", {"deny", "sameorigin"}},
                               {"X-XSS-Protection", {}}};

template <class Row, std::size_t N>
constexpr std::array<std::string_view, N> names(const Row (&rows)[N]) {
  std::array<std::string_view, N> all;
  std::ranges::transform(rows, all.begin(), &Row::name);
  return all;
}

void add_once(std::vector<std::string_view>& list, std::string_view word) {
  if (!word.empty() && std::ranges::find(list, word) == list.end()) list.push_back(word);
}

// Each more doubles the time: at 20 a comparison takes about a minute, at 31 more than a day.
constexpr int kMostCost = 20;

class Reader : public YamlReader {
 public:
  explicit Reader(const std::string& path) : YamlReader(path), folder_(std::filesystem::path(path).parent_path()) {}

  WebConfig parse(const std::string& text, std::vector<std::string>& problems) {
    read(text, problems, [this](const YAML::Node& root) {
      if (!root.IsNull()) top(root);
    });
    return std::move(config_);
  }

 private:
  void top(const YAML::Node& root) {
    static constexpr std::string_view kKeys[] = {"tls_server_config", "http_server_config", "basic_auth_users",
                                                 "rate_limit"};
    each(root, "", kKeys, [this](const std::string& at, const std::string& key, const YAML::Node& value) {
      if (value.IsNull()) return;
      if (key == "tls_server_config") tls(value, at);
      else if (key == "http_server_config") http(value, at);
      else if (key == "basic_auth_users") users(value, at);
      else rate_limit(value, at);
    });
  }
  void tls(const YAML::Node& node, const std::string& path) {
    static constexpr std::string_view kKeys[] = {"cert",
                                                 "key",
                                                 "client_ca",
                                                 "cert_file",
                                                 "key_file",
                                                 "client_ca_file",
                                                 "client_auth_type",
                                                 "client_allowed_sans",
                                                 "cipher_suites",
                                                 "min_version",
                                                 "max_version",
                                                 "prefer_server_cipher_suites",
                                                 "curve_preferences"};
    TlsSettings s;
    std::size_t lowest = kTls12, highest = kTls13;
    bool server_order = true, any = false;
    std::vector<const Suite*> suites;
    std::vector<std::string_view> curves;
    each(node, path, kKeys, [&](const std::string& at, const std::string& key, const YAML::Node& value) {
      if (key == "client_allowed_sans") {
        s.says_allowed_sans = !value.IsNull();
        return each_word(value, at, [&](const YAML::Node& item) { s.client_allowed_sans.push_back(item.Scalar()); });
      }
      if (key == "cipher_suites")
        return each_word(value, at, [&](const YAML::Node& item) {
          if (const auto* row = known(item, at, kSuites)) suites.push_back(row);
        });
      if (key == "curve_preferences")
        return each_word(value, at, [&](const YAML::Node& item) {
          if (const auto* row = known(item, at, kCurves)) add_once(curves, row->means);
        });
      if (key == "prefer_server_cipher_suites") return boolean(value, at, server_order);
      const auto text = word(value, at);
      if (!text) return;
      if (key == "min_version" || key == "max_version") {
        if (const auto* row = known(value, at, kVersions))
          (key == "min_version" ? lowest : highest) = static_cast<std::size_t>(row - kVersions);
        return;
      }
      any = any || !text->empty();
      if (key == "cert") s.cert = *text;
      else if (key == "key") s.key = *text;
      else if (key == "client_ca") s.client_ca = *text;
      else if (key == "cert_file") s.cert_file = in_folder(*text);
      else if (key == "key_file") s.key_file = in_folder(*text);
      else if (key == "client_ca_file") s.client_ca_file = in_folder(*text);
      else if (const auto* row = text->empty() ? &kClientCerts[0] : known(value, at, kClientCerts)) {
        s.client_cert = row->means;
        s.says_client_cert = !text->empty();
      }
    });
    if (!any) return;  // plain HTTP, as there
    if (s.cert.empty() && s.cert_file.empty()) say(node.Mark(), path, "no certificate, expected cert_file or cert");
    if (s.key.empty() && s.key_file.empty()) say(node.Mark(), path, "no key, expected key_file or key");
    if ((!s.client_ca.empty() || !s.client_ca_file.empty()) && s.client_cert == none)
      say(node.Mark(), path,
          "a client CA without client_auth_type, expected e.g. client_auth_type: RequireAndVerifyClientCert");
    if (lowest > highest)
      say(node.Mark(), path,
          fmt::format("min_version {} is above max_version {}", kVersions[lowest].name, kVersions[highest].name));
    s.priority = priority(lowest, highest, server_order, suites, curves);
    config_.tls = std::move(s);
  }

  // GnuTLS has no list of suites but one of ciphers, MACs and key exchanges each: what is allowed is every
  // combination of those that are named, and for TLS 1.3 the same ciphers.
  static std::string priority(std::size_t lowest, std::size_t highest, bool server_order,
                              const std::vector<const Suite*>& suites, const std::vector<std::string_view>& curves) {
    std::string out = "NORMAL:-VERS-ALL";
    const auto add = [&out](std::string_view all, const std::vector<std::string_view>& words) {
      out += fmt::format(":-{}", all);
      for (const auto w : words) out += fmt::format(":+{}", w);
    };
    if (!suites.empty()) {
      std::vector<std::string_view> ciphers, macs, exchanges;
      for (const auto* s : suites) {
        add_once(ciphers, s->cipher);
        add_once(macs, s->mac);
        add_once(exchanges, s->key_exchange);
      }
      // With CBC alone there is nothing that TLS 1.3 could use.
      if (highest == kTls13 && std::ranges::find(macs, "AEAD") == macs.end()) highest = kTls12;
      add("CIPHER-ALL", ciphers);
      add("MAC-ALL", macs);
      add("KX-ALL", exchanges);
    } else {
      out += ":-RSA";  // without forward secrecy; whoever needs it names it
    }
    if (!curves.empty()) add("GROUP-ALL", curves);
    for (auto v = highest + 1; v-- > lowest;) out += fmt::format(":+{}", kVersions[v].means);
    return server_order ? out + ":%SERVER_PRECEDENCE" : out;
  }

  void http(const YAML::Node& node, const std::string& path) {
    static constexpr std::string_view kKeys[] = {"http2", "headers"};
    static constexpr auto kNames = names(kHeaders);
    each(node, path, kKeys, [&](const std::string& at, const std::string& key, const YAML::Node& value) {
      bool http2 = false;  // accepted: every client of HTTP/2 speaks 1.1 as well
      if (key == "http2") return boolean(value, at, http2);
      if (value.IsNull()) return;
      each(value, at, kNames, [&](const std::string& place, const std::string& name, const YAML::Node& item) {
        const auto text = word(item, place);
        if (!text) return;
        const auto& values = std::ranges::find(kHeaders, name, &Header::name)->values;
        if (!values[0].empty() && std::ranges::find(values, *text) == values.end())
          return say(item.Mark(), place,
                     fmt::format("'{}', expected {}{}", *text, values[0],
                                 values[1].empty() ? "" : fmt::format(" or {}", values[1])));
        if (text->find_first_of("\r\n") != std::string::npos)
          return say(item.Mark(), place, "a value of several lines, expected one line");
        if (!text->empty()) config_.headers.emplace_back(name, *text);
      });
    });
  }

  void users(const YAML::Node& node, const std::string& path) {
    config_.says_users = true;
    each(node, path, {}, [&](const std::string& at, const std::string& name, const YAML::Node& value) {
      const auto hash = word(value, at);
      if (!hash) return;
      // The hash is a secret: it is not said.
      if (!bcrypt_cost(*hash))
        return say(value.Mark(), at, "not a bcrypt hash, expected $2b$..., e.g. of: htpasswd -nBC 10 NAME");
      if (*bcrypt_cost(*hash) > kMostCost)
        return say(value.Mark(), at,
                   fmt::format("a bcrypt hash of cost {}, expected {} at most: one comparison would take {} at least",
                               *bcrypt_cost(*hash), kMostCost, *bcrypt_cost(*hash) > 25 ? "half an hour" : "a minute"));
      if (name.find('\0') != std::string::npos)
        return say(value.Mark(), path, "a name with a NUL, expected none: nobody could log in with it");
      if (name.find(':') != std::string::npos)  // RFC 7617: the password begins behind the first one
        return say(value.Mark(), at, "a name with a colon, expected none: nobody could log in with it");
      config_.users[name] = *hash;
    });
  }

  void rate_limit(const YAML::Node& node, const std::string& path) {
    static constexpr std::string_view kKeys[] = {"interval", "burst"};
    each(node, path, kKeys, [&](const std::string& at, const std::string& key, const YAML::Node& value) {
      const auto text = word(value, at);
      if (!text) return;
      if (key == "interval") {
        const auto ns = parse_duration_ns(*text);
        if (!ns) return say(value.Mark(), at, fmt::format("'{}' is not a duration; write e.g. 500ms, 1s", *text));
        config_.rate_interval_ns = *ns;
      } else {
        const auto n = parse_i64(*text);
        if (!n || *n < 0) return say(value.Mark(), at, fmt::format("'{}' is not a whole number of requests", *text));
        config_.rate_burst = *n;
      }
    });
    if (config_.rate_interval_ns > 0 && config_.rate_burst == 0)
      say(node.Mark(), path,
          "a burst of 0, which refuses every request; expected how many may come at once, e.g. burst: 20");
  }

  // Text; nothing (null) is empty text.
  std::optional<std::string> word(const YAML::Node& node, const std::string& path) {
    if (node.IsNull()) return std::string();
    if (node.IsScalar()) return node.Scalar();
    say(node.Mark(), path, fmt::format("{} found, expected text", kind_of(node)));
    return std::nullopt;
  }
  void boolean(const YAML::Node& node, const std::string& path, bool& into) {
    if (!node.IsScalar() || !YAML::convert<bool>::decode(node, into))
      say(node.Mark(), path, fmt::format("{} found, expected true or false", kind_of(node)));
  }
  template <class F>
  void each_word(const YAML::Node& node, const std::string& path, const F& use) {
    if (node.IsNull()) return;
    if (!node.IsSequence()) return say(node.Mark(), path, fmt::format("{} found, expected a list", kind_of(node)));
    for (const auto& item : items(node)) {
      if (item.IsScalar()) use(item);
      else say(item.Mark(), path, fmt::format("{} found, expected text", kind_of(item)));
    }
  }
  // The row of that name, or a problem.
  template <class Row, std::size_t N>
  const Row* known(const YAML::Node& node, const std::string& path, const Row (&rows)[N]) {
    const auto* row = std::ranges::find(rows, node.Scalar(), &Row::name);
    if (row != std::end(rows)) return row;
    say(node.Mark(), path, fmt::format("'{}' is unknown{}", node.Scalar(), one_of(node.Scalar(), names(rows))));
    return nullptr;
  }
  [[nodiscard]] std::string in_folder(const std::string& path) const {
    return path.empty() ? path : (folder_ / path).string();
  }

  std::filesystem::path folder_;
  WebConfig config_;
};

}  // namespace

WebConfig parse_web_config(const std::string& text, const std::string& path, std::vector<std::string>& problems) {
  return Reader(path).parse(text, problems);
}

std::string_view opens_unsaid(const WebConfig& now, const WebConfig& next) {
  if (!now.users.empty() && !next.says_users)
    return "no basic_auth_users, which are in force: to let everybody in, write 'basic_auth_users: {}'";
  if (!now.tls || !next.tls) return {};
  if (now.tls->client_cert != TlsSettings::ClientCert::none && !next.tls->says_client_cert)
    return "no client_auth_type in tls_server_config, which is in force: to ask for no certificates, write "
           "'client_auth_type: NoClientCert'";
  if (!now.tls->client_allowed_sans.empty() && !next.tls->says_allowed_sans)
    return "no client_allowed_sans in tls_server_config, which are in force: to allow any, write "
           "'client_allowed_sans: []'";
  return {};
}

}  // namespace vitald
