// SPDX-License-Identifier: Apache-2.0
// Any collector on a tree whose files change under it. The input chooses a tree, then up to four changes: a file
// gets other content, is cut, has bytes overwritten, goes, gets a sibling with an odd name, or vanishes between
// two reads of it. The collector runs before (or not) and after each change, and at the end on the whole tree.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>
#include <stdexcept>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/trees.h"

namespace {

std::set<std::string>* opened;  // while a first run is watched: what it opens
int reads_left = -1;            // this many reads until one fails; -1: none does
std::string vanishes;           // what goes then

}  // namespace

// The linker puts these in place of the C library's (--wrap).
extern "C" {
int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
  if (opened) opened->insert(path);
  return __real_open(path, flags, 0600);
}
ssize_t __real_pread(int fd, void* to, size_t size, off_t at);
ssize_t __wrap_pread(int fd, void* to, size_t size, off_t at) {
  if (reads_left > 0 && --reads_left == 0) {
    unlink(vanishes.c_str());
    errno = ENODEV;
    return -1;
  }
  return __real_pread(fd, to, size, at);
}
}

namespace vitald {
namespace {
namespace fs = std::filesystem;

// What hangs on more than files: libsensors and libvirt have state of their own, the probes are the kernel's.
bool fuzzed(const CollectorEntry& entry) {
  return entry.info->make && entry.folder != "bpf" && entry.folder != "virt" && entry.name != "sensors" &&
         entry.name != "perf";
}

const CollectorEntry* entry_of(std::string_view name) {
  for (const auto& entry : collector_list())
    if (entry.name == name && fuzzed(entry)) return &entry;
  return nullptr;
}

void write(const std::string& path, std::string_view content) {
  struct stat st {};
  if (lstat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) return;
  const int fd = __real_open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (::write(fd, content.data(), content.size()) < 0) throw std::runtime_error("write " + path);
  close(fd);
}

class Subject {
 public:
  Subject(const SeedTree& tree, std::string root) : entry_(*entry_of(tree.collector)), root_(std::move(root)) {
    if (!fs::exists(root_)) write_tree(tree);  // several collectors share the corpus
    host_.emplace(Host::Roots{root_ + "/proc", root_ + "/sys", root_ + "/root", root_ + "/udev"}, &clock_);
    options_.declare(entry_.info->flags);
    for (const auto name : entry_.info->others_flags)
      for (const auto& other : collector_list())
        for (const auto& flag : other.info->flags)
          if (flag.name == name) options_.declare(std::span(&flag, 1));
    for (const auto& [flag, value] : tree.flags) {
      const auto* spec = options_.spec(flag);
      if (!spec) continue;  // of the agent
      if (spec->type == FlagType::list) options_.append(flag, with_root(value));
      else options_.set(flag, with_root(value));
    }
    std::set<std::string> read;
    opened = &read;
    start();
    run();
    opened = nullptr;
    for (const auto& path : read)
      if (std::error_code no; path.starts_with(root_) && fs::is_regular_file(path, no))
        files_.emplace_back(path, content(path));
    collector_.reset();
  }

  void test(Input in) {
    if (files_.empty()) return;
    writer_.emplace("fuzz");
    const bool fresh = in.byte() & 1;
    if (!fresh) start(), run();
    std::set<std::size_t> touched;
    std::vector<std::string> made;
    for (int i = 0; i < 4 && !in.empty(); ++i) {
      const auto n = in.byte() % files_.size();
      touched.insert(n);
      change(files_[n].first, files_[n].second, in, made);
      if (!collector_) start();
      clock_.advance_ns(i == 2 ? 600'000'000'000 : 5'000'000'000);
      run();
      run();
    }
    reads_left = -1;
    for (const auto& path : made) fs::remove_all(path);
    for (const auto n : touched) write(files_[n].first, files_[n].second);
    run();
    collector_.reset();
  }

 private:
  std::string with_root(std::string text) const {
    if (const auto at = text.find("@ROOT@"); at != text.npos) text.replace(at, 6, root_);
    return text;
  }
  static std::string content(const std::string& path) {
    const auto text = read_kernel_file(path);
    return text ? std::string(*text) : std::string();
  }
  void write_tree(const SeedTree& tree) const {
    for (const auto* folder : {"proc", "sys", "root", "udev"}) fs::create_directories(root_ + "/" + folder);
    for (const auto& [name, content] : tree.files) {
      const auto path = root_ + "/" + name;
      std::error_code no;
      fs::create_directories(fs::path(path).parent_path(), no);
      if (content.starts_with("->")) fs::create_symlink(with_root(content.substr(2)), path, no);
      else write(path, content);
    }
  }
  void start() {
    if (auto made = entry_.info->make(*host_, options_)) collector_ = std::move(*made);
  }
  void run() {
    if (!collector_) return;
    writer_->begin(clock_.boot_ns());
    const auto outcome = collector_->collect(*writer_);
    (void)writer_->finish(outcome, 0, 0);
  }
  static void change(const std::string& path, const std::string& whole, Input& in, std::vector<std::string>& made) {
    const auto what = in.byte() % 7;
    const auto at = std::min<std::size_t>(in.number(), whole.size());
    const auto bytes = in.bytes();
    auto text = whole;
    switch (what) {
      case 0: return write(path, bytes);
      case 1: return write(path, text.substr(0, at));
      case 2: return write(path, text.replace(at, bytes.size(), bytes));
      case 3: return write(path, text.insert(at, bytes));
      case 4: unlink(path.c_str()); return;
      case 5: {
        std::string name(bytes.substr(0, 200));
        std::ranges::replace_if(
            name, [](char c) { return c == '/' || c == '\0'; }, '_');
        if (name.empty() || name == "." || name == "..") return;
        const auto parent = fs::path(path).parent_path();
        std::error_code no;
        const auto beside = (at % 2 ? parent : parent.parent_path()) / name;
        if (fs::exists(fs::symlink_status(beside, no))) return;
        fs::copy(at % 2 ? fs::path(path) : parent, beside, no);
        made.push_back(beside.string());
        return;
      }
      default: reads_left = 1 + static_cast<int>(at % 20); vanishes = path;
    }
  }

  const CollectorEntry& entry_;
  std::string root_;
  FakeClock clock_;
  std::optional<Host> host_;
  Options options_;
  std::vector<std::pair<std::string, std::string>> files_;  // that the collector reads, and what is in them
  std::unique_ptr<Collector> collector_;
  std::optional<BatchWriter> writer_{"fuzz"};
};

std::string temporary;

std::vector<std::unique_ptr<Subject>> subjects() {
  char name[] = "/tmp/vitald-fuzz-XXXXXX";
  if (!mkdtemp(name)) throw std::runtime_error("mkdtemp");
  temporary = name;
  std::atexit([] {
    std::error_code ignored;  // what is left is in /tmp
    fs::remove_all(temporary, ignored);
  });
  const char* const only = std::getenv("VITALD_FUZZ_COLLECTOR");
  const auto wanted = [&](const SeedTree& tree) {
    return entry_of(tree.collector) && (!only || tree.collector == only);
  };
  std::vector<std::unique_ptr<Subject>> all;
  for (const auto& tree : read_seed_trees(VITALD_FUZZ_TREES))
    if (wanted(tree)) all.push_back(std::make_unique<Subject>(tree, temporary + "/" + std::to_string(all.size())));
  if (const char* const corpus = std::getenv("VITALD_FUZZ_CORPUS")) {
    std::vector<SeedTree> trees;
    add_corpus_trees(trees, corpus);
    for (const auto& tree : trees)
      if (wanted(tree)) all.push_back(std::make_unique<Subject>(tree, temporary + "/corpus"));
  }
  return all;
}

}  // namespace
}  // namespace vitald

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const auto kAll = vitald::subjects();
  vitald::Input in(data, size);
  const auto n = in.byte();
  if (!kAll.empty()) kAll[n % kAll.size()]->test(in);
  return 0;
}
