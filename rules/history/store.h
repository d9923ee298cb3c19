// SPDX-License-Identifier: Apache-2.0
// The past of every series of every snapshot that was judged, in memory. One writer, the judge's thread; readers take a
// view() from any thread and neither wait for the writer nor make it wait.
//
// A sample's time is its batch's: a worker's last good batch that comes again brings no sample, and the series has the
// age it has. What was collected within the cycle counts as collected when the cycle began, as a server stamps a whole
// scrape. Times are CLOCK_BOOTTIME: a clock that is set bends no rate. Readers see wall time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "core/snapshot.h"
#include "rules/history/columns.h"
#include "rules/history/index.h"
#include "rules/history/saved.h"
#include "rules/history/view.h"

namespace vitald {

class History {
 public:
  static constexpr std::uint32_t kNobody = history::kNobody;

  // Samples of these series are kept for longer; beyond the retention, every so often one of them.
  struct Keep {
    std::vector<promql::Matcher> match;
    std::int64_t for_ms = 0, every_ms = 0;  // every 0: all of them
    bool operator==(const Keep&) const = default;
  };
  struct Settings {
    std::map<std::string, std::string> series_labels = {};  // every series carries them, as a server would add them
    std::int64_t retention_ms = 3'600'000;                  // longer for series that keep() was told so of
    std::size_t limit_bytes = std::size_t{16} << 20;        // of all there is; the oldest samples go first
    std::vector<Keep> keep = {};                            // of those that match, the first
    bool operator==(const Settings&) const = default;
  };
  explicit History(Settings settings);
  ~History();
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // ---- the writer

  // Other limits from here on. series_labels are the same: the series are called after them.
  void set(Settings settings);
  // Of the writer; series_labels of anybody.
  [[nodiscard]] const Settings& settings() const { return settings_; }

  // A round: begin() takes the snapshot in, record() what the rules say of it, end() shows all of it to readers.
  void begin(const Snapshot& snapshot);
  void end();

  // What an earlier run had, before the first round. False, and nothing is changed: its series are called by other
  // labels, or it is not of a history of this kind. Series that do not come back end with the next batch of their
  // collector, or when it has brought none for a minute; before that they have the age they have.
  bool restore(history::Saved saved);

  // For what the rules write. The id of the series; give it back with release(): with its last user it ends.
  // record() is at the time of the last begin().
  std::uint32_t acquire(const promql::Labels& labels);
  void release(std::uint32_t id);
  void record(std::uint32_t id, double value);
  // New rules take over: what they have not acquired at the end of their first round ends.
  void forget_users();

  // Somebody looks back this far at this series.
  void keep(std::uint32_t id, std::int64_t past_ms);
  void keep_none() { keep_.assign(keep_.size(), 0); }

  // ---- what the rules' own reader (live.h) looks at, on the writer's thread

  struct Place {
    std::uint32_t feed = 0, slot = kNobody;
  };
  [[nodiscard]] const history::Index& index() const { return index_; }
  // Where it is now; no slot when it has ended and its last samples are in chunks only.
  [[nodiscard]] const Place& place(std::uint32_t id) const { return places_[id]; }
  [[nodiscard]] const history::FeedState& feed(std::uint32_t number) const { return feeds_[number]->now; }
  // Rows of the feed since it began, those of the head included.
  [[nodiscard]] std::uint64_t rows(std::uint32_t number) const { return feeds_[number]->rows; }
  [[nodiscard]] std::size_t feed_count() const { return feeds_.size(); }
  // The rules' own feed is written to within a round.
  [[nodiscard]] bool is_recorded(std::uint32_t id) const { return places_[id].feed == 0; }
  // When it ended, in boot time; about INT64_MAX: it has not.
  [[nodiscard]] std::int64_t ended_ms(std::uint32_t id) const { return ended_[id]; }
  // Ids since the last call: such that are no more; then new ones, or ones that came back. An id that is in both was
  // another series before.
  struct Changes {
    std::vector<std::uint32_t> removed, added;
  };
  [[nodiscard]] Changes take_changes() { return std::exchange(changes_, {}); }
  [[nodiscard]] bool changed() const { return !changes_.added.empty() || !changes_.removed.empty(); }
  // Series that were looked for by their labels since it began: what changes of layouts cost.
  [[nodiscard]] std::uint64_t looked_up() const { return looked_up_; }
  [[nodiscard]] std::int64_t now_ms() const { return now_ms_; }
  [[nodiscard]] std::int64_t offset_ms() const { return offset_ms_; }

  struct Size {
    std::size_t series = 0, samples = 0;
    std::size_t sample_bytes = 0, index_bytes = 0;  // of samples and their times; of label sets
    std::uint64_t evicted = 0;                      // samples that went before their time, since it began
    std::int64_t oldest_ms = 0;                     // age of the oldest sample
  };
  [[nodiscard]] Size size() const;
  // Samples of this boot time and older ones may be missing: the limit was reached.
  [[nodiscard]] std::int64_t evicted_until_ms() const { return evicted_until_ms_; }

  // ---- any thread

  // As of the last end().
  [[nodiscard]] std::unique_ptr<HistoryView> view() const;

 private:
  static constexpr std::size_t kBlock = history::kBlock;

  struct Feed {
    history::FeedName name;
    std::shared_ptr<const Layout> layout;
    history::Ids slot_of;   // by index in Batch::values; kNobody: another feed has that series
    bool straight = false;  // slot_of is 0, 1, 2, ... and that is all
    // A series of it is another feed's: it may become this one's when that one's ends, though no layout changes then.
    bool wants_others = false, look_again = false;
    std::int64_t collected_ns = INT64_MIN;

    history::FeedState now;
    std::shared_ptr<history::Head> head;  // the same as now.head
    std::shared_ptr<history::Ids> ids;    // the same as now.ids
    bool ids_shared = false;              // with a chunk or a reader: copy before a change
    std::size_t seal_at = kBlock;
    std::uint64_t rows = 0;
    std::int64_t last_ms = 0;  // of the newest row
    std::size_t mapped = 0;    // series of the layout that are this feed's
    std::size_t head_samples = 0;
    std::vector<std::uint32_t> ended;       // ids that end with the next row
    std::vector<std::uint32_t> free_later;  // slots, free once the head that still has their samples is sealed
    std::vector<std::uint32_t> free_slots;
    std::vector<std::uint32_t> dead;  // ids whose past is still here
  };

  Feed& add_feed(history::FeedName name);
  void match_feeds(const Snapshot& snapshot);
  void end_what_did_not_come();
  void take(std::uint32_t number, const Batch& batch);
  void lose(std::uint32_t number);
  void resolve(std::uint32_t number, const Batch& batch);
  std::uint32_t slot_for(std::uint32_t number, promql::Labels labels);
  static std::uint32_t new_slot(Feed& feed);
  static history::Ids& own_ids(Feed& feed);
  void revive(std::uint32_t number, std::uint32_t id);
  void ends(std::uint32_t id);
  void ends_recorded(std::uint32_t id);
  void forget(std::uint32_t id);
  history::Row& add_row(std::uint32_t number, std::int64_t t_ms, std::size_t spare = 0);
  void write_ends(Feed& feed, history::Row& row);
  void write_end_row(std::uint32_t number);
  void count_samples(Feed& feed, std::size_t n);
  void seal(std::uint32_t number);
  void expire(std::uint32_t number);
  void choose(std::uint32_t id);
  [[nodiscard]] const Keep* chosen(std::uint32_t id) const {
    return chosen_[id] > 0 ? &settings_.keep[chosen_[id] - 1] : nullptr;
  }
  void move_coarse(history::Chunks& kept, const history::Chunk& from, const history::Ids& ids, std::int64_t every_ms,
                   std::int64_t age);
  void forget_dead(Feed& feed);
  void enforce_limit();
  void evict(Feed& feed);
  [[nodiscard]] std::size_t size_bytes() const {
    return bytes_ + index_.bytes() + feeds_.size() * (sizeof(Feed) + sizeof(history::Head));
  }
  [[nodiscard]] promql::Labels labels_of(const Layout& layout, const Sample& s) const;

  Settings settings_;
  std::int64_t restored_ms_ = INT64_MAX;  // until what did not come back has ended
  history::Index index_;
  std::vector<std::unique_ptr<Feed>> feeds_;                     // the first is the rules' own
  std::shared_ptr<const std::vector<history::FeedName>> names_;  // of feeds_, for readers
  std::vector<std::uint32_t> order_;                             // feeds of the last snapshot's batches
  // By id.
  std::vector<Place> places_;
  std::vector<std::int64_t> ended_, keep_;
  std::vector<std::uint32_t> users_;   // of recorded series
  std::vector<std::uint16_t> chosen_;  // which of settings_.keep, from 1; 0: none
  Changes changes_;
  std::uint64_t looked_up_ = 0;
  bool users_forgotten_ = false;
  bool some_ended_ = false;  // since feeds that want others' series looked for them
  bool open_ = false;        // the newest row of the rules' feed is this round's and is still written to

  std::int64_t now_ms_ = 0, offset_ms_ = 0;
  std::uint64_t rounds_ = 0;
  std::size_t bytes_ = 0;  // of chunks and rows
  std::size_t samples_ = 0;
  std::uint64_t evicted_ = 0;
  std::int64_t evicted_until_ms_ = INT64_MIN;

  mutable Mutex mutex_;
  std::shared_ptr<const history::Round> round_ GUARDED_BY(mutex_);
};

}  // namespace vitald
