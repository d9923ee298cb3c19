// SPDX-License-Identifier: Apache-2.0
// Whether a descriptor goes on showing what is at its path.
#pragma once

#include <string_view>

namespace vitald {

// True on the kernel's own file systems (procfs, sysfs, cgroups and their like, by statfs(2)), and of FUSE where it
// lies over /proc or /sys (lxcfs). Elsewhere another file may take the place of the one that is open, by rename(2).
// Costs a system call.
[[nodiscard]] bool is_of_kernel_fs(int fd, std::string_view path);

}  // namespace vitald
