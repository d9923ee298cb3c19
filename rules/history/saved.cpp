// SPDX-License-Identifier: Apache-2.0
#include "rules/history/saved.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "core/text/bytes.h"

namespace vitald::history {
namespace {

// Sections, in this order; each is there as often as is needed:
//   head    when, labels of all series, feeds, how many series
//   series  feed, slot, labels of each, in the order of their numbers
//   ids     the series of each slot: of a chunk, or of several
//   chunk   feed, which ids, which slots have a block, the blocks; the newest chunk of all feeds first
constexpr std::string_view kHead = "vitaldh1";
enum Tag : std::uint32_t { kEnd = kEndSection, kHeadTag, kSeriesTag, kIdsTag, kChunkTag };
constexpr std::size_t kPiece = 256 << 10;  // of the series in one section

void put_labels(std::string& out, const auto& labels, std::size_t count) {
  put_number(out, static_cast<std::uint32_t>(count));
  for (const auto& [name, value] : labels) {
    put_text(out, name);
    put_text(out, value);
  }
}

std::vector<std::pair<std::string, std::string>> take_labels(Taker& in) {
  std::vector<std::pair<std::string, std::string>> out(in.count(2 * sizeof(std::uint32_t)));
  for (auto& [name, value] : out) {
    name = in.text();
    value = in.text();
  }
  return out;
}

// ---- writing

class Writer {
 public:
  Writer(const Round& round, SectionWriter::Sink sink) : round_(round), out_(kHead, std::move(sink)) {}

  Result<> save(const SeriesLabels& series_labels, const Moment& now) {
    number_series();
    head(series_labels, now);
    series();
    chunks();
    return out_.end();
  }

 private:
  struct Piece {
    std::uint32_t feed;
    std::shared_ptr<const Chunk> chunk;
    std::uint32_t ids = 0;
  };

  void number_series() {
    numbers_.assign(round_.table.size(), kNobody);
    for (std::uint32_t id = 0; id < round_.table.size(); ++id)
      if (round_.table.at(id).labels) numbers_[id] = count_++;
  }
  // Of the id as it was in a feed's chunks: it may be another feed's series now.
  [[nodiscard]] std::uint32_t number(std::uint32_t id, std::uint32_t feed) const {
    return id < numbers_.size() && numbers_[id] != kNobody && round_.table.at(id).feed == feed ? numbers_[id] : kNobody;
  }

  void head(const SeriesLabels& series_labels, const Moment& now) {
    std::string bytes;
    put_text(bytes, now.boot_id);
    put_number(bytes, now.boot_ms);
    put_number(bytes, now.wall_ms);
    put_labels(bytes, series_labels, series_labels.size());
    static const std::vector<FeedName> kNone;
    const auto& names = round_.names ? *round_.names : kNone;  // before the first round
    put_number(bytes, static_cast<std::uint32_t>(names.size()));
    for (const auto& name : names) {
      put_text(bytes, name.collector);
      put_number(bytes, static_cast<std::uint32_t>(name.ordinal));
    }
    put_number(bytes, count_);
    out_.put(kHeadTag, bytes);
  }

  void series() {
    std::string bytes;
    for (std::uint32_t id = 0; id < round_.table.size(); ++id) {
      const auto& s = round_.table.at(id);
      if (!s.labels) continue;
      put_number(bytes, s.feed);
      put_number(bytes, round_.feeds[s.feed].find(id, s.slot));
      std::vector<std::pair<std::string_view, std::string_view>> labels;
      for (const auto l : *s.labels) labels.emplace_back(l.name, l.value);
      put_labels(bytes, labels, labels.size());
      if (bytes.size() < kPiece) continue;
      out_.put(kSeriesTag, bytes);
      bytes.clear();
    }
    if (!bytes.empty()) out_.put(kSeriesTag, bytes);
  }

  void chunks() {
    std::vector<Piece> all;
    for (std::uint32_t feed = 0; feed < round_.feeds.size(); ++feed) {
      const auto& f = round_.feeds[feed];
      for (const auto& chunk : *f.chunks) all.push_back({feed, chunk});
      if (f.size == 0) continue;
      if (auto chunk = Chunk::seal(*f.head, f.size, f.ids); chunk->series() > 0)
        all.push_back({feed, std::move(chunk)});
    }
    std::ranges::stable_sort(all, {}, [](const Piece& p) { return -p.chunk->last_ms(); });
    std::unordered_map<const Ids*, std::uint32_t> known;
    for (auto& p : all) {
      const auto [at, is_new] = known.emplace(p.chunk->ids().get(), static_cast<std::uint32_t>(known.size()));
      p.ids = at->second;
      if (is_new) put_ids(*p.chunk->ids(), p.feed);
    }
    for (const auto& p : all) put_chunk(p);
  }

  void put_ids(const Ids& ids, std::uint32_t feed) {
    std::string bytes;
    for (const auto id : ids) put_number(bytes, number(id, feed));
    out_.put(kIdsTag, bytes);
  }

  void put_chunk(const Piece& p) {
    const auto& chunk = *p.chunk;
    const auto& ids = *chunk.ids();
    std::string present((ids.size() + 7) / 8, '\0'), blocks(chunk.time_block());
    bool any = false;
    for (std::uint32_t slot = 0; slot < ids.size(); ++slot) {
      if (!chunk.has(slot) || number(ids[slot], p.feed) == kNobody) continue;
      present[slot / 8] = static_cast<char>(present[slot / 8] | 1 << slot % 8);
      blocks += chunk.block_of(slot);
      any = true;
    }
    if (!any) return;
    std::string bytes;
    put_number(bytes, p.feed);
    put_number(bytes, p.ids);
    put_number(bytes, static_cast<std::uint8_t>(chunk.count()));
    put_number(bytes, static_cast<std::uint8_t>(chunk.thinned()));
    put_number(bytes, chunk.first_ms());
    put_number(bytes, chunk.last_ms());
    bytes += present;
    bytes += blocks;
    out_.put(kChunkTag, bytes);
  }

  const Round& round_;
  SectionWriter out_;
  std::vector<std::uint32_t> numbers_;  // by id
  std::uint32_t count_ = 0;
};

// ---- reading

class Reader {
 public:
  Reader(SectionReader::Source source, std::size_t file_bytes, const Moment& now, std::size_t most_bytes)
      : in_(kHead, std::move(source), file_bytes), now_(now), most_bytes_(most_bytes) {}

  Result<Saved> load() {
    std::uint32_t before = kHeadTag;
    for (bool first = true;; first = false) {
      auto section = in_.next();
      if (!section) return fail(section.error());
      if (!*section) {
        if (first || out_.series.size() != expected_) return wrong("the list of series");
        break;
      }
      const auto tag = (*section)->tag;
      if (tag < before || first != (tag == kHeadTag)) return wrong("the order of sections");
      // All series before anything that names one.
      if (tag > kSeriesTag && out_.series.size() != expected_) return wrong("the list of series");
      before = tag;
      Taker bytes((*section)->payload);
      const bool good = tag == kHeadTag     ? head(bytes)
                        : tag == kSeriesTag ? series(bytes)
                        : tag == kIdsTag    ? ids(bytes)
                        : tag == kChunkTag  ? chunk(bytes)
                                            : false;
      if (!good)
        return wrong(tag == kHeadTag     ? "the head"
                     : tag == kSeriesTag ? "a series"
                     : tag == kIdsTag    ? "a list of ids"
                     : tag == kChunkTag  ? "a chunk"
                                         : "the kind of a section");
    }
    for (auto& f : out_.feeds) std::ranges::reverse(f.chunks);
    return std::move(out_);
  }

 private:
  static tl::unexpected<Error> wrong(std::string_view what) {
    return fail(Errc::malformed, fmt::format("{} makes no sense, though the checksums are right", what));
  }

  bool head(Taker& in) {
    out_.at.boot_id = in.text();
    out_.at.boot_ms = in.number<std::int64_t>();
    out_.at.wall_ms = in.number<std::int64_t>();
    for (auto& [name, value] : take_labels(in)) out_.series_labels.emplace(std::move(name), std::move(value));
    out_.feeds.resize(in.count(2 * sizeof(std::uint32_t)));
    for (auto& f : out_.feeds) {
      f.collector = in.text();
      f.ordinal = in.number<std::uint32_t>();
    }
    expected_ = in.number<std::uint32_t>();
    if (!in.ended() || !is_time_ms(out_.at.boot_ms) || !is_time_ms(out_.at.wall_ms)) return false;
    out_.now_ms = now_.boot_ms;
    out_.same_boot = now_.same_boot(out_.at);
    shift_ms_ = now_.shift_from(out_.at);
    out_.at.boot_ms += shift_ms_;
    newest_.assign(out_.feeds.size(), INT64_MAX);
    return true;
  }

  bool series(Taker& in) {
    while (!in.rest().empty()) {
      Saved::Series s;
      s.feed = in.number<std::uint32_t>();
      s.slot = in.number<std::uint32_t>();
      s.labels = promql::Labels(take_labels(in));
      if (!in.good() || s.feed >= out_.feeds.size() || out_.series.size() == expected_) return false;
      bytes_ += 128 + s.labels.bytes().size();
      if (s.slot != kNobody) {
        auto& ids = out_.feeds[s.feed].ids;
        if (s.slot >= expected_ + kMostFreeSlots) return false;
        if (s.slot >= ids.size()) ids.resize(s.slot + 1, kNobody);
        if (ids[s.slot] != kNobody) return false;
        ids[s.slot] = static_cast<std::uint32_t>(out_.series.size());
      }
      out_.series.push_back(std::move(s));
    }
    return true;
  }

  bool ids(Taker& in) {
    begins_.resize(out_.series.size(), INT64_MAX);
    auto list = std::make_shared<Ids>();
    seen_.assign(out_.series.size(), false);
    while (!in.rest().empty()) {
      const auto number = in.number<std::uint32_t>();
      if (!in.good() || (number != kNobody && (number >= out_.series.size() || seen_[number]))) return false;
      if (number != kNobody) seen_[number] = true;
      list->push_back(number);
    }
    list->shrink_to_fit();
    ids_.push_back(std::move(list));
    return true;
  }

  bool chunk(Taker& in) {
    const auto feed = in.number<std::uint32_t>(), list = in.number<std::uint32_t>();
    const std::size_t count = in.number<std::uint8_t>();
    const auto thinned = in.number<std::uint8_t>();
    const auto first_ms = in.number<std::int64_t>(), last_ms = in.number<std::int64_t>();
    if (!in.good() || feed >= out_.feeds.size() || list >= ids_.size() || thinned > 1 || !is_time_ms(first_ms) ||
        !is_time_ms(last_ms) || last_ms > newest_[feed])
      return false;
    const auto& ids = ids_[list];
    const auto bits = in.bytes((ids->size() + 7) / 8);
    if (!in.good() || (ids->size() % 8 != 0 && static_cast<unsigned char>(bits.back()) >> ids->size() % 8 != 0))
      return false;
    std::vector<bool> present(ids->size());
    for (std::size_t slot = 0; slot < ids->size(); ++slot) {
      present[slot] = (static_cast<unsigned char>(bits[slot / 8]) >> slot % 8 & 1) != 0;
      if (!present[slot]) continue;
      const auto id = (*ids)[slot];
      if (id == kNobody || out_.series[id].feed != feed || last_ms >= begins_[id]) return false;
      begins_[id] = first_ms;
    }
    auto made = Chunk::of(ids, present, in.rest(), count, first_ms + shift_ms_, last_ms + shift_ms_, thinned != 0);
    if (!made) return false;
    newest_[feed] = last_ms;
    const auto all = made->samples();
    made = Chunk::until(made, now_.boot_ms);
    out_.in_future += all - (made ? made->samples() : 0);
    if (!made) return true;
    if (bytes_ + made->bytes() > most_bytes_) {  // older ones do not get the room that this one had not
      most_bytes_ = 0;
      out_.too_many += made->samples();
      out_.too_many_until_ms = std::max(out_.too_many_until_ms, made->last_ms());
      return true;
    }
    bytes_ += made->bytes();
    out_.samples += made->samples();
    out_.feeds[feed].chunks.push_back(std::move(made));
    return true;
  }

  static constexpr std::size_t kMostFreeSlots = 1 << 20;

  SectionReader in_;
  const Moment& now_;
  std::size_t most_bytes_, bytes_ = 0;
  Saved out_;
  std::size_t expected_ = 0;  // series
  std::int64_t shift_ms_ = 0;
  std::vector<std::shared_ptr<const Ids>> ids_;
  std::vector<bool> seen_;
  std::vector<std::int64_t> newest_;  // by feed: where the chunk that was read last ends
  // By series: where the chunk that was read last begins. Those of a feed overlap where some series are kept coarser.
  std::vector<std::int64_t> begins_;
};

}  // namespace

Result<> save(const Round& round, const SeriesLabels& series_labels, const Moment& now, SectionWriter::Sink sink) {
  return Writer(round, std::move(sink)).save(series_labels, now);
}

Result<Saved> load(SectionReader::Source source, std::size_t file_bytes, const Moment& now, std::size_t most_bytes) {
  return Reader(std::move(source), file_bytes, now, most_bytes).load();
}

}  // namespace vitald::history
