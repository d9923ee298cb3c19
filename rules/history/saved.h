// SPDX-License-Identifier: Apache-2.0
// The history as a file, and back (docs/adr/0007-saved-history.md). A file is good or refused as a whole: a sample that
// nobody measured would be worse than none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/moment.h"
#include "core/result.h"
#include "core/text/sections.h"
#include "rules/history/view.h"

namespace vitald::history {

using SeriesLabels = std::map<std::string, std::string>;

// What is left out: series that no sample is there of any more. On any thread: a round never changes.
Result<> save(const Round& round, const SeriesLabels& series_labels, const Moment& now, SectionWriter::Sink sink);

// What a file says, in the boot time of the run that reads it.
struct Saved {
  struct Feed {
    std::string collector;
    std::size_t ordinal = 0;
    Ids ids;  // of the newest row
    Chunks chunks;
  };
  struct Series {
    promql::Labels labels;
    std::uint32_t feed = 0;
    std::uint32_t slot = kNobody;  // in the feed's ids
  };
  Moment at;  // when it was written
  bool same_boot = false;
  std::int64_t now_ms = 0;  // when it was read
  SeriesLabels series_labels;
  std::vector<Feed> feeds;
  std::vector<Series> series;  // ids in feeds and chunks are places in it
  std::size_t samples = 0;
  std::size_t in_future = 0;                   // samples left out: they are of a time that is not yet
  std::size_t too_many = 0;                    // samples left out: the newest ones took `most_bytes`
  std::int64_t too_many_until_ms = INT64_MIN;  // the newest of those
};
// `most_bytes`: of what it gives, about.
Result<Saved> load(SectionReader::Source source, std::size_t file_bytes, const Moment& now, std::size_t most_bytes);

}  // namespace vitald::history
