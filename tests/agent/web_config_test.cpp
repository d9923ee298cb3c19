// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gnutls/gnutls.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/http/basic_auth.h"
#include "agent/http/web_config.h"

namespace vitald {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

const fs::path kMuseum = fs::path(VITALD_SOURCE) / "tests/config/web";

TEST(WebConfig, Museum) {
  std::size_t pieces = 0;
  for (const auto& entry : fs::directory_iterator(kMuseum)) {
    const auto& path = entry.path();
    if (!path.string().ends_with(".bad.yaml")) continue;
    SCOPED_TRACE(path.filename());
    ++pieces;
    std::vector<std::string> problems;
    parse_web_config(slurp(path), path.filename(), problems);
    // VITALD_REWRITE=1 writes what is said now; the difference is reviewed like code.
    const auto want = fs::path(path).replace_extension(".txt");
    if (std::getenv("VITALD_REWRITE")) std::ofstream(want) << fmt::format("{}\n", fmt::join(problems, "\n"));
    EXPECT_EQ(fmt::format("{}\n", fmt::join(problems, "\n")), slurp(want));
  }
  EXPECT_GE(pieces, 9U);
}

TEST(WebConfig, All) {
  std::vector<std::string> problems;
  const auto config = parse_web_config(slurp(kMuseum / "all.good.yaml"), "/etc/vitald/web.yaml", problems);
  EXPECT_EQ(problems, std::vector<std::string>{});
  ASSERT_TRUE(config.tls);
  EXPECT_EQ(config.tls->cert_file, "/etc/vitald/server.crt");
  EXPECT_EQ(config.tls->key_file, "/etc/keys/server.key");
  EXPECT_EQ(config.tls->client_ca_file, "/etc/vitald/ca.crt");
  EXPECT_EQ(config.tls->client_cert, TlsSettings::ClientCert::require_and_verify);
  EXPECT_EQ(config.tls->client_allowed_sans, (std::vector<std::string>{"prometheus.example", "192.0.2.1"}));
  EXPECT_EQ(config.tls->priority,
            "NORMAL:-VERS-ALL:-CIPHER-ALL:+AES-256-GCM:+CHACHA20-POLY1305:-MAC-ALL:+AEAD:-KX-ALL:+ECDHE-RSA:"
            "+ECDHE-ECDSA:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE");
  EXPECT_EQ(config.headers.size(), 2U);
  EXPECT_EQ(config.users.size(), 1U);
  EXPECT_EQ(config.rate_interval_ns, 1'000'000'000);
  EXPECT_EQ(config.rate_burst, 5);
}

// GnuTLS must know every word that a priority is made of.
TEST(WebConfig, Priorities) {
  struct Case {
    const char* name;
    const char* tls;
    const char* want;  // the end of the priority
  };
  const Case cases[] = {
      {"default", "", "NORMAL:-VERS-ALL:-RSA:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"},
      {"client's order", "  prefer_server_cipher_suites: no\n", "NORMAL:-VERS-ALL:-RSA:+VERS-TLS1.3:+VERS-TLS1.2"},
      {"old ones", "  min_version: TLS10\n  max_version: TLS11\n",
       "NORMAL:-VERS-ALL:-RSA:+VERS-TLS1.1:+VERS-TLS1.0:%SERVER_PRECEDENCE"},
      {"CBC has no TLS 1.3", "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]\n",
       "NORMAL:-VERS-ALL:-CIPHER-ALL:+AES-256-CBC:-MAC-ALL:+SHA1:-KX-ALL:+ECDHE-ECDSA:+VERS-TLS1.2:"
       "%SERVER_PRECEDENCE"},
      {"all curves", "  curve_preferences: [CurveP521, CurveP384, CurveP256, X25519]\n",
       "NORMAL:-VERS-ALL:-RSA:-GROUP-ALL:+GROUP-SECP521R1:+GROUP-SECP384R1:+GROUP-SECP256R1:+GROUP-X25519:+VERS-TLS1.3:"
       "+VERS-TLS1.2:%SERVER_PRECEDENCE"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<std::string> problems;
    const auto config =
        parse_web_config(fmt::format("tls_server_config:\n  cert: a\n  key: b\n{}", c.tls), "web.yaml", problems);
    EXPECT_EQ(problems, std::vector<std::string>{});
    ASSERT_TRUE(config.tls);
    EXPECT_EQ(config.tls->priority, c.want);
    gnutls_priority_t priority = nullptr;
    ASSERT_EQ(gnutls_priority_init(&priority, config.tls->priority.c_str(), nullptr), GNUTLS_E_SUCCESS);
    gnutls_priority_deinit(priority);
  }
}

TEST(WebConfig, PlainHttp) {
  for (const char* text :
       {"", "tls_server_config:\n", "tls_server_config: {}\n", "tls_server_config: {min_version: TLS13}\n",
        "basic_auth_users: {}\n", "rate_limit: {interval: 0, burst: 0}\n", "rate_limit: {burst: 0}\n"}) {
    SCOPED_TRACE(text);
    std::vector<std::string> problems;
    EXPECT_FALSE(parse_web_config(text, "web.yaml", problems).tls);
    EXPECT_EQ(problems, std::vector<std::string>{});
  }
}

// A file that ends too early may be well-formed, and must not let in whom the one in force keeps out.
TEST(WebConfig, WhatOpensWithoutAWord) {
  const std::string users = "basic_auth_users: {a: $2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}\n";
  const std::string tls = "tls_server_config:\n  cert: a\n  key: b\n";
  const std::string asks = tls + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca: c\n";
  const struct Case {
    const char* name;
    std::string now, next;
    std::string_view want;  // the first words
  } cases[] = {
      {"the same", users, users, ""},
      {"users, then nothing", users, "", "no basic_auth_users"},
      {"users, then no list", users, "basic_auth_users:\n", "no basic_auth_users"},
      {"users, then none by a word", users, "basic_auth_users: {}\n", ""},
      {"no users before", "", "http_server_config: {}\n", ""},
      {"certificates of clients, then none are asked for", asks, tls, "no client_auth_type"},
      {"the line was cut", asks, tls + "  client_auth_type:\n", "no client_auth_type"},
      {"none are asked for by a word", asks, tls + "  client_auth_type: NoClientCert\n", ""},
      {"others are asked for", asks, tls + "  client_auth_type: RequestClientCert\n", ""},
      {"names, then any", asks + "  client_allowed_sans: [a]\n", asks, "no client_allowed_sans"},
      {"names, then an empty line", asks + "  client_allowed_sans: [a]\n", asks + "  client_allowed_sans:\n",
       "no client_allowed_sans"},
      {"any by a word", asks + "  client_allowed_sans: [a]\n", asks + "  client_allowed_sans: []\n", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<std::string> problems;
    const auto now = parse_web_config(c.now, "web.yaml", problems),
               next = parse_web_config(c.next, "web.yaml", problems);
    EXPECT_EQ(problems, std::vector<std::string>{});
    const auto got = opens_unsaid(now, next);
    EXPECT_TRUE(c.want.empty() ? got.empty() : got.starts_with(c.want)) << got;
  }
}

TEST(WebConfig, BcryptCost) {
  constexpr std::string_view kRest = "X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
  EXPECT_EQ(bcrypt_cost(fmt::format("$2y$10${}", kRest)), 10);
  EXPECT_EQ(bcrypt_cost(fmt::format("$2a$04${}", kRest)), 4);
  EXPECT_EQ(bcrypt_cost(fmt::format("$2b$31${}", kRest)), 31);
  for (const char* prefix : {"$2y$03$", "$2y$32$", "$2x$10$", "$2$010$", "$1y$10$", "$2y$1a$", "$2y$10!"})
    EXPECT_EQ(bcrypt_cost(fmt::format("{}{}", prefix, kRest)), std::nullopt) << prefix;
  EXPECT_EQ(bcrypt_cost(""), std::nullopt);
}

}  // namespace
}  // namespace vitald
