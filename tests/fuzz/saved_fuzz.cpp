// SPDX-License-Identifier: Apache-2.0
// A file of the saved history, as a crash, a disk or another version left it. Behind good checksums as well: what is
// taken must be readable like any history.
#include "rules/history/saved.h"

#include "rules/history/store.h"
#include "tests/fuzz/input.h"

namespace {

using namespace vitald;

constexpr MetricDesc kDesc{"x", MetricType::counter, "help", "device"};
const Moment kNow{"one", 400'000, 1'700'000'400'000};
constexpr std::size_t kBytes = 1 << 20;

void read_all(const HistoryView& view) {
  promql::Selector any;
  auto& reader = const_cast<HistoryView&>(view);
  const auto& selection = reader.select(reader.bind(any, 0));
  promql::SeriesSource::Buffer buffer;
  for (const auto id : selection.ids) {
    (void)reader.at(id, view.now_wall_ms(), 300'000);
    (void)reader.at(id, view.now_wall_ms() - 100'000, 300'000);
    const auto points = reader.range(id, 0, view.now_wall_ms(), buffer);
    for (std::size_t i = 1; i < points.count; ++i)
      if (points.times[i] <= points.times[i - 1]) __builtin_trap();
  }
}

// Takes what is read, goes on with it, writes it again.
void use(const std::string& file) {
  auto saved = history::load(source_of(file), file.size(), kNow, kBytes);
  if (!saved) return;
  History h({.limit_bytes = kBytes});
  if (!h.restore(std::move(*saved))) return;
  BatchWriter writer("host");
  for (int i = 0; i < 3; ++i) {
    Snapshot s;
    s.boot_ns = (kNow.boot_ms + i * 30'000) * 1'000'000;
    s.wall_ns = (kNow.wall_ms + i * 30'000) * 1'000'000;
    writer.begin(s.boot_ns);
    writer.set(kDesc, i, i == 1 ? "a" : "b");
    s.batches.push_back(writer.finish({}, 0, 0));
    h.begin(s);
    h.end();
    read_all(*h.view());
  }
  std::string again;
  if (!history::save(h.view()->round(), {}, kNow,
                     [&](std::string_view b) -> Result<> { return again += b, Result<>(); }))
    __builtin_trap();
  if (const auto twice = history::load(source_of(again), again.size(), kNow, SIZE_MAX); !twice) __builtin_trap();
}

// A history of what the bytes say.
std::string some_file(Input& in) {
  History h({.limit_bytes = kBytes});
  BatchWriter writer("host"), other("worker");
  Snapshot s;
  s.boot_ns = 1'000'000'000;
  const std::size_t rounds = in.byte() % 80;
  for (std::size_t i = 0; i < rounds && !in.empty(); ++i) {
    s.boot_ns += (1 + in.byte()) * std::int64_t{10'000'000};
    s.wall_ns = s.boot_ns + 1'700'000'000'000'000'000;
    s.batches.clear();
    for (auto* w : {&writer, &other}) {
      const auto what = in.byte();
      if (w == &other && what % 4 == 0) continue;
      w->begin(s.boot_ns);
      for (int d = 0; d < 4; ++d)
        if ((what >> d & 1) != 0)
          w->set(kDesc, static_cast<double>(in.number()) / (d + 1), std::string(1, static_cast<char>('a' + d)));
      s.batches.push_back(w->finish({}, 0, 0));
    }
    h.begin(s);
    h.end();
  }
  std::string file;
  (void)history::save(h.view()->round(), {}, kNow,
                      [&](std::string_view b) -> Result<> { return file += b, Result<>(); });
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  Input in(data, size);
  const auto how = in.byte() % 3;
  if (how == 0) {  // as it is
    use(std::string(in.rest()));
    return 0;
  }
  const auto changes = in.byte() % 4;
  const auto edits = in.bytes();
  auto file = some_file(in);
  if (how == 1) {  // damage: it is refused, unless nothing changed
    Input edit(reinterpret_cast<const unsigned char*>(edits.data()), edits.size());
    const auto before = file;
    for (int i = 0; i < changes && !file.empty(); ++i)
      file[edit.number() % file.size()] = static_cast<char>(edit.byte());
    if (file != before && history::load(source_of(file), file.size(), kNow, kBytes)) __builtin_trap();
    use(before);
    return 0;
  }
  // The same damage, then the checksums are made right.
  std::vector<Section> sections;
  SectionReader reader(std::string_view(file).substr(0, 8), source_of(file), file.size());
  for (auto next = reader.next(); next && *next; next = reader.next()) sections.push_back(std::move(**next));
  Input edit(reinterpret_cast<const unsigned char*>(edits.data()), edits.size());
  for (int i = 0; i <= changes && !sections.empty(); ++i) {
    auto& s = sections[edit.byte() % sections.size()];
    if (!s.payload.empty()) s.payload[edit.number() % s.payload.size()] = static_cast<char>(edit.byte());
  }
  std::string again;
  SectionWriter writer(std::string_view(file).substr(0, 8),
                       [&](std::string_view b) -> Result<> { return again += b, Result<>(); });
  for (const auto& s : sections) writer.put(s.tag, s.payload);
  (void)writer.end();
  use(again);
  return 0;
}
