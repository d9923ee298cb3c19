// SPDX-License-Identifier: Apache-2.0
// The settings of what is told of alerts, as vitald.yaml has them below `notify`.
#pragma once

#include "core/yaml/schema.h"
#include "exporters/deliver/command.h"

namespace vitald {

// notify: {commands: [{name: pager, command: [/usr/bin/page, --now], timeout: 10s, user: nobody, queue_limit: 100}]}
inline constexpr Field<CommandHookSettings> kCommandFields[] = {
    {.key = "name",
     .at = &CommandHookSettings::name,
     .help = "The receiver in logs, metrics and the message, and the folder of what waits for it.",
     .required = "one: it is the receiver in logs and metrics"},
    {.key = "command",
     .at = &CommandHookSettings::command,
     .help = "The program by its absolute path, and its arguments; no shell. The alert is on its standard input and in "
             "`VITALD_ALERT_*`.",
     .required = "a list: program and arguments",
     .expected = "a list: program and arguments (no shell)",
     .absolute = true},
    {.key = "timeout",
     .at = &CommandHookSettings::timeout_ns,
     .help = "A command that runs longer is ended, with all that it started.",
     .least = 1'000'000,
     .most = 3'600'000'000'000},
    {.key = "user",
     .at = &CommandHookSettings::user,
     .help = "Whom it runs as; without one as `nobody` where vitald is root, else as vitald."},
    {.key = "queue_limit",
     .at = &CommandHookSettings::queue_limit,
     .help = "How many alerts wait at most; then the oldest is dropped, counted and named in the log.",
     .least = 1,
     .most = 100'000},
};

}  // namespace vitald
