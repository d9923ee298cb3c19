// SPDX-License-Identifier: Apache-2.0
// /proc/net/rpc/nfs and nfsd: each line a word and its numbers (net/sunrpc/stats.c).
#pragma once

#include <span>
#include <string_view>

#include "core/batch.h"

namespace vitald {

// One number of one line; with `label`, the family's only label.
struct RpcColumn {
  std::string_view line;
  std::size_t at;
  const MetricDesc& desc;
  std::string_view label = {};
};

// "proc3 22 0 1336273809 45662 ...": how many, then one call count per procedure.
struct RpcProcedures {
  std::string_view line;
  std::string_view version;
  std::span<const std::string_view> names;  // an empty one is not exported
  std::size_t at_least;                     // fewer numbers than this are an error
  std::size_t skip = 0;                     // numbers before that of names[0]
};

inline constexpr std::string_view kNfs2Procedures[] = {"Null", "GetAttr", "SetAttr", "Root",   "Lookup",  "ReadLink",
                                                       "Read", "WrCache", "Write",   "Create", "Remove",  "Rename",
                                                       "Link", "SymLink", "MkDir",   "RmDir",  "ReadDir", "FsStat"};
inline constexpr std::string_view kNfs3Procedures[] = {
    "Null",    "GetAttr",     "SetAttr", "Lookup", "Access",   "ReadLink", "Read",   "Write",
    "Create",  "MkDir",       "SymLink", "MkNod",  "Remove",   "RmDir",    "Rename", "Link",
    "ReadDir", "ReadDirPlus", "FsStat",  "FsInfo", "PathConf", "Commit"};

// A line or number that is missing counts as 0: a kernel built without NFSv2 has no line for it, and one
// series less would break the sum in a dashboard.
Result<> collect_rpc_stats(std::string_view path, std::string_view text, std::span<const RpcColumn> columns,
                           std::span<const RpcProcedures> procedures, const MetricDesc& requests, BatchWriter& out);

}  // namespace vitald
