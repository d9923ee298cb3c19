// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/scrape_body.h"

#include "exporters/encode/table_text.h"

namespace vitald {

void ScrapeBody::encode(const Snapshot& snapshot, ScrapeFormat format, std::string& out) {
  switch (format) {
    case ScrapeFormat::text: return text_.encode(snapshot, out);
    case ScrapeFormat::open_metrics:
      if (!open_metrics_)
        open_metrics_.emplace(created_ ? PromText::Format::open_metrics_created : PromText::Format::open_metrics);
      return open_metrics_->encode(snapshot, out);
    case ScrapeFormat::open_metrics2:
      if (!open_metrics2_) open_metrics2_.emplace();
      return open_metrics2_->encode(snapshot, out);
    case ScrapeFormat::protobuf:
      if (!protobuf_) protobuf_.emplace();
      return protobuf_->encode(snapshot, out);
    case ScrapeFormat::json:
      if (!table_) table_.emplace(SeriesTable::Settings());
      table_->update(snapshot);
      table_->values(snapshot, values_);
      out.clear();
      return append_table_json(*table_, values_, snapshot.wall_ns, out);
  }
}

}  // namespace vitald
