// SPDX-License-Identifier: Apache-2.0
#include "agent/http/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "core/instruments.h"
#include "core/log.h"
#include "core/os/descriptors.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// When fewer than an eighth of them are free, the least useful are closed. A client has this long to say
// something first: 250 ms are a few round trips. Four times as long it has, once max-requests are being answered, to
// take its answer.
constexpr std::int64_t kGraceNs = 250'000'000;
// To say a request. Between requests longer than the usual scrape interval, so that a server's connection stays.
constexpr unsigned kRequestSeconds = 10, kIdleSeconds = 120;
constexpr std::size_t kRequestBytes = 16 * 1024;  // request line and headers; more is answered with 431
// A collection takes a fraction of a millisecond. One that takes this long may never end.
constexpr std::int64_t kOverdueNs = 250'000'000;
// A reload reads files, and these may lie on a server that does not answer.
constexpr std::int64_t kReloadNs = 30'000'000'000;
constexpr std::ptrdiff_t kReloads = 8;  // that wait
// See spins().
constexpr int kRoundsForNothing = 8, kSpinMs = 20;
// So long there must have been descriptors again before files are kept open again.
constexpr std::int64_t kShortNs = 10'000'000'000;
constexpr std::int64_t kJoinNs = 2'000'000'000;
constexpr std::size_t kBodyBytes = 64 * 1024;  // nothing here reads a body

using MhdDaemon = Handle<MHD_Daemon, &MHD_stop_daemon>;
using Body = std::shared_ptr<const std::string>;

MHD_Result collect_pair(void* into, MHD_ValueKind, const char* key, const char* value) {
  static_cast<std::vector<std::pair<std::string, std::string>>*>(into)->emplace_back(key, value ? value : "");
  return MHD_YES;
}

// "http://web1:9100/metrics" is what a proxy may send (RFC 9112, 3.2.2).
std::string_view path_of(std::string_view target) {
  if (!target.starts_with("http://") && !target.starts_with("https://")) return target;
  const auto slash = target.find('/', target.find("//") + 2);
  return slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
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
  struct Exchange;

  // One connection. `kept` of on_connection() points to it.
  struct Peer {
    MHD_Connection* connection = nullptr;
    MHD_Daemon* daemon = nullptr;
    std::int64_t since_boot_ns = 0;  // it was accepted, began its last request or ended it
    // Whom to close first: who never said a whole request; who waits to say another one; who does not read.
    enum class Rank : std::uint8_t { stranger, idle, slow } rank = Rank::stranger;
    bool suspended = false, closing = false;
    Exchange* exchange = nullptr;                       // the request that is being answered
    std::shared_ptr<const TlsCredentials> credentials;  // as long as the session
    std::list<Peer>::iterator self;
  };

  // Outlives the request, and the server as well.
  struct Reload {
    explicit Reload(std::shared_ptr<const Fd> event) : wake(std::move(event)) {}
    std::shared_ptr<const Fd> wake;
    std::vector<std::string> problems;
    std::atomic<bool> done{false};  // after `problems`
  };

  // One request, from its headers to its last byte.
  struct Exchange {
    Request request;
    std::optional<MetricsHandler::Scrape> scrape;
    MHD_Connection* connection = nullptr;
    Peer* peer = nullptr;
    std::size_t body_bytes = 0;
    std::shared_ptr<Reload> reload;
    std::int64_t until_boot_ns = std::numeric_limits<std::int64_t>::max();  // of one that is parked
    bool counted = false, admitted = false;                                 // by the gate
  };

  Impl(std::vector<Listener> l, SiteSource s, MetricsHandler::Settings settings, MetricsSource source, const Clock& c,
       std::unique_ptr<Gate> g)
      : listeners(std::move(l)),
        site(std::move(s)),
        metrics(settings, source, c),
        collect(source.collect),
        clock(c),
        gate(std::move(g)),
        tls(gate && gate->tls()),
        wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        reload_wake(std::make_shared<const Fd>(fcntl(wake.get(), F_DUPFD_CLOEXEC, 0))),
        overdue(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
        ending(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (gate) gate->set_wake(wake.get());
  }

  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url, const char* method,
                               const char* /*version*/, const char* /*upload*/, std::size_t* upload_size,
                               void** state) {
    auto& impl = *static_cast<Impl*>(self);
    ++impl.progress;
    try {
      auto* exchange = static_cast<Exchange*>(*state);
      if (!exchange) {
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, kRequestSeconds);
        auto begun = begin(impl, connection, url, method);
        const auto length = parse_u64(begun->request.header("Content-Length"));
        exchange = begun.release();
        *state = exchange;
        exchange->peer->exchange = exchange;
        // Said before the body comes: a client that still sends it would see a broken connection only.
        if (length.value_or(0) > kBodyBytes) {
          count(413);
          return impl.reply(*exchange, text_response(413, fmt::format("a body of more than {} bytes\n", kBodyBytes)));
        }
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

  static std::unique_ptr<Exchange> begin(Impl& impl, MHD_Connection* connection, const char* url, const char* method) {
    auto exchange = std::make_unique<Exchange>();
    exchange->connection = connection;
    exchange->peer = impl.peer_of(connection);
    impl.moved(*exchange->peer, Peer::Rank::slow);
    auto& request = exchange->request;
    request.method = method;
    request.path = path_of(url);
    request.arrived_boot_ns = impl.round_boot_ns;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, &collect_pair, &request.headers);
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &collect_pair, &request.query);
    return exchange;
  }

  static void on_completed(void* self, MHD_Connection* connection, void** state, MHD_RequestTerminationCode) {
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, kIdleSeconds);
    auto* exchange = static_cast<Exchange*>(*state);
    if (!exchange) return;
    static_cast<Impl*>(self)->moved(*exchange->peer, Peer::Rank::idle);
    exchange->peer->exchange = nullptr;
    static_cast<Impl*>(self)->waiting.remove(exchange);
    static_cast<Impl*>(self)->parked.remove(exchange);
    delete exchange;
    *state = nullptr;
  }

  static void on_connection(void* self, MHD_Connection* connection, void** kept, MHD_ConnectionNotificationCode code) {
    auto& impl = *static_cast<Impl*>(self);
    ++impl.progress;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
      impl.peers.erase(static_cast<Peer*>(*kept)->self);
      *kept = nullptr;
      return;
    }
    auto& peer = impl.peers.emplace_back();
    *kept = &peer;
    peer.self = std::prev(impl.peers.end());
    peer.connection = connection;
    peer.daemon = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_DAEMON)->daemon;
    peer.since_boot_ns = impl.clock.boot_ns();
    if (!impl.tls) return;
    // Before the handshake: today's certificate, and what is asked of the client.
    auto credentials = impl.gate->credentials();
    auto* session = static_cast<gnutls_session_t>(
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session);
    // Without credentials of its own a session has none at all, and its handshake fails.
    if (const auto given = credentials->give_to(session); !given) log::error("TLS", {{"err", given.error().text}});
    else peer.credentials = std::move(credentials);
  }

  static Peer* peer_of(MHD_Connection* connection) {
    return static_cast<Peer*>(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);
  }

  void moved(Peer& peer, Peer::Rank rank) {
    peer.rank = rank;
    peer.since_boot_ns = clock.boot_ns();
    peers.splice(peers.end(), peers, peer.self);
  }

  void suspend(const Exchange& exchange) {
    MHD_suspend_connection(exchange.connection);
    exchange.peer->suspended = true;
  }
  void resume(const Exchange& exchange) {
    exchange.peer->suspended = false;
    moved(*exchange.peer, Peer::Rank::slow);
    MHD_resume_connection(exchange.connection);
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
      return park(exchange);
    }
    if (is_reload(exchange.request)) return reload(exchange);
    if (exchange.request.path != site.metrics_path) {
      const auto response = handle(exchange.request, site);
      count(response.status);
      return reply(exchange, response);
    }
    if (!is_read(exchange.request)) return reply(exchange, method_not_allowed("GET, HEAD"));
    if (!exchange.scrape) {
      if (metrics.full()) close_slow_scrapes();
      exchange.scrape.emplace(metrics, exchange.request);
    }
    if (const auto response = exchange.scrape->answer()) return reply(exchange, *response);
    if (stopping) return reply(exchange, text_response(503, "vitald is ending\n"));
    suspend(exchange);
    waiting.push_back(&exchange);
    return MHD_YES;
  }

  MHD_Result park(Exchange& exchange) {
    suspend(exchange);
    parked.push_back(&exchange);
    return MHD_YES;
  }

  MHD_Result reload(Exchange& exchange) {
    const auto answered = [&](const Response& response) {
      count(response.status);
      return reply(exchange, response);
    };
    if (!exchange.reload) {
      // They hold their connections for as long as it takes.
      if (std::ranges::count_if(parked, [](const auto* e) { return e->reload != nullptr; }) >= kReloads)
        return answered(text_response(503, "others wait for a reload already\n"));
      exchange.reload = std::make_shared<Reload>(reload_wake);
      exchange.until_boot_ns = clock.boot_ns() + kReloadNs;
      site.reload([kept = exchange.reload](const std::vector<std::string>& problems) {
        kept->problems = problems;
        kept->done = true;
        signal(*kept->wake);
      });
    }
    if (exchange.reload->done) return answered(reloaded(exchange.reload->problems));
    if (stopping) return answered(text_response(503, "vitald is ending\n"));
    if (clock.boot_ns() < exchange.until_boot_ns) return park(exchange);
    return answered(text_response(504,
                                  "a file of the configuration cannot be read yet; what was in force stays until "
                                  "it can, and the log will say so\n"));
  }

  // Lets the handler look again at those who wait for something else than a snapshot: for their password to be
  // compared, or for a reload.
  void resume_parked(bool all) {
    const auto now = all ? std::numeric_limits<std::int64_t>::max() : clock.boot_ns();
    for (auto it = parked.begin(); it != parked.end();) {
      auto* exchange = *it;
      if (exchange->until_boot_ns > now) {
        ++it;
        continue;
      }
      it = parked.erase(it);
      resume(*exchange);
    }
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
      resume(*exchange);
    }
  }

  [[nodiscard]] int timeout_ms() const {
    std::int64_t ms = -1;
    const auto earlier = [&ms](std::int64_t t) { ms = ms < 0 ? t : std::min(ms, t); };
    for (const auto& d : daemons) {
      MHD_UNSIGNED_LONG_LONG t;
      if (MHD_get_timeout(d.get(), &t) == MHD_YES) earlier(static_cast<std::int64_t>(t));
    }
    const auto now = waiting.empty() && parked.empty() ? 0 : clock.boot_ns();
    const auto until = [&](std::int64_t boot_ns) {
      earlier(std::max<std::int64_t>(0, (boot_ns - now + 999'999) / 1'000'000));
    };
    for (const auto* exchange : waiting) until(exchange->scrape->deadline_boot_ns());
    for (const auto* exchange : parked)
      if (exchange->reload) until(exchange->until_boot_ns);
    if (crowded) earlier(kGraceNs / 5 / 1'000'000);
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
  bool collect_here(int me, std::int64_t fresh_ns = 0) {
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

  // Whoever holds connections and says nothing does not keep others out. Strangers go as soon as it becomes
  // crowded, a client that keeps its connection for the next scrape, or reads slowly, only for another one.
  void make_room(MHD_Daemon& daemon, unsigned most_with_strangers, unsigned most_without) {
    auto open = connections(daemon);
    for (const auto& peer : peers) open -= peer.daemon == &daemon && peer.closing ? 1 : 0;
    for (const auto rank : {Peer::Rank::stranger, Peer::Rank::idle, Peer::Rank::slow})
      for (auto& peer : peers) {
        if (open <= (rank == Peer::Rank::stranger ? most_with_strangers : most_without)) break;
        if (peer.daemon != &daemon || peer.rank != rank || peer.suspended || peer.closing) continue;
        if (round_boot_ns - peer.since_boot_ns < kGraceNs) continue;
        close(peer);
        --open;
      }
  }

  // MHD sees it in its next round, and ends the connection in all the ways that this needs.
  static void close(Peer& peer) {
    shutdown(MHD_get_connection_info(peer.connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd, SHUT_RDWR);
    peer.closing = true;
    if (peer.exchange) peer.exchange->scrape.reset();
  }

  // Those who have an answer and do not take it are no reason to refuse another scrape.
  void close_slow_scrapes() {
    for (auto& peer : peers) {
      if (!metrics.full() || round_boot_ns - peer.since_boot_ns < 4 * kGraceNs) return;
      if (peer.exchange && peer.exchange->scrape && !peer.suspended && !peer.closing) close(peer);
    }
  }
  [[nodiscard]] unsigned roomy() const { return most - std::max(most / 8, 1U); }

  // At its limit of connections MHD does not listen, and begins again only in the call after the one in which
  // some ended. Nothing else may ever wake the loop for that.
  void run_daemons() {
    crowded = false;
    for (const auto& d : daemons) {
      const auto before = connections(*d);
      if (before > roomy()) make_room(*d, roomy(), most - 1);
      MHD_run(d.get());
      if (before >= most && connections(*d) < most) MHD_run(d.get());
      crowded = crowded || may_close_soon(*d);
    }
  }
  // Whether somebody can be closed when his time is over; nothing else would wake the loop for that.
  bool may_close_soon(MHD_Daemon& daemon) {
    const auto open = connections(daemon);
    if (open <= roomy()) return false;
    return std::ranges::any_of(peers, [&](const Peer& peer) {
      if (peer.daemon != &daemon || peer.suspended || peer.closing) return false;
      return peer.rank == Peer::Rank::stranger || (open >= most && round_boot_ns - peer.since_boot_ns < kGraceNs);
    });
  }
  static unsigned connections(MHD_Daemon& daemon) {
    return MHD_get_daemon_info(&daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
  }

  // No descriptor is left for a client: the limit was lowered, or the whole machine has none. Then collectors keep
  // none any more, which the collection that follows sees to. MHD accepts again only when a connection ends, and
  // without any connection it would try and fail at full speed. False as with collect_here().
  bool survive_without_descriptors(int me, bool suspicious) {
    if (!stalled && !suspicious && round_boot_ns < look_again_boot_ns) return true;
    look_again_boot_ns = round_boot_ns + 1'000'000'000;
    constexpr int kNone = std::numeric_limits<int>::max();
    if (!stalled) {
      if (next_descriptor() != kNone) {
        if (kept_below && round_boot_ns - short_boot_ns > kShortNs) keep_descriptors_again();
        return true;
      }
      short_boot_ns = round_boot_ns;
      if (!kept_below) kept_below = descriptors_kept_below();
      keep_descriptors_below(0);
      if (!collect_here(me, round_boot_ns)) return false;
    }
    stalled = false;
    for (const auto& d : daemons) {
      const auto before = connections(*d);
      if (before > 0) make_room(*d, 0, before - 1);
      MHD_run(d.get());
      if (before > 0 && connections(*d) >= before) stalled = true;
      else MHD_run(d.get());  // see run_daemons()
    }
    stalled = stalled || next_descriptor() == kNone;
    if (!stalled) return true;
    crowded = true;  // look again soon
    pollfd woken{wake.get(), POLLIN, 0};
    poll(&woken, 1, 50);
    return true;
  }

  // While a TLS client keeps silent in the middle of its handshake, libmicrohttpd takes its socket for readable and
  // wants to be called again at once, for ever; nor does its timeout end such a connection. What it is really to be
  // called for comes as an event.
  [[nodiscard]] bool spins() const {
    return tls && rounds_for_nothing > kRoundsForNothing &&
           std::ranges::none_of(peers, [](const Peer& p) { return p.exchange && !p.suspended; });
  }
  void close_silent_handshakes() {
    for (auto& peer : peers) {
      if (round_boot_ns - peer.since_boot_ns < kRequestSeconds * std::int64_t{1'000'000'000}) return;
      if (peer.rank == Peer::Rank::stranger && !peer.closing) close(peer);
    }
  }

  void keep_descriptors_again() {
    rlimit limit{};  // it may have been lowered
    const bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0;
    const auto two_thirds = known ? std::min<rlim_t>(limit.rlim_cur, 1 << 20) / 3 * 2 : 0;
    keep_descriptors_below(std::min(*kept_below, static_cast<int>(two_thirds)));
    kept_below.reset();
  }

  // The loop, for as long as this thread leads.
  void serve(int me) {
    signal(wake);  // look at once: at what was published while the lead changed hands, and at whoever waits
    std::vector<pollfd> fds{{wake.get(), POLLIN, 0}};
    for (const auto& d : daemons)
      fds.push_back({MHD_get_daemon_info(d.get(), MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, POLLIN, 0});
    while (!stopping.load()) {
      const int timeout = spins() ? kSpinMs : timeout_ms();
      for (auto& fd : fds) fd.revents = 0;
      if (timeout != 0 || !waiting.empty() || !parked.empty()) poll(fds.data(), fds.size(), timeout);
      if (fds[0].revents) {
        std::uint64_t n;
        [[maybe_unused]] const auto got = read(wake.get(), &n, sizeof n);
        if (const auto ns = new_max_age_ns.exchange(-1); ns >= 0) metrics.set_max_age(ns);
        resume(true);
        resume_parked(true);
      } else {
        if (!waiting.empty()) resume(false);
        if (!parked.empty()) resume_parked(false);
      }
      round_boot_ns = clock.boot_ns();
      const auto before = progress;
      run_daemons();
      if (!waiting.empty() && !somebody_waits) {
        if (!collect_here(me)) return;
        run_daemons();
      }
      const bool woken = std::ranges::any_of(fds, [](const auto& fd) { return fd.revents; });
      const bool in_vain = progress == before && woken;
      rounds_for_nothing = progress == before && !woken ? rounds_for_nothing + 1 : 0;
      if (tls) close_silent_handshakes();
      if (!survive_without_descriptors(me, in_vain)) return;
    }
    resume(true);  // MHD wants none suspended when it ends
    resume_parked(true);
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
  const bool tls;
  Fd wake;
  std::shared_ptr<const Fd> reload_wake;  // the same
  Fd overdue;                             // timerfd
  Fd ending;                              // stays readable
  std::mutex lead;
  int leader = 0;           // guarded by lead: which of the two threads runs the loop
  bool collecting = false;  // guarded by lead: it runs a collection just now
  std::atomic<bool> stopping{false}, somebody_waits{false};
  // When this round of the loop began: the arrival time of every request it reads, so that those which come
  // together share one collection.
  std::int64_t round_boot_ns = 0;
  std::atomic<std::int64_t> new_max_age_ns{-1};
  std::uint64_t progress = 0;  // connections and requests that began or ended
  bool stalled = false;        // no descriptor was left to accept with
  std::int64_t look_again_boot_ns = 0, short_boot_ns = 0;
  std::optional<int> kept_below;  // what descriptors were kept below until there were none
  std::list<Peer> peers;          // who was last heard of longest ago comes first
  bool crowded = false;
  int rounds_for_nothing = 0;  // one after the other, without an event before or progress in them
  unsigned most = 0;           // connections at each listener
  std::list<Exchange*> waiting, parked;
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

Result<> Server::start(unsigned most) {
  impl_->most = most;
  const bool tls = impl_->tls;
  // Each session gets its certificate in on_connection(); libmicrohttpd wants to know of one beforehand.
  const auto no_certificate = [](gnutls_session_t, const gnutls_datum_t*, int, const gnutls_pk_algorithm_t*, int,
                                 gnutls_pcert_st**, unsigned*, gnutls_privkey_t*) { return -1; };
  gnutls_certificate_retrieve_function2* const retrieve = no_certificate;
  MHD_OptionItem tls_options[] = {{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, reinterpret_cast<void*>(retrieve)},
                                  {MHD_OPTION_END, 0, nullptr}};
  const MHD_OptionItem plain = tls_options[1];
  const unsigned flags = MHD_USE_EPOLL | MHD_USE_TURBO | MHD_ALLOW_SUSPEND_RESUME | (tls ? unsigned{MHD_USE_TLS} : 0U);
  for (const auto& listener : impl_->listeners) {
    MhdDaemon daemon(MHD_start_daemon(
        flags, 0, nullptr, nullptr, &Impl::on_request, impl_.get(), MHD_OPTION_LISTEN_SOCKET, listener.fd.get(),
        MHD_OPTION_CONNECTION_LIMIT, most, MHD_OPTION_CONNECTION_TIMEOUT, kRequestSeconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, kRequestBytes, MHD_OPTION_NOTIFY_COMPLETED, &Impl::on_completed,
        impl_.get(), MHD_OPTION_NOTIFY_CONNECTION, &Impl::on_connection, impl_.get(), MHD_OPTION_ARRAY,
        tls ? tls_options : &plain, MHD_OPTION_END));
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
