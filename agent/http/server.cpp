// SPDX-License-Identifier: Apache-2.0
#include "agent/http/server.h"

#include <fmt/format.h>
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <optional>

#include "core/instruments.h"
#include "core/log.h"

namespace vitald {
namespace {

constexpr unsigned kConnections = 256;
// To say a request. Between requests longer than the usual scrape interval, so that a server's connection stays.
constexpr unsigned kRequestSeconds = 10, kIdleSeconds = 120;
constexpr std::size_t kRequestBytes = 16 * 1024;  // request line and headers; more is answered with 431
// A collection takes a fraction of a millisecond. One that takes this long may never end.
constexpr std::int64_t kOverdueNs = 250'000'000;
constexpr std::int64_t kJoinNs = 2'000'000'000;
constexpr std::size_t kBodyBytes = 64 * 1024;  // nothing here reads a body

using MhdDaemon = Handle<MHD_Daemon, &MHD_stop_daemon>;
using Body = std::shared_ptr<const std::string>;

MHD_Result collect_pair(void* into, MHD_ValueKind, const char* key, const char* value) {
  static_cast<std::vector<std::pair<std::string, std::string>>*>(into)->emplace_back(key, value ? value : "");
  return MHD_YES;
}

void free_body(void* body) { delete static_cast<Body*>(body); }

using Headers = std::vector<std::pair<std::string, std::string>>;

MHD_Result send(MHD_Connection* connection, const Response& response, const Headers& always) {
  auto* kept = new Body(response.body);
  // MHD only reads it, whatever the parameter's type says.
  auto* bytes = const_cast<char*>((*kept)->data());
  MHD_Response* made = MHD_create_response_from_buffer_with_free_callback_cls((*kept)->size(), bytes, &free_body, kept);
  if (!made) {
    delete kept;
    return MHD_NO;
  }
  MHD_add_response_header(made, MHD_HTTP_HEADER_CONTENT_TYPE, response.content_type.c_str());
  for (const auto* list : {&response.headers, &always})
    for (const auto& [name, value] : *list) MHD_add_response_header(made, name.c_str(), value.c_str());
  const auto queued = MHD_queue_response(connection, static_cast<unsigned>(response.status), made);
  MHD_destroy_response(made);
  return queued;
}

}  // namespace

struct Server::Impl {
  // One request, from its headers to its last byte.
  struct Exchange {
    Request request;
    std::optional<MetricsHandler::Scrape> scrape;
    MHD_Connection* connection = nullptr;
    std::size_t body_bytes = 0;
    bool counted = false, admitted = false;  // by the gate
  };

  Impl(std::vector<Listener> l, SiteSource s, MetricsHandler::Settings settings, MetricsSource source, const Clock& c,
       std::unique_ptr<Gate> g)
      : listeners(std::move(l)),
        site(std::move(s)),
        metrics(settings, source, c),
        collect(source.collect),
        clock(c),
        gate(std::move(g)),
        wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        overdue(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
        ending(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (gate) gate->set_wake(wake.get());
  }

  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url, const char* method,
                               const char* /*version*/, const char* /*upload*/, std::size_t* upload_size,
                               void** state) {
    auto& impl = *static_cast<Impl*>(self);
    try {
      auto* exchange = static_cast<Exchange*>(*state);
      if (!exchange) {
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, kRequestSeconds);
        *state = begin(impl, connection, url, method).release();
        return MHD_YES;
      }
      if (*upload_size == 0) return impl.answer(*exchange);
      exchange->body_bytes += *upload_size;
      *upload_size = 0;
      return exchange->body_bytes > kBodyBytes ? MHD_NO : MHD_YES;
    } catch (const std::exception& e) {  // must not go through libmicrohttpd's C
      log::error("bug, please report: exception in a handler", {{"path", url}, {"err", e.what()}});
      return MHD_NO;
    }
  }

  static std::unique_ptr<Exchange> begin(const Impl& impl, MHD_Connection* connection, const char* url,
                                         const char* method) {
    auto exchange = std::make_unique<Exchange>();
    exchange->connection = connection;
    auto& request = exchange->request;
    request.method = method;
    request.path = url;
    request.arrived_boot_ns = impl.round_boot_ns;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &collect_pair, &request.headers);
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &collect_pair, &request.query);
    return exchange;
  }

  static void on_completed(void* self, MHD_Connection* connection, void** state, MHD_RequestTerminationCode) {
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, kIdleSeconds);
    auto* exchange = static_cast<Exchange*>(*state);
    if (!exchange) return;
    static_cast<Impl*>(self)->waiting.remove(exchange);
    static_cast<Impl*>(self)->unproved.remove(exchange);
    delete exchange;
    *state = nullptr;
  }

  // Before the handshake of every connection: today's certificate, and what is asked of the client.
  static void on_connection(void* self, MHD_Connection* connection, void** kept, MHD_ConnectionNotificationCode code) {
    using Credentials = std::shared_ptr<const TlsCredentials>;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
      delete static_cast<Credentials*>(*kept);
      *kept = nullptr;
      return;
    }
    auto credentials = static_cast<Impl*>(self)->gate->credentials();
    auto* session = static_cast<gnutls_session_t>(
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session);
    // Without credentials of its own a session has none at all, and its handshake fails.
    if (const auto given = credentials->give_to(session); !given) log::error("TLS", {{"err", given.error().text}});
    else *kept = new Credentials(std::move(credentials));
  }

  MHD_Result reply(const Exchange& exchange, const Response& response) const {
    static const Headers kNone;
    return send(exchange.connection, response, gate ? gate->headers() : kNone);
  }

  // What the gate says, once a request; until then nothing else looks at it.
  Gate::Decision pass(Exchange& exchange) {
    if (!gate || exchange.admitted) return {};
    if (!exchange.counted)
      if (auto response = gate->limit(clock.boot_ns())) return {false, std::move(response)};
    exchange.counted = true;
    auto decision = gate->admit(exchange.request);
    if (decision.pending && stopping) return {false, text_response(503, "vitald is ending\n")};
    exchange.admitted = !decision.pending && !decision.refusal;
    return decision;
  }

  MHD_Result answer(Exchange& exchange) {
    if (const auto decision = pass(exchange); decision.refusal) {
      count(decision.refusal->status);
      return reply(exchange, *decision.refusal);
    } else if (decision.pending) {
      MHD_suspend_connection(exchange.connection);
      unproved.push_back(&exchange);
      return MHD_YES;
    }
    if (exchange.request.path != site.metrics_path) {
      const auto response = handle(exchange.request, site);
      count(response.status);
      return reply(exchange, response);
    }
    if (!is_read(exchange.request)) return reply(exchange, method_not_allowed("GET, HEAD"));
    if (!exchange.scrape) exchange.scrape.emplace(metrics, exchange.request);
    if (const auto response = exchange.scrape->answer()) return reply(exchange, *response);
    if (stopping) return reply(exchange, text_response(503, "vitald is ending\n"));
    MHD_suspend_connection(exchange.connection);
    waiting.push_back(&exchange);
    return MHD_YES;
  }

  // Lets the gate look again at those whose password was being compared.
  void resume_unproved() {
    for (const auto* exchange : unproved) MHD_resume_connection(exchange->connection);
    unproved.clear();
  }

  // Lets the handler of all, or of those whose deadline has come, look again.
  void resume(bool all) {
    const auto now = all ? std::numeric_limits<std::int64_t>::max() : clock.boot_ns();
    for (auto it = waiting.begin(); it != waiting.end();) {
      auto* exchange = *it;
      if (exchange->scrape->deadline_boot_ns() > now) {
        ++it;
        continue;
      }
      it = waiting.erase(it);
      MHD_resume_connection(exchange->connection);
    }
  }

  [[nodiscard]] int timeout_ms() const {
    std::int64_t ms = -1;
    const auto earlier = [&ms](std::int64_t t) { ms = ms < 0 ? t : std::min(ms, t); };
    for (const auto& d : daemons) {
      MHD_UNSIGNED_LONG_LONG t;
      if (MHD_get_timeout(d.get(), &t) == MHD_YES) earlier(static_cast<std::int64_t>(t));
    }
    for (const auto* exchange : waiting)
      earlier(
          std::max<std::int64_t>(0, (exchange->scrape->deadline_boot_ns() - clock.boot_ns() + 999'999) / 1'000'000));
    return static_cast<int>(std::min<std::int64_t>(ms, 3'600'000));
  }

  static void signal(const Fd& event) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = write(event.get(), &one, sizeof one);  // full only when already signalled
  }

  void alarm(std::int64_t after_ns) const {  // 0: none
    const itimerspec at{{0, 0}, {after_ns / 1'000'000'000, after_ns % 1'000'000'000}};
    timerfd_settime(overdue.get(), 0, &at, nullptr);
  }

  // Collects for those who wait. False when it took so long that the other thread leads now: this one must
  // not touch anything any more.
  bool collect_here(int me) {
    std::int64_t fresh_ns = 0;
    for (const auto* exchange : waiting) fresh_ns = std::max(fresh_ns, exchange->scrape->fresh_boot_ns());
    {
      const std::lock_guard lock(lead);
      collecting = true;
      alarm(kOverdueNs);
    }
    bool done = collect(fresh_ns);
    {
      const std::lock_guard lock(lead);
      if (leader != me) return false;
      collecting = false;
      alarm(0);
    }
    if (!done) {              // another thread is at it
      somebody_waits = true;  // before the look: what is published after it wakes us
      done = metrics.has_since(fresh_ns);
      if (done) somebody_waits = false;
    }
    if (done) resume(true);
    return true;
  }

  // Sleeps until the other thread has been collecting for too long; then this one leads.
  void guard(int me) {
    pollfd fds[] = {{overdue.get(), POLLIN, 0}, {ending.get(), POLLIN, 0}};
    poll(fds, 2, -1);
    const std::lock_guard lock(lead);
    // Under the lock: the alarm may have been taken back, or set anew for the next collection, meanwhile.
    std::uint64_t n;
    if (stopping || !collecting || read(overdue.get(), &n, sizeof n) < 0) return;
    log::warn("a collection hangs; scrapes get the last snapshot until it ends");
    leader = me;
    collecting = false;  // this thread runs none
  }

  void run(int me) {
    pthread_setname_np(pthread_self(), me == 0 ? "http-0" : "http-1");
    while (!stopping.load()) {
      if (leads(me)) serve(me);
      else guard(me);
    }
  }

  template <int Me>
  static void* run_as(void* self) {
    static_cast<Impl*>(self)->run(Me);
    return nullptr;
  }

  bool leads(int me) {
    const std::lock_guard lock(lead);
    return leader == me;
  }

  // At its limit of connections MHD does not listen, and begins again only in the call after the one in which
  // some ended. Nothing else may ever wake the loop for that.
  void run_daemons() const {
    for (const auto& d : daemons) {
      const bool full = connections(*d) >= kConnections;
      MHD_run(d.get());
      if (full && connections(*d) < kConnections) MHD_run(d.get());
    }
  }
  static unsigned connections(MHD_Daemon& daemon) {
    return MHD_get_daemon_info(&daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
  }

  // The loop, for as long as this thread leads.
  void serve(int me) {
    signal(wake);  // look at once: at what was published while the lead changed hands, and at whoever waits
    std::vector<pollfd> fds{{wake.get(), POLLIN, 0}};
    for (const auto& d : daemons)
      fds.push_back({MHD_get_daemon_info(d.get(), MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, POLLIN, 0});
    while (!stopping.load()) {
      const int timeout = timeout_ms();
      fds[0].revents = 0;
      if (timeout != 0 || !waiting.empty()) poll(fds.data(), fds.size(), timeout);
      if (fds[0].revents) {
        std::uint64_t n;
        [[maybe_unused]] const auto got = read(wake.get(), &n, sizeof n);
        if (const auto ns = new_max_age_ns.exchange(-1); ns >= 0) metrics.set_max_age(ns);
        resume(true);
        resume_unproved();
      } else if (!waiting.empty()) {
        resume(false);
      }
      round_boot_ns = clock.boot_ns();
      run_daemons();
      if (!waiting.empty() && !somebody_waits) {
        if (!collect_here(me)) return;
        run_daemons();
      }
    }
    resume(true);  // MHD wants none suspended when it ends
    resume_unproved();
    run_daemons();
    daemons.clear();
  }

  static void count(int status) {
    instruments()
        .counter("vitald_http_requests_total", "Requests for anything but the metrics, by HTTP status.",
                 {{"code", std::to_string(status)}})
        .Increment();
  }
  std::vector<Listener> listeners;
  SiteSource site;
  MetricsHandler metrics;
  std::function<bool(std::int64_t)> collect;
  const Clock& clock;
  const std::unique_ptr<Gate> gate;  // null: everybody, over plain HTTP
  Fd wake;
  Fd overdue;  // timerfd
  Fd ending;   // stays readable
  std::mutex lead;
  int leader = 0;           // guarded by lead: which of the two threads runs the loop
  bool collecting = false;  // guarded by lead: it runs a collection just now
  std::atomic<bool> stopping{false}, somebody_waits{false};
  // When this round of the loop began: the arrival time of every request it reads, so that those which come
  // together share one collection.
  std::int64_t round_boot_ns = 0;
  std::atomic<std::int64_t> new_max_age_ns{-1};
  std::list<Exchange*> waiting, unproved;
  std::vector<MhdDaemon> daemons;
  std::optional<pthread_t> threads[2];
};

Server::Server(std::vector<Listener> listeners, SiteSource site, MetricsHandler::Settings settings,
               MetricsSource source, const Clock& clock, std::unique_ptr<Gate> gate)
    : impl_(std::make_unique<Impl>(std::move(listeners), std::move(site), settings, std::move(source), clock,
                                   std::move(gate))) {}

Server::~Server() {
  if (stop(kJoinNs)) return;
  for (auto& thread : impl_->threads)
    if (thread) pthread_detach(*thread);
  [[maybe_unused]] const auto* kept_for_the_stuck_one = impl_.release();
}

Result<> Server::start() {
  const bool tls = impl_->gate && impl_->gate->tls();
  // Each session gets its certificate in on_connection(); libmicrohttpd wants to know of one beforehand.
  const auto no_certificate = [](gnutls_session_t, const gnutls_datum_t*, int, const gnutls_pk_algorithm_t*, int,
                                 gnutls_pcert_st**, unsigned*, gnutls_privkey_t*) { return -1; };
  gnutls_certificate_retrieve_function2* const retrieve = no_certificate;
  MHD_OptionItem tls_options[] = {
      {MHD_OPTION_NOTIFY_CONNECTION, reinterpret_cast<std::intptr_t>(&Impl::on_connection), impl_.get()},
      {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, reinterpret_cast<void*>(retrieve)},
      {MHD_OPTION_END, 0, nullptr}};
  const MHD_OptionItem plain = tls_options[2];
  const unsigned flags = MHD_USE_EPOLL | MHD_USE_TURBO | MHD_ALLOW_SUSPEND_RESUME | (tls ? unsigned{MHD_USE_TLS} : 0U);
  for (const auto& listener : impl_->listeners) {
    MhdDaemon daemon(MHD_start_daemon(
        flags, 0, nullptr, nullptr, &Impl::on_request, impl_.get(), MHD_OPTION_LISTEN_SOCKET, listener.fd.get(),
        MHD_OPTION_CONNECTION_LIMIT, kConnections, MHD_OPTION_CONNECTION_TIMEOUT, kRequestSeconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, kRequestBytes, MHD_OPTION_NOTIFY_COMPLETED, &Impl::on_completed,
        impl_.get(), MHD_OPTION_ARRAY, tls ? tls_options : &plain, MHD_OPTION_END));
    if (!daemon) return fail(from_errno(fmt::format("HTTP server on {}", listener.address), errno));
    impl_->daemons.push_back(std::move(daemon));
  }
  // MHD closes the listening sockets itself when it stops.
  for (auto& listener : impl_->listeners) [[maybe_unused]] const int handed_over = listener.fd.release();
  // Not std::thread: only pthread_timedjoin_np() can give up on a thread that hangs (and ThreadSanitizer
  // knows no pthread_clockjoin_np()).
  static constexpr void* (*kRun[])(void*) = {&Impl::run_as<0>, &Impl::run_as<1>};
  for (std::size_t i = 0; i < 2; ++i)
    if (const int err = pthread_create(&impl_->threads[i].emplace(), nullptr, kRun[i], impl_.get()); err != 0) {
      impl_->threads[i].reset();
      return fail(from_errno("HTTP server: thread", err));
    }
  return {};
}

bool Server::stop(std::int64_t patience_ns) {
  impl_->stopping = true;
  Impl::signal(impl_->wake);
  Impl::signal(impl_->ending);
  const auto until_ns = SystemClock::read(CLOCK_REALTIME) + patience_ns;
  const timespec until{until_ns / 1'000'000'000, until_ns % 1'000'000'000};
  bool all = true;
  for (auto& thread : impl_->threads) {
    if (!thread) continue;
    if (pthread_timedjoin_np(*thread, nullptr, &until) == 0) thread.reset();
    else all = false;
  }
  return all;
}

void Server::published() {
  if (impl_->somebody_waits.exchange(false)) Impl::signal(impl_->wake);
}

void Server::set_max_age(std::int64_t ns) {
  impl_->new_max_age_ns = ns;
  Impl::signal(impl_->wake);
}

}  // namespace vitald
