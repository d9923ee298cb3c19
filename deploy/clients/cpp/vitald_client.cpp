// SPDX-License-Identifier: Apache-2.0
#include "vitald_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace vitald {
namespace client {

namespace {

using nlohmann::json;

constexpr std::size_t kMostBytes = 16u << 20;  // of an answer
constexpr std::size_t kAtOnce = 32;            // hosts that are asked at the same time

std::size_t take(char* bytes, std::size_t size, std::size_t count, void* into) {
  auto& body = *static_cast<std::string*>(into);
  const auto n = size * count;
  if (body.size() + n > kMostBytes) return 0;  // curl ends with an error
  body.append(bytes, n);
  return n;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const unsigned char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    char code[4];
    std::snprintf(code, sizeof code, "%%%02X", static_cast<unsigned>(c));
    out += plain ? std::string(1, static_cast<char>(c)) : std::string(code);
  }
  return out;
}

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

std::string without_slash(std::string url) {
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url;
}

class Connection {
 public:
  explicit Connection(const Access& access) : access_(access), curl_(curl_easy_init()) {
    if (!curl_) throw Error("libcurl cannot be used: no memory?");
  }
  ~Connection() {
    curl_easy_cleanup(curl_);
    curl_slist_free_all(headers_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // `data` of the answer.
  json call(const char* method, const std::string& url, const json& body = {}) {
    prepare(method, url, body);
    return end(curl_easy_perform(curl_));
  }

  [[nodiscard]] CURL* handle() const { return curl_; }

  // What handle() does next. libcurl reads and writes members of this object until it is done.
  void prepare(const char* method, const std::string& url, const json& body = {}) {
    curl_easy_reset(curl_);
    url_ = url;
    answer_.clear();
    why_[0] = '\0';
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_CUSTOMREQUEST, method);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(access_.timeout.count()));
    set(CURLOPT_WRITEFUNCTION, &take);
    set(CURLOPT_WRITEDATA, &answer_);
    set(CURLOPT_ERRORBUFFER, why_);
    if (!access_.user.empty()) {
      set(CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
      set(CURLOPT_USERNAME, access_.user.c_str());
      set(CURLOPT_PASSWORD, access_.password.c_str());
    }
    if (!access_.ca_file.empty()) set(CURLOPT_CAINFO, access_.ca_file.c_str());
    if (!access_.verify) {
      set(CURLOPT_SSL_VERIFYPEER, 0L);
      set(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (!body.is_null()) {
      sent_ = body.dump();
      if (!headers_) headers_ = curl_slist_append(nullptr, "Content-Type: application/json");
      set(CURLOPT_HTTPHEADER, headers_);
      set(CURLOPT_POSTFIELDSIZE, static_cast<long>(sent_.size()));
      set(CURLOPT_POSTFIELDS, sent_.c_str());
    }
  }

  // What came of it: `data` of the answer.
  [[nodiscard]] json end(CURLcode result) const {
    if (result != CURLE_OK) throw Error(url_ + ": " + (why_[0] != '\0' ? why_ : curl_easy_strerror(result)));
    long status = 0;
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    const auto parsed = json::parse(answer_, nullptr, false);
    if (status != 200) {
      auto text = answer_.substr(0, 4096);
      if (parsed.is_object() && parsed.contains("error") && parsed["error"].is_string()) text = parsed["error"];
      throw Error(url_ + ": " + std::to_string(status) + ": " + text);
    }
    if (!parsed.is_object() || !parsed.contains("data")) throw Error(url_ + ": the answer is none of vitald");
    return parsed["data"];
  }

 private:
  template <class T>
  void set(CURLoption option, T value) {
    if (const auto code = curl_easy_setopt(curl_, option, value); code != CURLE_OK)
      throw Error(std::string("libcurl: ") + curl_easy_strerror(code));
  }
  Access access_;
  CURL* curl_;
  curl_slist* headers_ = nullptr;
  std::string url_, answer_, sent_;
  char why_[CURL_ERROR_SIZE] = "";
};

struct Ask {
  std::string uuid, url;
  const char* method = "GET";
  json body;  // null: none
};
struct Answers {
  std::map<std::string, json> done;           // {uuid: `data` of the answer}
  std::map<std::string, std::string> failed;  // {uuid: why}
};

std::string joined(const std::map<std::string, std::string>& failed) {
  std::string out;
  for (const auto& [uuid, why] : failed) out += (out.empty() ? "" : "; ") + why;
  return out;
}

// Asks many at the same time, in this thread. One of a uuid.
class Crowd {
 public:
  explicit Crowd(const Access& access) : access_(access), multi_(curl_multi_init()) {
    if (!multi_) throw Error("libcurl cannot be used: no memory?");
  }
  ~Crowd() {
    running_.clear();
    curl_multi_cleanup(multi_);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  Answers all(const std::vector<Ask>& asked) {
    Answers out;
    running_.clear();  // of a call that threw
    std::size_t next = 0;
    while (next < asked.size() || !running_.empty()) {
      // Not all at once to libcurl: the time that one waits for its turn there would be of its timeout.
      for (; next < asked.size() && running_.size() < kAtOnce; ++next) begin(asked[next], out);
      int active = 0;
      checked(curl_multi_perform(multi_, &active));
      int left = 0;
      while (const auto* message = curl_multi_info_read(multi_, &left))
        if (message->msg == CURLMSG_DONE) end(message->easy_handle, message->data.result, out);
      if (active > 0) checked(curl_multi_wait(multi_, nullptr, 0, 1000, nullptr));
    }
    return out;
  }

 private:
  struct Running {
    Running(CURLM* m, const Access& access, const Ask& a) : multi(m), ask(a), connection(access) {
      connection.prepare(ask.method, ask.url, ask.body);
      checked(curl_multi_add_handle(multi, connection.handle()));
    }
    ~Running() { curl_multi_remove_handle(multi, connection.handle()); }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    CURLM* multi;
    Ask ask;
    Connection connection;
  };
  static void checked(CURLMcode code) {
    if (code != CURLM_OK) throw Error(std::string("libcurl: ") + curl_multi_strerror(code));
  }
  void begin(const Ask& ask, Answers& out) {
    try {
      running_.push_back(std::make_unique<Running>(multi_, access_, ask));
    } catch (const Error& e) {
      out.failed[ask.uuid] = ask.url + ": " + e.what();
    }
  }
  void end(CURL* handle, CURLcode result, Answers& out) {
    const auto at =
        std::find_if(running_.begin(), running_.end(), [&](const auto& r) { return r->connection.handle() == handle; });
    if (at == running_.end()) throw Error("libcurl: an answer that nobody asked for");
    const auto& uuid = (*at)->ask.uuid;
    try {
      out.done[uuid] = (*at)->connection.end(result);
    } catch (const Error& e) {
      out.failed[uuid] = e.what();
    }
    running_.erase(at);
  }

  const Access access_;
  CURLM* multi_;
  std::vector<std::unique_ptr<Running>> running_;
};

// What is missing or of another type makes it no answer of vitald.
template <class Read>
auto read(const std::string& url, Read&& body) {
  try {
    return body();
  } catch (const json::exception& e) {
    throw Error(url + ": the answer is none of vitald: " + e.what());
  }
}

std::optional<Reading> reading(const json& data, const char* name, const char* unit) {
  const auto at = data.find(name);
  if (at == data.end()) return std::nullopt;
  return Reading{at->at(unit).get<double>(), at->at("age_seconds").get<double>(), at->at("source").get<std::string>()};
}

}  // namespace

Registration registration(const std::string& url, const Access& access) {
  Connection connection(access);
  const auto data = connection.call("GET", without_slash(url) + "/api/v1/registration");
  return read(url, [&] {
    Registration r;
    r.uuid = data.at("uuid").get<std::string>();
    r.name = data.at("name").get<std::string>();
    r.endpoint_url = data.at("endpoint_url").get<std::string>();
    r.type = data.at("type").get<std::string>();
    r.created_at = data.at("created_at").get<std::string>();
    r.updated_at = data.at("updated_at").get<std::string>();
    r.scrape_interval = data.at("scrape_interval").get<long long>();
    r.enabled = data.at("enabled").get<bool>();
    return r;
  });
}

struct Telemetry::Impl {
  Impl(std::map<std::string, std::string> h, const Access& access)
      : hosts(std::move(h)), connection(access), crowd(access) {
    for (auto& [uuid, url] : hosts) url = without_slash(url);
  }
  const std::string& url_of(const std::string& uuid) const {
    const auto at = hosts.find(uuid);
    if (at == hosts.end()) throw Error("no host has the uuid '" + uuid + "'");
    return at->second;
  }
  std::map<std::string, std::string> hosts;
  Connection connection;
  Crowd crowd;
};

Telemetry::Telemetry(std::map<std::string, std::string> hosts, Access access)
    : impl_(std::make_unique<Impl>(std::move(hosts), access)) {}
Telemetry::~Telemetry() = default;

Metrics Telemetry::query_metrics(const std::vector<std::string>& provider_uuids,
                                 const std::vector<std::string>& metrics, std::optional<TimeRange> range) {
  std::string query;
  for (const auto& name : metrics) query += (query.empty() ? "?metric=" : "&metric=") + escaped(name);
  if (range) query += "&start=" + number(range->begin) + "&end=" + number(range->end);
  Metrics out;
  if (metrics.empty()) return out;
  std::vector<Ask> asked;
  for (const auto& uuid : std::set<std::string>(provider_uuids.begin(), provider_uuids.end()))
    if (const auto host = impl_->hosts.find(uuid); host != impl_->hosts.end())
      asked.push_back({uuid, host->second + "/api/v1/query_metrics" + query, "GET", {}});
  auto answers = impl_->crowd.all(asked);
  out.failed = std::move(answers.failed);
  for (const auto& [uuid, answer] : answers.done) {
    const auto& data = answer;
    try {
      out[uuid] = read(impl_->hosts.at(uuid), [&] { return data.at("metrics").get<std::map<std::string, double>>(); });
    } catch (const Error& e) {
      out.failed[uuid] = e.what();
    }
  }
  if (out.empty() && !out.failed.empty()) throw Error(joined(out.failed));
  return out;
}

Utilization Telemetry::utilization(const std::string& provider_uuid, const std::map<std::string, double>& thresholds) {
  auto url = impl_->url_of(provider_uuid) + "/api/v1/utilization";
  char separator = '?';
  for (const auto& [name, value] : thresholds) {
    url += separator + escaped(name) + "=" + number(value);
    separator = '&';
  }
  const auto data = impl_->connection.call("GET", url);
  return read(url, [&] {
    Utilization u;
    u.provider_uuid = data.at("provider_uuid").get<std::string>();
    u.name = data.at("name").get<std::string>();
    u.timestamp = data.at("timestamp").get<double>();
    u.cpu = reading(data, "cpu", "percent");
    u.memory = reading(data, "memory", "percent");
    u.disk = reading(data, "disk", "percent");
    u.network = reading(data, "network", "percent");
    u.power = reading(data, "power", "watts");
    u.temperature = reading(data, "temperature", "celsius");
    if (data.contains("available_capacity")) u.available_capacity = data["available_capacity"].get<double>();
    u.schedulable = data.at("schedulable").get<bool>();
    u.reasons = data.at("reasons").get<std::vector<std::string>>();
    return u;
  });
}

std::map<std::string, double> Telemetry::get_utilization(const std::string& provider_uuid) {
  const auto u = utilization(provider_uuid);
  std::map<std::string, double> out;
  const std::pair<const char*, const std::optional<Reading>*> readings[] = {
      {"cpu", &u.cpu},         {"memory", &u.memory}, {"disk", &u.disk},
      {"network", &u.network}, {"power", &u.power},   {"temperature", &u.temperature}};
  for (const auto& [name, value] : readings)
    if (*value) out[name] = (*value)->value;
  if (u.available_capacity) out["available_capacity"] = *u.available_capacity;
  return out;
}

// All are asked before one is changed: what is there already is not ours to take back.
std::map<std::string, std::string> Telemetry::register_callback(const std::string& event_type,
                                                                const std::string& callback_url) {
  std::vector<Ask> asked;
  for (const auto& [uuid, url] : impl_->hosts) asked.push_back({uuid, url + "/api/v1/callbacks", "GET", {}});
  const auto listed = impl_->crowd.all(asked);
  auto failed = listed.failed;
  std::map<std::string, std::set<std::string>> there;
  const auto each_read = [&](const Answers& answers, auto&& body) {
    for (const auto& [uuid, data] : answers.done) try {
        const auto& host = uuid;
        const auto& answer = data;
        read(impl_->hosts.at(uuid), [&] { body(host, answer); });
      } catch (const Error& e) {
        failed[uuid] = e.what();
      }
  };
  each_read(listed, [&](const std::string& uuid, const json& data) {
    for (const auto& callback : data) there[uuid].insert(callback.at("id").get<std::string>());
  });
  std::map<std::string, std::string> ids;
  if (failed.empty()) {
    for (auto& ask : asked) ask.method = "POST", ask.body = {{"event_type", event_type}, {"url", callback_url}};
    const auto made = impl_->crowd.all(asked);
    failed = made.failed;
    each_read(made, [&](const std::string& uuid, const json& data) { ids[uuid] = data.at("id").get<std::string>(); });
  }
  if (failed.empty()) return ids;
  std::vector<Ask> back;
  for (const auto& [uuid, id] : ids)
    if (there[uuid].count(id) == 0)
      back.push_back({uuid, impl_->hosts.at(uuid) + "/api/v1/callbacks/" + escaped(id), "DELETE", {}});
  const auto left = impl_->crowd.all(back).failed;
  throw Error("no callback, " + std::to_string(failed.size()) + " of " + std::to_string(impl_->hosts.size()) +
              " hosts failed: " + joined(failed) +
              (left.empty() ? "" : "; the others keep it, it could not be taken back: " + joined(left)));
}

void Telemetry::unregister_callback(const std::string& provider_uuid, const std::string& id) {
  impl_->connection.call("DELETE", impl_->url_of(provider_uuid) + "/api/v1/callbacks/" + escaped(id));
}

std::optional<double> Telemetry::weight(const std::string& provider_uuid, double utilization_weight,
                                        double power_weight) {
  try {
    const auto u = utilization(provider_uuid);
    if (!u.schedulable || !u.available_capacity) return std::nullopt;
    const double celsius = u.temperature ? u.temperature->value : 0, watts = u.power ? u.power->value : 0;
    const double heat = celsius > 80 ? -1000 : celsius > 70 ? -100 : 0;
    return utilization_weight * *u.available_capacity + power_weight * (heat - watts / 10);
  } catch (const Error&) {  // a host that does not answer is no place for anything
    return std::nullopt;
  }
}

}  // namespace client
}  // namespace vitald
