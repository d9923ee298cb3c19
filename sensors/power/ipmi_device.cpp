// SPDX-License-Identifier: Apache-2.0
// Commands to the BMC through the kernel's device (drivers/char/ipmi/ipmi_devintf.c).
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/ipmi.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <memory>

#include "core/clock.h"
#include "core/os/fd.h"
#include "sensors/power/ipmi_bmc.h"

namespace vitald::ipmi {
namespace {

// The driver itself tries again for some seconds; a BMC that is asked too much takes long.
constexpr std::int64_t kAnswerNs = 5'000'000'000;

class Device {
 public:
  explicit Device(std::string path) : path_(std::move(path)) {}

  Result<> open() {
    // Reading is enough, so root's device needs no more than CAP_DAC_READ_SEARCH.
    fd_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (fd_) return {};
    auto error = from_errno(path_, errno);
    if (error.kind == Errc::denied) error.text += ": CAP_DAC_READ_SEARCH is needed, and the device in the container";
    return fail(std::move(error));
  }

  Result<Bytes> ask(std::uint8_t netfn, std::uint8_t lun, std::uint8_t command, std::span<const std::uint8_t> data) {
    if (!fd_)
      if (auto ok = open(); !ok) return fail(ok.error());
    ipmi_system_interface_addr to{};
    to.addr_type = IPMI_SYSTEM_INTERFACE_ADDR_TYPE;
    to.channel = IPMI_BMC_CHANNEL;
    to.lun = lun;
    Bytes copy(data.begin(), data.end());
    ipmi_req request{};
    request.addr = reinterpret_cast<unsigned char*>(&to);
    request.addr_len = sizeof to;
    request.msgid = ++message_;
    request.msg = {netfn, command, static_cast<unsigned short>(copy.size()), copy.data()};
    if (ioctl(fd_.get(), IPMICTL_SEND_COMMAND, &request) != 0) return broken("IPMICTL_SEND_COMMAND", errno);
    const auto until_ns = SystemClock::read(CLOCK_BOOTTIME) + kAnswerNs;
    for (;;) {
      const auto left_ns = until_ns - SystemClock::read(CLOCK_BOOTTIME);
      if (left_ns <= 0)
        return fail(Errc::timeout,
                    fmt::format("{}: the BMC does not answer command {:#04x}/{:#04x}", path_, netfn, command));
      pollfd wait{fd_.get(), POLLIN, 0};
      if (poll(&wait, 1, static_cast<int>(left_ns / 1'000'000) + 1) < 0 && errno != EINTR) return broken("poll", errno);
      if ((wait.revents & (POLLERR | POLLHUP)) != 0) return broken("poll", ENODEV);
      if ((wait.revents & POLLIN) == 0) continue;
      std::array<std::uint8_t, IPMI_MAX_MSG_LENGTH> buffer{};
      ipmi_addr from{};
      ipmi_recv answer{};
      answer.addr = reinterpret_cast<unsigned char*>(&from);
      answer.addr_len = sizeof from;
      answer.msg.data = buffer.data();
      answer.msg.data_len = buffer.size();
      if (ioctl(fd_.get(), IPMICTL_RECEIVE_MSG_TRUNC, &answer) != 0) {
        if (errno == EAGAIN || errno == EINTR || errno == EMSGSIZE) continue;
        return broken("IPMICTL_RECEIVE_MSG", errno);
      }
      // The late answer to an earlier command is nobody's any more.
      if (answer.recv_type != IPMI_RESPONSE_RECV_TYPE || answer.msgid != message_) continue;
      Bytes got(buffer.begin(), buffer.begin() + answer.msg.data_len);
      if (!got.empty() && got[0] == IPMI_TIMEOUT_COMPLETION_CODE)
        return fail(Errc::timeout,
                    fmt::format("{}: the BMC does not answer command {:#04x}/{:#04x} (the driver says so)", path_,
                                netfn, command));
      return got;
    }
  }

 private:
  // The device is opened anew the next time: its driver may have been loaded again.
  Result<Bytes> broken(const char* what, int err) {
    fd_.reset();
    return fail(from_errno(fmt::format("{}: {}", path_, what), err));
  }
  std::string path_;
  Fd fd_;
  long message_ = 0;
};

}  // namespace

Result<Ask> ask_device(const std::string& path) {
  auto device = std::make_shared<Device>(path);
  if (auto ok = device->open(); !ok) return fail(ok.error());
  return Ask([device](std::uint8_t netfn, std::uint8_t lun, std::uint8_t command, std::span<const std::uint8_t> data) {
    return device->ask(netfn, lun, command, data);
  });
}

}  // namespace vitald::ipmi
