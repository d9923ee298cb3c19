// SPDX-License-Identifier: Apache-2.0
// The part of NVIDIA's management library that is used, declared here (its header is not free) and opened at run time.
// Structures and numbers are those of NVML 11 and 12, which keep old ones under their old names: a function that a
// driver does not have is null, and costs what it would tell.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/result.h"

namespace vitald::nvml {

// nvmlReturn_t, those that are told apart.
enum Return : int {
  kSuccess = 0,
  kNotSupported = 3,
  kNoPermission = 4,
  kNotFound = 6,
  kInsufficientSize = 7,
  kTimeout = 10,
  kGpuIsLost = 15,
};

using Handle = struct nvmlDevice_st*;
using EventSet = struct nvmlEventSet_st*;

struct PciInfo {  // nvmlPciInfo_t
  char bus_id_legacy[16];
  unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
  char bus_id[32];
};
static_assert(sizeof(PciInfo) == 68);
struct Utilization {  // nvmlUtilization_t, percent
  unsigned gpu, memory;
};
struct Memory {  // nvmlMemory_t, bytes
  unsigned long long total, free, used;
};
struct MemoryV2 {  // nvmlMemory_v2_t; `used` is without what the driver keeps for itself
  unsigned version;
  unsigned long long total, reserved, free, used;
};
static_assert(sizeof(MemoryV2) == 40);
inline constexpr unsigned kMemoryV2 = sizeof(MemoryV2) | 2U << 24;
struct ProcessInfo {  // nvmlProcessInfo_t of the _v2 and _v3 functions; all ones: not known
  unsigned pid;
  unsigned long long used_memory;
  unsigned gpu_instance, compute_instance;
};
static_assert(sizeof(ProcessInfo) == 24);
struct ProcessSample {  // nvmlProcessUtilizationSample_t, percent; time in microseconds since 1970
  unsigned pid;
  unsigned long long time_us;
  unsigned sm, memory, encoder, decoder;
};
static_assert(sizeof(ProcessSample) == 32);
struct EventData {  // nvmlEventData_t
  Handle device;
  unsigned long long type, data;
  unsigned gpu_instance, compute_instance;
};
static_assert(sizeof(EventData) == 32);
struct FieldValue {  // nvmlFieldValue_t
  unsigned field, scope;
  long long timestamp, latency_us;
  int value_type;  // nvmlValueType_t: 0 double, 1 unsigned, 2 unsigned long, 3 unsigned long long, 4 long long, 5 int
  int result;
  union {
    double d;
    unsigned ui;
    unsigned long ul;
    unsigned long long ull;
    long long sll;
    int si;
  } value;
};
static_assert(sizeof(FieldValue) == 40);
inline constexpr unsigned kFieldMemoryTemperature = 82;  // NVML_FI_DEV_MEMORY_TEMP
inline constexpr unsigned long long kXidEvent = 8;       // nvmlEventTypeXidCriticalError
inline constexpr unsigned kClockSm = 1, kClockMemory = 2;

// name, arguments
#define VITALD_NVML_FUNCTIONS(X)                                                              \
  X(nvmlInit_v2, (void))                                                                      \
  X(nvmlShutdown, (void))                                                                     \
  X(nvmlSystemGetDriverVersion, (char*, unsigned))                                            \
  X(nvmlDeviceGetCount_v2, (unsigned*))                                                       \
  X(nvmlDeviceGetHandleByIndex_v2, (unsigned, Handle*))                                       \
  X(nvmlDeviceGetUUID, (Handle, char*, unsigned))                                             \
  X(nvmlDeviceGetName, (Handle, char*, unsigned))                                             \
  X(nvmlDeviceGetMinorNumber, (Handle, unsigned*))                                            \
  X(nvmlDeviceGetPciInfo_v3, (Handle, PciInfo*))                                              \
  X(nvmlDeviceGetPowerUsage, (Handle, unsigned*))                                             \
  X(nvmlDeviceGetPowerManagementLimit, (Handle, unsigned*))                                   \
  X(nvmlDeviceGetTotalEnergyConsumption, (Handle, unsigned long long*))                       \
  X(nvmlDeviceGetTemperature, (Handle, unsigned, unsigned*))                                  \
  X(nvmlDeviceGetFieldValues, (Handle, int, FieldValue*))                                     \
  X(nvmlDeviceGetFanSpeed, (Handle, unsigned*))                                               \
  X(nvmlDeviceGetUtilizationRates, (Handle, Utilization*))                                    \
  X(nvmlDeviceGetEncoderUtilization, (Handle, unsigned*, unsigned*))                          \
  X(nvmlDeviceGetDecoderUtilization, (Handle, unsigned*, unsigned*))                          \
  X(nvmlDeviceGetMemoryInfo, (Handle, Memory*))                                               \
  X(nvmlDeviceGetMemoryInfo_v2, (Handle, MemoryV2*))                                          \
  X(nvmlDeviceGetClockInfo, (Handle, unsigned, unsigned*))                                    \
  X(nvmlDeviceGetCurrentClocksThrottleReasons, (Handle, unsigned long long*))                 \
  X(nvmlDeviceGetCurrentClocksEventReasons, (Handle, unsigned long long*))                    \
  X(nvmlDeviceGetPerformanceState, (Handle, int*))                                            \
  X(nvmlDeviceGetPcieReplayCounter, (Handle, unsigned*))                                      \
  X(nvmlDeviceGetTotalEccErrors, (Handle, unsigned, unsigned, unsigned long long*))           \
  X(nvmlDeviceGetRemappedRows, (Handle, unsigned*, unsigned*, unsigned*, unsigned*))          \
  X(nvmlDeviceGetComputeRunningProcesses_v3, (Handle, unsigned*, ProcessInfo*))               \
  X(nvmlDeviceGetComputeRunningProcesses_v2, (Handle, unsigned*, ProcessInfo*))               \
  X(nvmlDeviceGetGraphicsRunningProcesses_v3, (Handle, unsigned*, ProcessInfo*))              \
  X(nvmlDeviceGetProcessUtilization, (Handle, ProcessSample*, unsigned*, unsigned long long)) \
  X(nvmlEventSetCreate, (EventSet*))                                                          \
  X(nvmlEventSetFree, (EventSet))                                                             \
  X(nvmlDeviceRegisterEvents, (Handle, unsigned long long, EventSet))                         \
  X(nvmlEventSetWait_v2, (EventSet, EventData*, unsigned))

struct Library {
#define X(name, arguments) int(*name) arguments = nullptr;
  VITALD_NVML_FUNCTIONS(X)
#undef X
  const char* (*nvmlErrorString)(int) = nullptr;

  // "GPU is lost"; the number where it has no words.
  [[nodiscard]] std::string text(int result) const;
};

// Opens the library; nothing is called yet. It is never closed: its threads would not survive that. One a process.
Result<const Library*> open_library(const std::string& path);

}  // namespace vitald::nvml
