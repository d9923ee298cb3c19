// SPDX-License-Identifier: Apache-2.0
// Wireless interfaces and the stations they hear, by nl80211.
#include <fmt/format.h>
#include <linux/genetlink.h>
#include <linux/nl80211.h>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/text/scan.h"
#include "sensors/net/wifi_rate.h"
#include "sensors/read/fixture_json.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"
#include "sensors/read/netlink.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "nl80211";
// The station's families in the order of Station::values.
constexpr MetricDesc kMetrics[] = {
    {"node_wifi_station_connected_seconds_total", counter,
     "The total number of seconds a station has been connected to an access point.", "device,mac_address", "seconds",
     kSource},
    {"node_wifi_station_inactive_seconds", gauge,
     "The number of seconds since any wireless activity has occurred on a station.", "device,mac_address", "seconds",
     kSource},
    {"node_wifi_station_receive_bits_per_second", gauge,
     "The current WiFi receive bitrate of a station, in bits per second.", "device,mac_address", "", kSource},
    {"node_wifi_station_transmit_bits_per_second", gauge,
     "The current WiFi transmit bitrate of a station, in bits per second.", "device,mac_address", "", kSource},
    {"node_wifi_station_receive_bytes_total", counter, "The total number of bytes received by a WiFi station.",
     "device,mac_address", "bytes", kSource},
    {"node_wifi_station_transmit_bytes_total", counter, "The total number of bytes transmitted by a WiFi station.",
     "device,mac_address", "bytes", kSource},
    {"node_wifi_station_signal_dbm", gauge, "The current WiFi signal strength, in decibel-milliwatts (dBm).",
     "device,mac_address", "", kSource},
    {"node_wifi_station_transmit_retries_total", counter,
     "The total number of times a station has had to retry while sending a packet.", "device,mac_address", "", kSource},
    {"node_wifi_station_transmit_failed_total", counter,
     "The total number of times a station has failed to send a packet.", "device,mac_address", "", kSource},
    {"node_wifi_station_beacon_loss_total", counter, "The total number of times a station has detected a beacon loss.",
     "device,mac_address", "", kSource},
    {"node_wifi_station_transmitted_packets_total", counter, "The total number of packets transmitted by a station.",
     "device,mac_address", "", kSource},
    {"node_wifi_station_received_packets_total", counter, "The total number of packets received by a station.",
     "device,mac_address", "", kSource},
    {"node_wifi_interface_frequency_hertz", gauge, "The current frequency a WiFi interface is operating at, in hertz.",
     "device", "hertz", kSource},
    {"node_wifi_station_info", gauge, "Labeled WiFi interface station information as provided by the operating system.",
     "device,bssid,ssid,mode", "", kSource},
};
enum Value {
  kConnected,
  kInactive,
  kRxRate,
  kTxRate,
  kRxBytes,
  kTxBytes,
  kSignal,
  kRetries,
  kFailed,
  kBeaconLoss,
  kTxPackets,
  kRxPackets,
  kValues,
  kFrequency = kValues,
  kInfo
};
constexpr FlagSpec kFlags[] = {
    {"collector.wifi.fixtures", FlagType::text, "", "test fixtures to use for wifi collector metrics"},
};
constexpr double kHertzPerMegahertz = 1e6, kMillisecondsPerSecond = 1e3, kNanosecondsPerSecond = 1e9;

struct Station {
  std::string mac;
  std::array<std::optional<double>, kValues> values{};  // a driver tells some of them
};

std::string mac_text(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{}{:02x}", out.empty() ? "" : ":", static_cast<unsigned char>(c));
  return out;
}

// enum nl80211_bss_status
std::string_view mode_of(std::uint64_t status) {
  if (status == NL80211_BSS_STATUS_AUTHENTICATED || status == NL80211_BSS_STATUS_ASSOCIATED) return "client";
  return status == NL80211_BSS_STATUS_IBSS_JOINED ? "ad-hoc" : "unknown";
}

void emit(std::string_view device, const Station& station, BatchWriter& out) {
  for (std::size_t i = 0; i < kValues; ++i)
    if (station.values[i]) out.set(kMetrics[i], *station.values[i], device, station.mac);
}

// Asks the kernel over generic netlink.
class Nl80211 {
 public:
  Result<> collect(BatchWriter& out) {
    if (family_ == 0)
      if (auto found = find_family(); !found) return found;
    interfaces_.clear();
    auto listed = ask(NL80211_CMD_GET_INTERFACE, 0, [this](std::string_view attributes) { add_interface(attributes); });
    if (!listed) {
      family_ = 0;  // the module may have been loaded again, with another number
      return listed;
    }
    LeftOut left_out;
    for (const auto& i : interfaces_) {
      if (i.name.empty()) continue;  // a P2P device
      // None: it is on no channel now.
      if (i.megahertz) out.set(kMetrics[kFrequency], *i.megahertz * kHertzPerMegahertz, i.name);
      left_out.add(per_interface(NL80211_CMD_GET_SCAN, i, out));
      left_out.add(per_interface(NL80211_CMD_GET_STATION, i, out));
    }
    return left_out.outcome();
  }

 private:
  struct Interface {
    std::string name;
    std::uint32_t index = 0;
    std::optional<double> megahertz;
  };

  Result<> find_family() {
    std::string body = header(CTRL_CMD_GETFAMILY, 1);
    append(body, CTRL_ATTR_FAMILY_NAME, std::string_view("nl80211", 8));
    auto found = genetlink_.request(GENL_ID_CTRL, 0, body, [this](std::uint16_t, std::string_view message) {
      if (!take_struct<genlmsghdr>(message)) return;
      while (auto a = take_attribute(message))
        if (a->type == CTRL_ATTR_FAMILY_ID) family_ = static_cast<std::uint16_t>(a->number());
    });
    if (!found) return absent_when_gone(found.error());
    if (family_ == 0) return fail(Errc::absent, "nl80211: the kernel has no such netlink family");
    return {};
  }

  template <class Each>
  Result<> ask(std::uint8_t command, std::uint32_t index, Each each) {
    std::string body = header(command, 0);
    if (index != 0) append(body, NL80211_ATTR_IFINDEX, {reinterpret_cast<const char*>(&index), sizeof index});
    return genetlink_.dump(family_, body, [&](std::uint16_t, std::string_view message) {
      if (take_struct<genlmsghdr>(message)) each(message);
    });
  }
  // An interface that is gone by now, or has no such thing, is left out.
  Result<> per_interface(std::uint8_t command, const Interface& i, BatchWriter& out) {
    auto done = ask(command, i.index, [&](std::string_view attributes) {
      if (command == NL80211_CMD_GET_SCAN) emit_bss(i.name, attributes, out);
      else emit_station(i.name, attributes, out);
    });
    if (!done && (done.error().kind == Errc::gone || done.error().kind == Errc::absent)) return {};
    return done;
  }

  static std::string header(std::uint8_t command, std::uint8_t version) {
    const genlmsghdr h{command, version, 0};
    return {reinterpret_cast<const char*>(&h), sizeof h};
  }
  static void append(std::string& body, std::uint16_t type, std::string_view payload) {
    const nlattr a{static_cast<std::uint16_t>(NLA_HDRLEN + payload.size()), type};
    body.append(reinterpret_cast<const char*>(&a), sizeof a).append(payload);
    body.resize(NLMSG_ALIGN(body.size()));
  }

  void add_interface(std::string_view attributes) {
    Interface i;
    while (auto a = take_attribute(attributes)) {
      if (a->type == NL80211_ATTR_IFNAME) i.name = a->text();
      if (a->type == NL80211_ATTR_IFINDEX) i.index = static_cast<std::uint32_t>(a->number());
      if (a->type == NL80211_ATTR_WIPHY_FREQ) i.megahertz = static_cast<double>(a->number());
    }
    interfaces_.push_back(std::move(i));
  }

  // Of all networks in sight the one with a status is ours.
  static void emit_bss(std::string_view device, std::string_view attributes, BatchWriter& out) {
    while (auto a = take_attribute(attributes)) {
      if (a->type != NL80211_ATTR_BSS) continue;
      std::string_view nested = a->payload, ssid, bssid;
      std::optional<std::uint64_t> status;
      while (auto b = take_attribute(nested)) {
        if (b->type == NL80211_BSS_STATUS) status = b->number();
        if (b->type == NL80211_BSS_BSSID) bssid = b->payload;
        if (b->type == NL80211_BSS_INFORMATION_ELEMENTS) ssid = ssid_of(b->payload);
      }
      if (status) out.set(kMetrics[kInfo], 1, device, mac_text(bssid), ssid, mode_of(*status));
    }
  }
  // IEEE 802.11 elements: id, length, bytes; the SSID is element 0.
  static std::string_view ssid_of(std::string_view elements) {
    while (elements.size() >= 2) {
      const auto size = static_cast<unsigned char>(elements[1]);
      if (elements.size() < 2u + size) break;
      if (elements[0] == 0) return elements.substr(2, size);
      elements.remove_prefix(2u + size);
    }
    return {};
  }

  static void emit_station(std::string_view device, std::string_view attributes, BatchWriter& out) {
    Station station;
    while (auto a = take_attribute(attributes)) {
      if (a->type == NL80211_ATTR_MAC) station.mac = mac_text(a->payload);
      if (a->type != NL80211_ATTR_STA_INFO) continue;
      std::string_view nested = a->payload;
      while (auto b = take_attribute(nested)) take_value(*b, station.values);
    }
    emit(device, station, out);
  }
  static void take_value(const NetlinkAttribute& a, std::array<std::optional<double>, kValues>& v) {
    const auto n = static_cast<double>(a.number());
    switch (a.type) {
      case NL80211_STA_INFO_CONNECTED_TIME: v[kConnected] = n; break;
      case NL80211_STA_INFO_INACTIVE_TIME: v[kInactive] = n / kMillisecondsPerSecond; break;
      case NL80211_STA_INFO_RX_BITRATE: v[kRxRate] = wifi_rate(a.payload); break;
      case NL80211_STA_INFO_TX_BITRATE: v[kTxRate] = wifi_rate(a.payload); break;
      // The 64-bit counts come after the 32-bit ones and win.
      case NL80211_STA_INFO_RX_BYTES:
      case NL80211_STA_INFO_RX_BYTES64: v[kRxBytes] = n; break;
      case NL80211_STA_INFO_TX_BYTES:
      case NL80211_STA_INFO_TX_BYTES64: v[kTxBytes] = n; break;
      case NL80211_STA_INFO_SIGNAL: v[kSignal] = static_cast<std::int8_t>(a.number()); break;
      case NL80211_STA_INFO_TX_RETRIES: v[kRetries] = n; break;
      case NL80211_STA_INFO_TX_FAILED: v[kFailed] = n; break;
      case NL80211_STA_INFO_BEACON_LOSS: v[kBeaconLoss] = n; break;
      case NL80211_STA_INFO_TX_PACKETS: v[kTxPackets] = n; break;
      case NL80211_STA_INFO_RX_PACKETS: v[kRxPackets] = n; break;
      default: break;
    }
  }

  Netlink genetlink_{NETLINK_GENERIC};
  std::uint16_t family_ = 0;
  std::vector<Interface> interfaces_;
};

// The same from files: interfaces.json, DEVICE/bss.json, DEVICE/stationinfo.json.
class Fixtures {
 public:
  explicit Fixtures(std::string folder) : folder_(std::move(folder)) {}
  [[nodiscard]] bool given() const { return !folder_.empty(); }

  Result<> collect(BatchWriter& out) const {
    std::vector<std::pair<std::string, std::optional<double>>> interfaces;
    auto listed = each_fixture(folder_ + "/interfaces.json", [&](const FixtureItem& item) {
      interfaces.emplace_back(item.text("name"), item.known_number("frequency"));
    });
    if (!listed) return absent_when_gone(listed.error());
    LeftOut left_out;
    for (const auto& interface : interfaces) {
      const auto& device = interface.first;
      if (device.empty()) continue;
      if (interface.second) out.set(kMetrics[kFrequency], *interface.second * kHertzPerMegahertz, device);
      auto bss = each_fixture(folder_ + "/" + device + "/bss.json", [&](const FixtureItem& item) {
        out.set(kMetrics[kInfo], 1, device, mac_text(decode(item.text("bssid"))), item.text("ssid"),
                mode_of(static_cast<std::uint64_t>(item.number("status"))));
      });
      if (!bss && bss.error().kind != Errc::gone) left_out.add(bss);
      auto stations = each_fixture(folder_ + "/" + device + "/stationinfo.json",
                                   [&](const FixtureItem& item) { emit(device, station_of(item), out); });
      if (!stations && stations.error().kind != Errc::gone) left_out.add(stations);
    }
    return left_out.outcome();
  }

 private:
  static Station station_of(const FixtureItem& item) {
    // In the order of Value.
    constexpr std::string_view kKeys[kValues] = {
        "connected", "inactive",        "receivebitrate", "transmitbitrate", "receivedbytes",      "transmittedbytes",
        "signal",    "transmitretries", "transmitfailed", "beaconloss",      "transmittedpackets", "receivedpackets"};
    Station station{mac_text(decode(item.text("hardwareaddr"))), {}};
    for (std::size_t i = 0; i < kValues; ++i) {
      // Counters that are left out are 0, as Go reads such files; a signal of 0 dBm would be a very good one.
      const bool counter = i != kConnected && i != kInactive && i != kRxRate && i != kTxRate && i != kSignal;
      station.values[i] = counter ? item.number(kKeys[i]) : item.known_number(kKeys[i]);
      if (station.values[i] && (i == kConnected || i == kInactive)) *station.values[i] /= kNanosecondsPerSecond;
    }
    return station;
  }
  // Base64
  static std::string decode(std::string_view text) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    std::uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
      const auto digit = kDigits.find(c);
      if (digit == kDigits.npos) break;
      bits = bits << 6 | static_cast<std::uint32_t>(digit);
      count += 6;
      if (count >= 8) out += static_cast<char>(bits >> (count -= 8) & 0xff);
    }
    return out;
  }

  std::string folder_;
};

class Wifi final : public Collector {
 public:
  explicit Wifi(std::string fixtures) : fixtures_(std::move(fixtures)) {}

  Result<> collect(BatchWriter& out) override {
    return fixtures_.given() ? fixtures_.collect(out) : kernel_.collect(out);
  }

 private:
  Fixtures fixtures_;
  Nl80211 kernel_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  if (options.text("collector.wifi.fixtures").empty())
    if (auto same = same_network(host); !same) return fail(same.error());
  return std::make_unique<Wifi>(std::string(options.text("collector.wifi.fixtures")));
}

}  // namespace

extern const CollectorInfo collector_wifi;
const CollectorInfo collector_wifi{kMetrics, kFlags, make};

}  // namespace vitald
