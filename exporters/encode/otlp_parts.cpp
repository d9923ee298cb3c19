// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/otlp_parts.h"

#include <span>

#include "exporters/encode/protobuf.h"

namespace vitald {
namespace {

using proto::Wire;

constexpr std::uint32_t kHistogram = 9;

// Buckets, sum and count of an explicit histogram; every other point is one sample.
std::uint32_t samples_of(std::uint32_t kind, std::string_view point) {
  if (kind != kHistogram) return 1;
  proto::Reader reader(point);
  for (proto::Field field; reader.next(field);)
    if (field.number == 6 && field.wire == Wire::bytes) return static_cast<std::uint32_t>(field.bytes.size() / 8 + 2);
  return 1;
}

}  // namespace

bool OtlpParts::add(std::string_view metric) {
  const auto index = static_cast<std::uint32_t>(metrics_.size());
  Metric out;
  proto::Reader reader(metric);
  for (proto::Field field, inner; reader.next(field);) {
    if (field.wire != Wire::bytes) return false;
    if (field.number == 1) out.name = field.bytes;
    else if (field.number == 2) out.description = field.bytes;
    else if (field.number == 3) out.unit = field.bytes;
    else {
      out.kind = field.number;
      proto::Reader data(field.bytes);
      while (data.next(inner)) {
        if (inner.number == 1 && inner.wire == Wire::bytes)
          points_.push_back({index, samples_of(out.kind, inner.bytes), inner.bytes});
        else if (inner.number == 2 && inner.wire == Wire::varint) out.temporality = inner.value;
        else if (inner.number == 3 && inner.wire == Wire::varint) out.monotonic = inner.value;
        else return false;
      }
      if (data.broken()) return false;
    }
  }
  metrics_.push_back(out);
  return !reader.broken();
}

Result<OtlpParts> OtlpParts::of(std::string_view bytes) {
  OtlpParts out;
  bool good = true;
  proto::Reader request(bytes);
  for (proto::Field of_resource, of_scope, field; good && request.next(of_resource);) {
    good = of_resource.number == 1 && of_resource.wire == Wire::bytes;
    proto::Reader resource(of_resource.bytes);
    while (good && resource.next(of_scope)) {
      good = of_scope.wire == Wire::bytes && (of_scope.number == 1 || of_scope.number == 2);
      if (of_scope.number == 1) {
        out.resource_ = of_scope.bytes;
        continue;
      }
      proto::Reader scope(of_scope.bytes);
      while (good && scope.next(field)) {
        good = field.wire == Wire::bytes && (field.number == 1 || field.number == 2);
        if (field.number == 1) out.scope_ = field.bytes;
        else good = good && out.add(field.bytes);
      }
      good = good && !scope.broken();
    }
    good = good && !resource.broken();
  }
  if (!good || request.broken()) return fail(Errc::malformed, "no OTLP request");
  return out;
}

std::uint64_t OtlpParts::samples(std::size_t first, std::size_t count) const {
  std::uint64_t sum = 0;
  for (const auto& p : std::span(points_).subspan(first, count)) sum += p.samples;
  return sum;
}

std::string OtlpParts::part(std::size_t first, std::size_t count) const {
  std::string scope, metric, data;
  proto::append_bytes(scope, 1, scope_);
  const auto points = std::span(points_).subspan(first, count);
  for (std::size_t i = 0; i < points.size();) {
    const auto& m = metrics_[points[i].metric];
    data.clear();
    auto end = i;
    for (; end < points.size() && points[end].metric == points[i].metric; ++end)
      proto::append_bytes(data, 1, points[end].bytes);
    if (m.temporality != 0) proto::append_number(data, 2, m.temporality);
    if (m.monotonic != 0) proto::append_number(data, 3, m.monotonic);
    metric.clear();
    proto::append_bytes(metric, 1, m.name);
    if (!m.description.empty()) proto::append_bytes(metric, 2, m.description);
    if (!m.unit.empty()) proto::append_bytes(metric, 3, m.unit);
    proto::append_bytes(metric, m.kind, data);
    proto::append_bytes(scope, 2, metric);
    i = end;
  }
  std::string resource, out;
  proto::append_bytes(resource, 1, resource_);
  proto::append_bytes(resource, 2, scope);
  proto::append_bytes(out, 1, resource);
  return out;
}

}  // namespace vitald
