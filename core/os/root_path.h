// SPDX-License-Identifier: Apache-2.0
// Paths of the host as a container sees them: below a folder (--path.rootfs=/host).
#pragma once

#include <string>
#include <string_view>

namespace vitald {

// Where `path` (of the host, from its root) is found when the host's root is at `root`. Links are followed as the host
// would follow them: an absolute target begins at `root` again, and ".." does not lead out of it. What is not there is
// left as it is. With the root "/" the kernel does all this.
std::string path_below_root(const std::string& root, std::string_view path);

// The other way round: `path` as the host calls it. One that is not below `root` stays: /hostfoo is not below /host.
std::string path_on_host(std::string_view root, std::string_view path);

// Whether `path` is `folder` or below it.
bool is_below(std::string_view path, std::string_view folder);

}  // namespace vitald
