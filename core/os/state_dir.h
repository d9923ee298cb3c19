// SPDX-License-Identifier: Apache-2.0
// The one folder where vitald keeps what must survive a restart: journals of what is to be delivered, alerts, history.
// One process has it at a time.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/os/fd.h"
#include "core/result.h"

namespace vitald {

// Everything is thread-safe as long as no two threads write the same name.
class StateDir {
 public:
  // Makes the folder (0700) where its parent is there, and locks it until the end of the object. An error when it is
  // no folder, belongs to someone else, may be written by everybody, cannot be written, or another process has it.
  static Result<std::unique_ptr<StateDir>> open(const std::string& path);
  // The same without making or locking anything: whether open() would succeed while nobody else has it.
  static Result<> check(const std::string& path);

  // `name` is that of a file in the folder or in one made by folder(): "alerts", "queue/pager/head".
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string at(std::string_view name) const;

  // All of it or nothing, also when the machine dies meanwhile: a new file is written, brought to disk, and takes the
  // old one's place. After an error (disk full) the old one is as it was.
  Result<> write(const std::string& name, std::string_view content) const;
  // The same, piece by piece.
  using Append = std::function<Result<>(std::string_view bytes)>;
  Result<> write(const std::string& name, const std::function<Result<>(const Append& append)>& fill) const;
  // Some space that is ours also when the disk is full, for the little that must not be lost (alerts, not the history):
  // a file that make_room() removes. True: there was one, so what failed for want of space may be tried again. Once
  // there is space again reserve() makes it anew.
  void reserve() const;
  [[nodiscard]] bool make_room() const;
  static bool is_full(const Error& error);

  // Nothing when there is no such file. An error when it is larger than `most_bytes`, or a link.
  Result<std::optional<std::string>> read(const std::string& name, std::size_t most_bytes) const;
  // The file to read from. Nothing when there is none; an error when it is a link or no file.
  struct Reading {
    Fd file;
    std::size_t bytes = 0;
  };
  Result<std::optional<Reading>> open_to_read(const std::string& name) const;
  // What cannot be used makes room and is kept for whoever wants to look: as NAME.damaged, which it gives back, in
  // place of one that was there.
  Result<std::string> set_aside(const std::string& name) const;
  // Makes it (0700) with those above it, unless it is there.
  Result<> folder(const std::string& name) const;

 private:
  StateDir(std::string path, Fd folder, Fd lock)
      : path_(std::move(path)), folder_(std::move(folder)), lock_(std::move(lock)) {}

  std::string path_;
  Fd folder_, lock_;
};

// Brings to disk that names in this folder came, went or changed.
Result<> sync_folder(const std::string& path);

// All bytes, also where the kernel takes them piece by piece.
Result<> write_all(int fd, std::string_view bytes, std::string_view what);
// As many as there are of `count` bytes at `at`.
Result<std::size_t> read_at(int fd, std::size_t at, char* to, std::size_t count, std::string_view what);

}  // namespace vitald
