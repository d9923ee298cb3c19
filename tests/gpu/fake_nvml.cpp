// SPDX-License-Identifier: Apache-2.0
// An NVML that answers by script: a line `KEY GPU = WORDS` for each answer; `! N` is NVML's error N, `sleep MS WORDS`
// answers late, and what the script does not name is not supported. The script is the file that FAKE_NVML names, read
// at every call, or a text given to fake_nvml_script().
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

#include "sensors/gpu/nvml.h"

using namespace vitald::nvml;

namespace {

constexpr int kNotThere = kNotSupported;
std::mutex mutex;
std::string text;
std::size_t xids_told = 0;
std::atomic<unsigned> device_calls = 0;

// The devices are numbers, from 1.
int index_of(Handle h) { return static_cast<int>(reinterpret_cast<std::uintptr_t>(h)) - 1; }

std::string script() {
  if (const char* path = std::getenv("FAKE_NVML")) {
    std::stringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }
  const std::lock_guard lock(mutex);
  return text;
}

// The words behind `KEY GPU =`; an error's number, or 0.
int words(const std::string& key, int gpu, std::string& out) {
  if (gpu >= 0) ++device_calls;
  std::istringstream lines(script());
  const auto start = key + ' ' + std::to_string(gpu) + " = ";
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(start, 0) != 0) continue;
    std::istringstream rest(line.substr(start.size()));
    std::string word;
    rest >> word;
    if (word == "sleep") {
      int ms = 0;
      rest >> ms;
      std::this_thread::sleep_for(std::chrono::milliseconds(ms));
      rest >> word;
    }
    if (word == "!") {
      int error = 0;
      rest >> error;
      return error;
    }
    std::getline(rest, out, '\0');
    out = word + out;
    return kSuccess;
  }
  return kNotThere;
}

template <class T>
int number(const char* key, Handle h, T* value) {
  std::string out;
  const int result = words(key, index_of(h), out);
  if (result == kSuccess) *value = static_cast<T>(std::strtoull(out.c_str(), nullptr, 10));
  return result;
}
int copy(const char* key, int gpu, char* to, unsigned size) {
  std::string out;
  const int result = words(key, gpu, out);
  if (result == kSuccess) {
    std::strncpy(to, out.c_str(), size - 1);
    to[size - 1] = '\0';
  }
  return result;
}

// "7:1024 8:2048"
int processes(const char* key, Handle h, unsigned* count, ProcessInfo* out) {
  std::string list;
  if (const int result = words(key, index_of(h), list); result != kSuccess) return result;
  std::istringstream all(list);
  const unsigned room = *count;
  *count = 0;
  for (std::string one; all >> one; ++*count) {
    if (*count >= room) continue;
    const auto colon = one.find(':');
    out[*count] = {static_cast<unsigned>(std::stoul(one)), std::stoull(one.substr(colon + 1)), 0, 0};
  }
  return *count > room ? kInsufficientSize : kSuccess;
}

}  // namespace

extern "C" {

void fake_nvml_script(const char* given) {
  const std::lock_guard lock(mutex);
  text = given;
  xids_told = 0;
}

unsigned fake_nvml_device_calls() { return device_calls; }

int nvmlInit_v2() {
  std::string out;
  const int result = words("init", -1, out);
  return result == kNotThere ? kSuccess : result;
}
int nvmlShutdown() { return kSuccess; }
const char* nvmlErrorString(int result) { return result == kGpuIsLost ? "GPU is lost" : ""; }
int nvmlSystemGetDriverVersion(char* to, unsigned size) { return copy("driver", -1, to, size); }
int nvmlDeviceGetCount_v2(unsigned* count) { return number("count", nullptr, count); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Handle* h) {
  ++device_calls;
  *h = reinterpret_cast<Handle>(static_cast<std::uintptr_t>(index) + 1);
  return kSuccess;
}
int nvmlDeviceGetUUID(Handle h, char* to, unsigned size) { return copy("uuid", index_of(h), to, size); }
int nvmlDeviceGetName(Handle h, char* to, unsigned size) { return copy("name", index_of(h), to, size); }
int nvmlDeviceGetMinorNumber(Handle h, unsigned* v) { return number("minor", h, v); }
int nvmlDeviceGetPciInfo_v3(Handle h, PciInfo* pci) {
  return copy("bus", index_of(h), pci->bus_id, sizeof pci->bus_id);
}
int nvmlDeviceGetPowerUsage(Handle h, unsigned* v) { return number("power", h, v); }
int nvmlDeviceGetPowerManagementLimit(Handle h, unsigned* v) { return number("limit", h, v); }
int nvmlDeviceGetTotalEnergyConsumption(Handle h, unsigned long long* v) { return number("energy", h, v); }
int nvmlDeviceGetTemperature(Handle h, unsigned, unsigned* v) { return number("temperature", h, v); }
int nvmlDeviceGetFanSpeed(Handle h, unsigned* v) { return number("fan", h, v); }
int nvmlDeviceGetFieldValues(Handle h, int count, FieldValue* values) {
  for (int i = 0; i < count; ++i) {
    values[i].value_type = 1;
    values[i].result = values[i].field == kFieldMemoryTemperature ? number("memory_temperature", h, &values[i].value.ui)
                                                                  : kNotSupported;
  }
  return kSuccess;
}
int nvmlDeviceGetUtilizationRates(Handle h, Utilization* u) {
  const int result = number("gpu", h, &u->gpu);
  return result == kSuccess ? number("memory", h, &u->memory) : result;
}
int nvmlDeviceGetEncoderUtilization(Handle h, unsigned* v, unsigned*) { return number("encoder", h, v); }
int nvmlDeviceGetDecoderUtilization(Handle h, unsigned* v, unsigned*) { return number("decoder", h, v); }
int nvmlDeviceGetMemoryInfo_v2(Handle h, MemoryV2* m) {
  if (m->version != kMemoryV2) return 25;  // NVML_ERROR_ARGUMENT_VERSION_MISMATCH
  int refused = 0;
  if (const int result = number("memory_v2", h, &refused); result != kSuccess && result != kNotThere) return result;
  number("fb_reserved", h, &m->reserved);
  number("fb_free", h, &m->free);
  number("fb_used", h, &m->used);
  return number("fb_total", h, &m->total);
}
int nvmlDeviceGetMemoryInfo(Handle h, Memory* m) {
  number("fb_free", h, &m->free);
  number("fb_used", h, &m->used);
  return number("fb_total", h, &m->total);
}
int nvmlDeviceGetClockInfo(Handle h, unsigned clock, unsigned* v) {
  return number(clock == kClockSm ? "sm_clock" : "memory_clock", h, v);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Handle h, unsigned long long* v) { return number("throttle", h, v); }
int nvmlDeviceGetPerformanceState(Handle h, int* v) { return number("pstate", h, v); }
int nvmlDeviceGetPcieReplayCounter(Handle h, unsigned* v) { return number("replays", h, v); }
int nvmlDeviceGetTotalEccErrors(Handle h, unsigned type, unsigned since, unsigned long long* v) {
  return number(("ecc" + std::to_string(type) + std::to_string(since)).c_str(), h, v);
}
int nvmlDeviceGetRemappedRows(Handle h, unsigned* a, unsigned* b, unsigned* c, unsigned* d) {
  *b = *c = *d = 0;
  number("remap_pending", h, c);
  return number("remapped", h, a);
}
int nvmlDeviceGetComputeRunningProcesses_v3(Handle h, unsigned* n, ProcessInfo* p) {
  return processes("compute", h, n, p);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(Handle h, unsigned* n, ProcessInfo* p) {
  return processes("graphics", h, n, p);
}
// "7:1000:50 7:2000:70": pid, microseconds, percent
int nvmlDeviceGetProcessUtilization(Handle h, ProcessSample* out, unsigned* count, unsigned long long since) {
  std::string list;
  if (const int result = words("samples", index_of(h), list); result != kSuccess) return result;
  std::istringstream all(list);
  const unsigned room = *count;
  *count = 0;
  for (std::string one; all >> one;) {
    unsigned pid = 0, percent = 0;
    unsigned long long us = 0;
    if (std::sscanf(one.c_str(), "%u:%llu:%u", &pid, &us, &percent) != 3 || us <= since || *count >= room) continue;
    out[(*count)++] = {pid, us, percent, 0, 0, 0};
  }
  return *count > 0 ? kSuccess : kNotFound;
}
int nvmlEventSetCreate(EventSet* set) {
  std::string out;
  if (const int result = words("event_set", -1, out); result != kNotThere) return result;
  *set = reinterpret_cast<EventSet>(std::uintptr_t{1});
  return kSuccess;
}
int nvmlEventSetFree(EventSet) { return kSuccess; }
int nvmlDeviceRegisterEvents(Handle h, unsigned long long, EventSet) {
  std::string out;
  const int result = words("register", index_of(h), out);
  if (result == kNotThere) return kSuccess;
  return out == "no" ? kNotSupported : result;
}
// "0:79 1:63": GPU, XID; each is told once
int nvmlEventSetWait_v2(EventSet, EventData* data, unsigned) {
  std::string list;
  if (const int result = words("xids", -1, list); result != kSuccess) return result == kNotThere ? kTimeout : result;
  std::istringstream all(list);
  std::string one;
  for (std::size_t i = 0; i <= xids_told; ++i)
    if (!(all >> one)) return kTimeout;
  ++xids_told;
  *data = {reinterpret_cast<Handle>(std::stoul(one) + 1), kXidEvent, std::stoull(one.substr(one.find(':') + 1)), 0, 0};
  return kSuccess;
}

}  // extern "C"
