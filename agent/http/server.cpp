// SPDX-License-Identifier: Apache-2.0
#include "agent/http/server.h"

#include <fmt/format.h>
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <poll.h>
#include <strings.h>

#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "agent/http/browser_headers.h"
#include "agent/http/lead.h"
#include "agent/http/outgoing.h"
#include "agent/http/parting.h"
#include "agent/http/peers.h"
#include "agent/http/shortage.h"
#include "agent/http/strict.h"
#include "agent/http/waiting.h"
#include "agent/os/memory.h"
#include "core/instruments.h"
#include "core/log.h"
#include "core/text/scan.h"

namespace vitald {

// One request, from its headers to its last byte.
struct Exchange {
  Request request;
  MHD_Connection* connection = nullptr;
  Peer* peer = nullptr;
  std::size_t body_limit = 0, body_bytes = 0;  // of what came, whether it is kept or not
  bool keep_body = false;
  bool chunked = false;
  std::unique_ptr<Pending> pending;  // until the last byte of its answer was sent
  std::optional<Response> response;  // what it answered while the connection was suspended
  bool failed = false;               // an exception instead
  bool replied = false;              // the library sends what it answers
  std::int64_t goodbye_boot_ns = 0;  // the answer was sent before its body was at its end; 0: not
};

namespace {

constexpr std::size_t kRequestBytes = 16 * 1024;  // request line and headers; more is answered with 431
constexpr std::size_t kIgnoredBytes = 64 * 1024;  // of a body that nobody reads
// Of a body without a length that is too long: read on for so long, so that its sender is there to read the answer.
constexpr std::size_t kWastedBytes = 16 << 20;
constexpr std::int64_t kGoodbyeNs = 5'000'000'000;
// See spins().
constexpr int kRoundsForNothing = 8, kSpinMs = 20;
// See run_daemons().
constexpr unsigned kTakenAtOnce = 10;
constexpr std::int64_t kMostTakingNs = 50'000'000;
constexpr std::int64_t kJoinNs = 2'000'000'000, kSecond = 1'000'000'000;

using MhdDaemon = Handle<MHD_Daemon, &MHD_stop_daemon>;
using Body = std::shared_ptr<const std::string>;
using Headers = std::vector<std::pair<std::string, std::string>>;

// An exception must not go through libmicrohttpd's C.
template <class R, class F>
R guarded(const char* where, R otherwise, const F& f) {
  try {
    return f();
  } catch (const std::exception& e) {
    log::error("an exception ended a request", {{"where", where}, {"err", e.what()}});
    return otherwise;
  }
}

MHD_Result collect_field(void* into, MHD_ValueKind, const char* key, std::size_t key_size, const char* value,
                         std::size_t value_size) {
  return guarded("headers", MHD_NO, [&] {
    static_cast<std::vector<RawHead::Field>*>(into)->push_back({{key, key_size}, {value ? value : "", value_size}});
    return MHD_YES;
  });
}

MHD_Result collect_pair(void* into, MHD_ValueKind, const char* key, const char* value) {
  return guarded("headers", MHD_NO, [&] {
    static_cast<Headers*>(into)->emplace_back(key, value ? value : "");
    return MHD_YES;
  });
}

void free_body(void* body) { delete static_cast<Body*>(body); }

// All that goes with an answer: what is configured, then what the handler says, then what a browser is told with every
// answer; of one name the first.
Headers headers_of(const Response& response, const Headers& configured) {
  static const Headers kDefaults = [] {
    Headers out;
    for (const auto& [name, value] : kBrowserHeaders) out.emplace_back(name, value);
    return out;
  }();
  Headers all = configured;
  if (response.status != 204) all.emplace_back("Content-Type", response.content_type);
  const auto add = [&all](const Headers& more, std::size_t before) {
    for (const auto& h : more)
      if (std::none_of(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(before), [&](const auto& there) {
            return there.first.size() == h.first.size() &&
                   strncasecmp(there.first.data(), h.first.data(), h.first.size()) == 0;
          }))
        all.push_back(h);
  };
  add(response.headers, configured.size());
  add(kDefaults, all.size());
  return all;
}

std::string head_of(const Response& response, const Headers& configured) {
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\nContent-Length: {}\r\n", response.status,
                  MHD_get_reason_phrase_for(static_cast<unsigned>(response.status)), response.body->size());
  for (const auto& [name, value] : headers_of(response, configured)) text += fmt::format("{}: {}\r\n", name, value);
  return text + "\r\n";
}

MHD_Result send(MHD_Connection* connection, const Response& response, const Headers& configured) {
  auto kept = std::make_unique<Body>(response.body);
  // MHD only reads it, whatever the parameter's type says.
  auto* bytes = const_cast<char*>((*kept)->data());
  MHD_Response* made =
      MHD_create_response_from_buffer_with_free_callback_cls((*kept)->size(), bytes, &free_body, kept.get());
  if (!made) return MHD_NO;
  [[maybe_unused]] const auto* handed_over = kept.release();
  for (const auto& [name, value] : headers_of(response, configured))
    MHD_add_response_header(made, name.c_str(), value.c_str());
  const auto queued = MHD_queue_response(connection, static_cast<unsigned>(response.status), made);
  MHD_destroy_response(made);
  return queued;
}

void count(const Response& response) {
  if (response.counted) return;
  instruments()
      .counter("vitald_http_requests_total", "Requests for anything but the metrics, by HTTP status.",
               {{"code", std::to_string(response.status)}})
      .Increment();
}

unsigned connections(MHD_Daemon& daemon) {
  return MHD_get_daemon_info(&daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

}  // namespace

struct Server::Impl {
  Impl(std::vector<Listener> l, Routes r, Collecting c, const Clock& k, std::shared_ptr<const Wake> w,
       std::unique_ptr<Gate> g)
      : listeners(std::move(l)),
        routes(std::move(r)),
        collecting(std::move(c)),
        clock(k),
        gate(std::move(g)),
        tls(gate && gate->tls()),
        wake(std::move(w)) {
    if (gate) gate->start(wake);
  }

  // What libmicrohttpd calls, all on the loop's thread.

  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url, const char* method,
                               const char* version, const char* upload, std::size_t* upload_size, void** state) {
    return guarded("handler", MHD_NO, [&] {
      auto& impl = *static_cast<Impl*>(self);
      ++impl.progress;
      auto* exchange = static_cast<Exchange*>(*state);
      if (!exchange) {
        RawHead head;
        head.version = version;
        exchange = impl.begin(connection, url, method, head).release();
        *state = exchange;
        exchange->peer->exchange = exchange;
        // The library has put an end to the target where its arguments and the version begin, and decoded it.
        const auto* next = method + std::strlen(method) + 1;
        head.after_method = {next, static_cast<std::size_t>(std::max<std::ptrdiff_t>(url - next, 0))};
        head.target_bytes = static_cast<std::size_t>(std::max<std::ptrdiff_t>(version - url - 1, 0));
        head.target = exchange->peer->target;
        head.end = method + MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
        return impl.look_at_headers(*exchange, head);
      }
      if (*upload_size == 0) return impl.answer_or_500(*exchange);
      const auto bytes = std::exchange(*upload_size, 0);
      exchange->body_bytes += bytes;
      if (exchange->keep_body && exchange->body_bytes <= exchange->body_limit)
        exchange->request.body.append(upload, bytes);
      if (exchange->body_bytes <= exchange->body_limit + kWastedBytes) return MHD_YES;
      return impl.say_goodbye(*exchange) ? MHD_YES : MHD_NO;
    });
  }

  // As soon as there is a request line, and before anything of it is cut or decoded.
  static void* on_target(void*, const char* target, MHD_Connection* connection) {
    guarded("target", 0, [&] {
      if (auto* peer = peer_of(connection)) peer->target = target, peer->in_head = true;
      return 0;
    });
    return nullptr;
  }

  static void on_completed(void* self, MHD_Connection* connection, void** state, MHD_RequestTerminationCode) {
    guarded("end of a request", 0, [&] {
      auto& impl = *static_cast<Impl*>(self);
      MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, impl.limits.idle_seconds);
      if (auto* peer = peer_of(connection)) peer->in_head = peer->in_body = false;
      const std::unique_ptr<Exchange> exchange(static_cast<Exchange*>(std::exchange(*state, nullptr)));
      if (!exchange) return 0;
      impl.peers->moved(*exchange->peer, Peer::Rank::idle);
      exchange->peer->exchange = nullptr;
      impl.waiting.remove(*exchange);
      impl.outgoing.remove(*exchange);
      return 0;
    });
  }

  static void on_connection(void* self, MHD_Connection* connection, void** kept, MHD_ConnectionNotificationCode code) {
    guarded("connection", 0, [&] {
      auto& impl = *static_cast<Impl*>(self);
      ++impl.progress;
      if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (auto* peer = static_cast<Peer*>(std::exchange(*kept, nullptr))) impl.peers->gone(*peer);
        return 0;
      }
      const int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
      auto& peer = impl.peers->accept(fd, MHD_get_connection_info(connection, MHD_CONNECTION_INFO_DAEMON)->daemon);
      peer.connection = connection;
      *kept = &peer;
      if (!impl.tls) return 0;
      // Before the handshake: today's certificate, and what is asked of the client.
      auto credentials = impl.gate->credentials();
      auto* session = static_cast<gnutls_session_t>(
          MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session);
      // Without credentials of its own a session has none at all, and its handshake fails.
      if (const auto given = credentials->give_to(session); !given) log::error("TLS", {{"err", given.error().text}});
      else peer.credentials = std::move(credentials);
      return 0;
    });
  }

  // What it says before it answers a Content-Length that is no number by itself, with a page that has two heads
  // (0.9.75). It says more, of whoever left in the midst of an answer.
  static void on_library_log(void* self, const char* format, va_list) {
    if (!std::strstr(format, "Content-Length")) return;
    guarded("the library's log", 0, [&] {
      static_cast<Impl*>(self)->refuse_bad_lengths();
      return 0;
    });
  }

  static Peer* peer_of(MHD_Connection* connection) {
    return static_cast<Peer*>(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);
  }

  std::unique_ptr<Exchange> begin(MHD_Connection* connection, const char* url, const char* method, RawHead& head) {
    auto exchange = std::make_unique<Exchange>();
    exchange->connection = connection;
    exchange->peer = peer_of(connection);
    if (!exchange->peer) throw std::runtime_error("a connection that nobody was told of");
    exchange->peer->in_head = false;
    exchange->peer->in_body = true;
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, limits.request_seconds);
    peers->moved(*exchange->peer, Peer::Rank::busy);
    auto& request = exchange->request;
    request.method = method;
    request.path = path_of(url);
    request.arrived_boot_ns = round_boot_ns;
    request.peer = exchange->peer->address;
    request.loopback = exchange->peer->loopback;
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, &collect_field, &head.fields);
    for (const auto& field : head.fields) request.headers.emplace_back(field.name, trim(field.value));
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &collect_pair, &request.query);
    request.proxied = came_by_proxy(request, head.version);
    return exchange;
  }

  // What can be said before the body comes: a client that still sends it would see a broken connection only.
  MHD_Result look_at_headers(Exchange& exchange, const RawHead& head) {
    if (const auto why = malformed_head(head)) {
      auto response = text_response(400, fmt::format("malformed request: {}\n", *why));
      response.headers.emplace_back("Connection", "close");  // where the next one begins is not known
      return reply(exchange, response);
    }
    exchange.chunked = !exchange.request.header("Transfer-Encoding").empty();
    const auto* route = routes.find(exchange.request.path);
    exchange.keep_body = route && route->body_bytes > 0;
    exchange.body_limit = exchange.keep_body ? route->body_bytes : kIgnoredBytes;
    const auto length = parse_u64(exchange.request.header("Content-Length"));
    if (length.value_or(0) > exchange.body_limit) return reply(exchange, too_long(exchange));
    return MHD_YES;
  }

  static Response too_long(const Exchange& exchange) {
    auto response = text_response(413, fmt::format("a body of more than {} bytes\n", exchange.body_limit));
    response.headers.emplace_back("Connection", "close");
    return response;
  }

  // The library takes chunks whose lines end with LF alone, where a proxy may see another end of the request: what
  // comes behind chunks is never read.
  MHD_Result reply(Exchange& exchange, const Response& response) {
    if (!outgoing.add({&exchange, exchange.request.peer, response.body, clock.boot_ns(), is_scrape(exchange)},
                      [](Exchange& slow) { close(*slow.peer); })) {
      exchange.response.reset();
      exchange.pending.reset();
      return reply(exchange, no_room(exchange.request));
    }
    count(response);
    exchange.replied = true;
    const bool says_so = std::ranges::any_of(response.headers, [](const auto& h) { return h.first == "Connection"; });
    if (!exchange.chunked || says_so) return send(exchange.connection, response, configured_headers());
    auto last = response;
    last.headers.emplace_back("Connection", "close");
    return send(exchange.connection, last, configured_headers());
  }
  [[nodiscard]] Headers configured_headers() const {
    const auto state = gate ? gate->state() : nullptr;
    return state ? state->config.headers : Headers();
  }

  // The library takes no answer in the midst of a body, so it is written past it. What the sender is still at is read
  // on for a moment: a connection that is closed before would be reset, and the answer lost. False: it is over.
  bool say_goodbye(Exchange& exchange) const {
    const auto now_ns = clock.boot_ns();
    if (exchange.goodbye_boot_ns == 0) {
      exchange.goodbye_boot_ns = now_ns;
      write_past_library(exchange.connection, too_long(exchange));
    }
    return now_ns - exchange.goodbye_boot_ns < kGoodbyeNs;
  }

  void write_past_library(MHD_Connection* connection, const Response& response) const {
    count(response);
    const auto* session = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    const auto text = head_of(response, configured_headers()) + *response.body;
    write_last(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
               tls && session ? static_cast<gnutls_session_t>(session->tls_session) : nullptr, text);
  }

  // Of all that are in the midst of their head, since the library does not say whom it is about. Whoever has such a
  // length gets no other answer; its own, right after, finds the socket shut. Nobody else is asked for his fields:
  // those of a connection that ended are in memory that was given back, and it is still in the list for the rest of the
  // call.
  void refuse_bad_lengths() {
    for (auto& peer : peers->all()) {
      if (!peer.in_head || peer.closing) continue;
      std::vector<RawHead::Field> fields;
      MHD_get_connection_values_n(peer.connection, MHD_HEADER_KIND, &collect_field, &fields);
      if (std::ranges::none_of(fields, &has_bad_length)) continue;
      auto response = text_response(400, "malformed request: a Content-Length that is no number of bytes\n");
      response.headers.emplace_back("Connection", "close");
      write_past_library(peer.connection, response);
      peer.closing = true;
    }
  }

  MHD_Result answer_or_500(Exchange& exchange) {
    try {
      return answer(exchange);
    } catch (const std::exception& e) {  // out of memory, or a bug
      log::error("an exception instead of an answer", {{"path", exchange.request.path}, {"err", e.what()}});
      exchange.pending.reset();
      return reply(exchange, text_response(500, "an exception instead of an answer, see the log\n"));
    }
  }

  MHD_Result answer(Exchange& exchange) {
    exchange.peer->in_body = false;
    if (exchange.goodbye_boot_ns != 0) return MHD_NO;  // it has its answer: now the connection ends
    if (exchange.response) return reply(exchange, *exchange.response);
    if (exchange.failed) return reply(exchange, text_response(500, "an exception instead of an answer, see the log\n"));
    if (exchange.body_bytes > exchange.body_limit) return reply(exchange, too_long(exchange));
    if (!exchange.pending) {
      close_slow_readers();
      auto answer = gate ? gate->answer(exchange.request, routes) : routes.answer(exchange.request);
      if (const auto* response = std::get_if<Response>(&answer)) return reply(exchange, *response);
      exchange.pending = std::move(std::get<1>(answer));
      if (const auto response = exchange.pending->poll(clock.boot_ns())) return reply(exchange, *response);
    }
    if (lead.stopping()) return reply(exchange, text_response(503, "vitald is ending\n"));
    MHD_suspend_connection(exchange.connection);
    exchange.peer->suspended = true;
    waiting.add(exchange, *exchange.pending);
    return MHD_YES;
  }

  void resume(std::list<Waiting::Row> answered) {
    for (auto& row : answered) {
      auto* exchange = row.exchange;
      exchange->response = std::move(row.response);
      exchange->failed = row.failed;
      exchange->peer->suspended = false;
      peers->moved(*exchange->peer, Peer::Rank::busy);
      MHD_resume_connection(exchange->connection);
    }
  }

  [[nodiscard]] Response no_room(const Request& request) const {
    auto response =
        collecting.no_room
            ? collecting.no_room(request)
            : text_response(503, "too many large answers are on their way; read them, or try again later\n");
    response.headers.emplace_back("Retry-After", "1");
    return response;
  }
  static bool is_scrape(const Exchange& exchange) {
    return exchange.pending && exchange.pending->wants_snapshot_boot_ns() > 0;
  }

  // Those who have an answer and do not take it are no reason to refuse another scrape: whoever takes longer than a
  // second, and of an address that has more than a quarter of all answers under way the oldest one, however young: who
  // connects sixty times a second and never reads has all places long before that second is over.
  static constexpr unsigned kCrowd = 4;  // fewer than these are no crowd, however few places there are
  void close_slow_readers() {
    if (!collecting.full) return;
    while (collecting.full()) {
      std::map<std::string_view, unsigned> of_address;
      unsigned all = 0, most = 0;
      for (const auto& peer : peers->all())
        if (takes_scrape(peer)) ++all, most = std::max(most, ++of_address[peer.address]);
      const auto oldest = std::ranges::find_if(peers->all(), [&](const Peer& peer) {
        if (!takes_scrape(peer) || peer.since_boot_ns >= round_boot_ns) return false;
        const auto own = of_address[peer.address];
        return round_boot_ns - peer.since_boot_ns >= 4 * Peers::kGraceNs ||
               (own == most && own >= kCrowd && own > all / 4);
      });
      if (oldest == peers->all().end()) return;
      close(*oldest);
    }
  }
  // It has the answer of a scrape, and has not read all of it yet.
  static bool takes_scrape(const Peer& peer) {
    return peer.exchange && is_scrape(*peer.exchange) && !peer.suspended && !peer.closing;
  }
  static void close(Peer& peer) {
    Peers::close(peer);
    if (peer.exchange) peer.exchange->pending.reset();
  }

  [[nodiscard]] int timeout_ms() const {
    std::int64_t ms = -1;
    const auto earlier = [&ms](std::int64_t t) { ms = ms < 0 ? t : std::min(ms, t); };
    for (const auto& d : daemons) {
      MHD_UNSIGNED_LONG_LONG t;
      if (MHD_get_timeout(d.get(), &t) == MHD_YES) earlier(static_cast<std::int64_t>(t));
    }
    if (const auto deadline = waiting.deadline_boot_ns())
      earlier(std::max<std::int64_t>(0, (*deadline - clock.boot_ns() + 999'999) / 1'000'000));
    if (somebody_waits && !waiting.empty())
      earlier(std::max<std::int64_t>(0, (try_again_boot_ns - clock.boot_ns() + 999'999) / 1'000'000));
    if (crowded) earlier(behind ? 0 : Peers::kGraceNs / 5 / 1'000'000);
    return static_cast<int>(std::min<std::int64_t>(ms, 3'600'000));
  }

  // Collects for those who wait. False when it took so long that the other thread leads now: this one must not touch
  // anything any more.
  bool collect_here(int me, std::int64_t fresh_ns) {
    const auto worked = lead.try_work(me, [&] { return collecting.collect(fresh_ns); });
    if (!worked) return false;
    bool done = *worked;
    if (!done) {              // another thread is at it, or it was given up
      somebody_waits = true;  // before the look: what is published after it wakes us
      try_again_boot_ns = clock.boot_ns() + kSecond;
      done = collecting.has_since(fresh_ns);
      if (done) somebody_waits = false;
    }
    if (done) resume(waiting.answered(clock.boot_ns(), true));
    return true;
  }

  [[nodiscard]] unsigned roomy() const { return limits.connections - std::max(limits.connections / 4, 1U); }

  // At its limit of connections MHD does not listen, and begins again only in the call after the one in which some
  // ended. Nothing else may ever wake the loop for that. It takes ten in a call: whoever stands behind a crowd that
  // comes back as soon as it is closed would wait for many rounds, so all of them are taken, and let go, in one.
  void run_daemons() {
    crowded = behind = false;
    const auto began_ns = clock.boot_ns();
    unsigned all = 0;
    for (const auto& d : daemons) {
      const auto most = limits.connections;
      unsigned now = 0;
      for (;;) {
        const auto before = connections(*d);
        const auto closed =
            before > roomy()
                ? peers->make_room(d.get(), {before, roomy(), most - 1, std::max(most / 8, 4U)}, round_boot_ns)
                : 0U;
        MHD_run(d.get());
        if (before >= most && connections(*d) < most) MHD_run(d.get());
        now = connections(*d);
        const bool more = now >= before + kTakenAtOnce || (now > roomy() && closed > 0);
        if (!more || lead.stopping()) break;
        const auto now_ns = clock.boot_ns();
        if (now_ns - began_ns > kMostTakingNs) {
          behind = true;
          break;
        }
        round_boot_ns = now_ns;  // when those that come now arrive
      }
      crowded = crowded || (now > roomy() && peers->may_close_soon(d.get(), now >= most, round_boot_ns));
      all += now;
    }
    crowd.now(all);
  }

  // No descriptor is left for a client. MHD accepts again only when a connection ends, and without any connection it
  // would try and fail at full speed. False as with collect_here().
  bool survive_without_descriptors(int me, bool suspicious) {
    const auto look = shortage.look(round_boot_ns, suspicious);
    if (look == Shortage::Look::fine) return true;
    if (look == Shortage::Look::begins && !collect_here(me, round_boot_ns)) return false;
    bool stalled = false;
    for (const auto& d : daemons) {
      const auto before = connections(*d);
      if (before > 0) peers->make_room(d.get(), {before, 0, before - 1, before}, round_boot_ns);
      MHD_run(d.get());
      if (before > 0 && connections(*d) >= before) stalled = true;
      else MHD_run(d.get());  // see run_daemons()
    }
    if (!shortage.goes_on(stalled)) return true;
    crowded = true;  // look again soon
    pollfd woken{wake->fd(), POLLIN, 0};
    poll(&woken, 1, 50);
    return true;
  }

  // While a TLS client keeps silent in the middle of its handshake, libmicrohttpd takes its socket for readable and
  // wants to be called again at once, for ever. What it is really to be called for comes as an event or is progress,
  // but for an answer that goes on as long as its socket takes it.
  [[nodiscard]] bool spins() const {
    return tls && rounds_for_nothing > kRoundsForNothing && std::ranges::none_of(peers->all(), &takes_bytes);
  }
  static bool takes_bytes(const Peer& peer) {
    if (!peer.exchange || !peer.exchange->replied) return false;
    pollfd socket{peer.fd, POLLOUT, 0};
    return poll(&socket, 1, 0) == 1 && (socket.revents & POLLOUT) != 0;
  }

  // The loop, for as long as this thread leads.
  void serve(int me) {
    wake->signal();  // look at once: at what was published while the lead changed hands, and at whoever waits
    std::vector<pollfd> fds{{wake->fd(), POLLIN, 0}};
    for (const auto& d : daemons)
      fds.push_back({MHD_get_daemon_info(d.get(), MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, POLLIN, 0});
    bool in_vain_before = false;
    while (!lead.stopping()) {
      const int timeout = spins() ? kSpinMs : timeout_ms();
      for (auto& fd : fds) fd.revents = 0;
      if (timeout != 0 || !waiting.empty()) poll(fds.data(), fds.size(), timeout);
      if (fds[0].revents) wake->clear();
      round_boot_ns = clock.boot_ns();
      if (!waiting.empty()) resume(waiting.answered(round_boot_ns, fds[0].revents != 0));
      const auto before = progress;
      run_daemons();
      // What another thread was at may have failed, and nobody would be told.
      const bool again = round_boot_ns >= try_again_boot_ns;
      if (const auto fresh_ns = waiting.wants_snapshot_boot_ns(); fresh_ns > 0 && (!somebody_waits || again)) {
        if (!collect_here(me, fresh_ns)) return;
        run_daemons();
      }
      const bool woken = std::ranges::any_of(fds, [](const auto& fd) { return fd.revents; });
      const bool in_vain = progress == before && woken;
      rounds_for_nothing = progress == before && !woken ? rounds_for_nothing + 1 : 0;
      peers->close_overdue(round_boot_ns);
      // One round in vain after an answer is usual: its socket can be written to again.
      if (!survive_without_descriptors(me, in_vain && in_vain_before)) return;
      in_vain_before = in_vain;
    }
    resume(waiting.all());  // MHD wants none suspended when it ends
    run_daemons();
    daemons.clear();
  }

  std::vector<Listener> listeners;
  Routes routes;
  Collecting collecting;
  const Clock& clock;
  const std::unique_ptr<Gate> gate;  // null: everybody, over plain HTTP
  const bool tls;
  std::shared_ptr<const Wake> wake;
  Limits limits;
  Lead lead{[this](int me) { serve(me); }};
  std::atomic<bool> somebody_waits{false};  // for a snapshot that another thread makes
  std::int64_t try_again_boot_ns = 0;       // if it does not come
  // When this round of the loop began: the arrival time of every request it reads, so that those which come together
  // share one collection.
  std::int64_t round_boot_ns = 0;
  std::uint64_t progress = 0;  // connections and requests that began or ended
  Shortage shortage;
  std::optional<Peers> peers;
  bool crowded = false, behind = false;  // there may be more that are to be taken at once
  // Many connections at once, of which few are left: what they needed is given back.
  struct Crowd {
    static constexpr unsigned kMany = 32;
    unsigned most = 0;
    void now(unsigned connections) {
      most = std::max(most, connections);
      if (most < kMany || connections > most / 4) return;
      most = connections;
      give_back_free_memory();
    }
  } crowd;
  int rounds_for_nothing = 0;  // one after the other, without an event before or progress in them
  Waiting waiting;
  Outgoing outgoing;
  std::vector<MhdDaemon> daemons;
};

Server::Server(std::vector<Listener> listeners, Routes routes, Collecting collecting, const Clock& clock,
               std::shared_ptr<const Wake> wake, std::unique_ptr<Gate> gate)
    : impl_(std::make_unique<Impl>(std::move(listeners), std::move(routes), std::move(collecting), clock,
                                   std::move(wake), std::move(gate))) {}

Server::~Server() {
  if (stop(kJoinNs)) return;
  impl_->lead.detach();
  [[maybe_unused]] const auto* kept_for_the_stuck_one = impl_.release();
}

Result<> Server::start(Limits limits) {
  impl_->limits = limits;
  impl_->peers.emplace(Peers::Times{limits.request_seconds * kSecond, limits.idle_seconds * kSecond}, impl_->clock);
  if (impl_->wake->fd() < 0)
    return fail(from_errno("HTTP server: no descriptor for its events; see ulimit -n", EMFILE));
  const bool tls = impl_->tls;
  // Each session gets its certificate in on_connection(); libmicrohttpd wants to know of one beforehand.
  const auto no_certificate = [](gnutls_session_t, const gnutls_datum_t*, int, const gnutls_pk_algorithm_t*, int,
                                 gnutls_pcert_st**, unsigned*, gnutls_privkey_t*) { return -1; };
  gnutls_certificate_retrieve_function2* const retrieve = no_certificate;
  MHD_OptionItem tls_options[] = {{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, reinterpret_cast<void*>(retrieve)},
                                  {MHD_OPTION_END, 0, nullptr}};
  const MHD_OptionItem plain = tls_options[1];
  // Not "turbo" with TLS: a connection that ends during its handshake would then stay in libmicrohttpd's list for ever
  // (0.9.75: state closed, TLS state handshaking, and MHD_connection_handle_idle() looks at the latter first).
  const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                         (tls ? unsigned{MHD_USE_TLS} : unsigned{MHD_USE_TURBO});
  for (const auto& listener : impl_->listeners) {
    MhdDaemon daemon(MHD_start_daemon(
        flags, 0, nullptr, nullptr, &Impl::on_request, impl_.get(), MHD_OPTION_EXTERNAL_LOGGER, &Impl::on_library_log,
        impl_.get(), MHD_OPTION_LISTEN_SOCKET, listener.fd.get(), MHD_OPTION_CONNECTION_LIMIT, limits.connections,
        MHD_OPTION_CONNECTION_TIMEOUT, limits.request_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT, kRequestBytes,
        MHD_OPTION_NOTIFY_COMPLETED, &Impl::on_completed, impl_.get(), MHD_OPTION_URI_LOG_CALLBACK, &Impl::on_target,
        impl_.get(), MHD_OPTION_NOTIFY_CONNECTION, &Impl::on_connection, impl_.get(), MHD_OPTION_ARRAY,
        tls ? tls_options : &plain, MHD_OPTION_END));
    if (!daemon) return fail(from_errno(fmt::format("HTTP server on {}", listener.address), errno));
    impl_->daemons.push_back(std::move(daemon));
  }
  // MHD closes the listening sockets itself when it stops.
  for (auto& listener : impl_->listeners) [[maybe_unused]] const int handed_over = listener.fd.release();
  return impl_->lead.start();
}

bool Server::stop(std::int64_t patience_ns) {
  impl_->lead.end();
  impl_->wake->signal();
  return impl_->lead.join(patience_ns);
}

void Server::published() {
  if (impl_->somebody_waits.exchange(false)) impl_->wake->signal();
}

}  // namespace vitald
