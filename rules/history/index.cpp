// SPDX-License-Identifier: Apache-2.0
#include "rules/history/index.h"

#include <utility>

namespace vitald::history {

namespace {

// A node of the hash set, the control block and the text.
std::size_t bytes_of(const promql::Labels& labels) { return 64 + sizeof labels + labels.bytes().capacity(); }

}  // namespace

std::uint32_t Index::find(const promql::Labels& labels) const {
  const auto at = by_labels_.find(labels);
  return at == by_labels_.end() ? kNobody : *at;
}

std::uint32_t Index::add(promql::Labels labels, std::uint32_t feed, std::uint32_t slot) {
  std::uint32_t id;
  if (free_.empty()) {
    id = static_cast<std::uint32_t>(size_++);
    if (id / kPage == pages_.size()) {
      pages_.push_back(std::make_shared<Page>());
      own_.push_back(true);
      changed_ = true;
    }
  } else {
    id = free_.back();
    free_.pop_back();
  }
  label_bytes_ += bytes_of(labels);
  writable(id) = {std::make_shared<const promql::Labels>(std::move(labels)), feed, slot};
  by_labels_.insert(id);
  return id;
}

void Index::remove(std::uint32_t id) {
  by_labels_.erase(id);
  label_bytes_ -= bytes_of(*at(id).labels);
  writable(id) = {};
  free_.push_back(id);
}

// What readers may look at is copied first; behind their size they do not look.
Index::Series& Index::writable(std::uint32_t id) {
  const auto page = id / kPage;
  if (id < published_.size_ && !own_[page]) {
    pages_[page] = std::make_shared<Page>(*pages_[page]);
    own_[page] = true;
    changed_ = true;
  }
  return (*pages_[page])[id % kPage];
}

Index::Table Index::publish() {
  if (changed_) published_.pages_ = std::make_shared<const std::vector<std::shared_ptr<Page>>>(pages_);
  if (changed_ || published_.size_ != size_) own_.assign(pages_.size(), false);
  published_.size_ = size_;
  changed_ = false;
  return published_;
}

}  // namespace vitald::history
