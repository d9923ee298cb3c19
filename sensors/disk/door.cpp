// SPDX-License-Identifier: Apache-2.0
#include "sensors/disk/door.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nvme_ioctl.h>
#include <scsi/sg.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "core/os/fd.h"

namespace vitald::disk {
namespace {

constexpr unsigned kTimeoutMs = 2000;

struct Wire {
  std::uint8_t command, feature;
  bool data;  // a sector comes
  bool smart;
};
constexpr Wire wire(AtaCommand command) {
  switch (command) {
    case AtaCommand::check_power_mode: return {0xe5, 0, false, false};
    case AtaCommand::identify: return {0xec, 0, true, false};
    case AtaCommand::smart_data: return {0xb0, 0xd0, true, true};
    case AtaCommand::smart_thresholds: return {0xb0, 0xd1, true, true};
    case AtaCommand::smart_status: return {0xb0, 0xda, false, true};
  }
  return {};
}

class Device final : public Door {
 public:
  Device(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<> nvme_log(Sector& out) override {
    nvme_admin_cmd command = {};
    command.opcode = 0x02;  // Get Log Page
    command.nsid = 0xffffffff;
    command.addr = reinterpret_cast<std::uintptr_t>(out.data());
    command.data_len = kSectorBytes;
    command.cdw10 = 0x02 | (kSectorBytes / 4 - 1) << 16;
    command.timeout_ms = kTimeoutMs;
    const int status = ioctl(fd_.get(), NVME_IOCTL_ADMIN_CMD, &command);
    if (status < 0) return refused("Get Log Page", "CAP_SYS_ADMIN");
    if (status > 0)
      return fail(Errc::io, fmt::format("{}: Get Log Page (SMART): the drive answers status {:#x}", path_, status));
    return {};
  }

  Result<std::optional<Taskfile>> ata(AtaCommand what, Sector* data) override {
    const auto w = wire(what);
    std::uint8_t cdb[16] = {0x85};      // ATA PASS-THROUGH (16)
    cdb[1] = w.data ? 4 << 1 : 3 << 1;  // PIO data-in, non-data
    // Of data: from the device, in sectors, as many as the count says. Else the registers are wanted back (CK_COND).
    cdb[2] = w.data ? 0x0e : 0x20;
    cdb[4] = w.feature;
    cdb[6] = w.data ? 1 : 0;
    if (w.smart) cdb[10] = 0x4f, cdb[12] = 0xc2;
    cdb[14] = w.command;
    std::uint8_t sense[64] = {};
    sg_io_hdr io = {};
    io.interface_id = 'S';
    io.cmdp = cdb;
    io.cmd_len = sizeof cdb;
    io.sbp = sense;
    io.mx_sb_len = sizeof sense;
    io.dxfer_direction = w.data ? SG_DXFER_FROM_DEV : SG_DXFER_NONE;
    io.dxferp = w.data ? data->data() : nullptr;
    io.dxfer_len = w.data ? kSectorBytes : 0;
    io.timeout = kTimeoutMs;
    if (ioctl(fd_.get(), SG_IO, &io) != 0) return fail(refused("SG_IO", "CAP_SYS_RAWIO").error());
    if (io.host_status != 0)
      return fail(
          io.host_status == 3 ? Errc::timeout : Errc::io,
          fmt::format("{}: the controller says {:#x} to ATA command {:02x}h", path_, io.host_status, w.command));
    const Bytes told(sense, io.sb_len_wr);
    const auto taskfile = parse_sense(told);
    // An aborted command is one that this drive does not have, or a bridge that does not pass it on.
    const bool aborted = taskfile && (taskfile->status & 0x01) != 0;
    const bool illegal = told.size() > 2 && ((told[0] & 0x7e) == 0x72 ? told[1] & 0x0f : told[2] & 0x0f) == 5;
    if (aborted || illegal)
      return fail(Errc::absent, fmt::format("{}: the drive does not know ATA command {:02x}h", path_, w.command));
    if (!w.data && !taskfile)
      return fail(Errc::absent, fmt::format("{}: what is before the drive does not bring registers back", path_));
    if (w.data && io.status != 0 && !taskfile)
      return fail(Errc::io, fmt::format("{}: SCSI status {:#x} to ATA command {:02x}h", path_, io.status, w.command));
    return taskfile;
  }

 private:
  Result<> refused(std::string_view what, std::string_view capability) const {
    const int error = errno;
    if (error == EPERM || error == EACCES)
      return fail(Errc::denied, fmt::format("{}: {}: needs {}", path_, what, capability));
    if (error == ENOTTY || error == EINVAL || error == EOPNOTSUPP)
      return fail(Errc::absent, fmt::format("{}: {}: {}", path_, what, std::strerror(error)));
    return fail(from_errno(path_, error));
  }
  Fd fd_;
  std::string path_;
};

}  // namespace

Result<std::unique_ptr<Door>> open_door(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return fail(from_errno(path, errno));
  return std::make_unique<Device>(std::move(fd), path);
}

}  // namespace vitald::disk
