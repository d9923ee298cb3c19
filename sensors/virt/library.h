// SPDX-License-Identifier: Apache-2.0
// libvirt.so, opened at run time: linked, it would cost every vitald 14 MB and a hard dependency.
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <string>

#include "core/result.h"

namespace vitald::virt {

#define VITALD_LIBVIRT_FUNCTIONS(X)     \
  X(virConnectClose)                    \
  X(virConnectDomainEventDeregisterAny) \
  X(virConnectDomainEventRegisterAny)   \
  X(virConnectGetAllDomainStats)        \
  X(virConnectGetLibVersion)            \
  X(virConnectGetVersion)               \
  X(virConnectIsAlive)                  \
  X(virConnectListAllDomains)           \
  X(virConnectListAllNetworks)          \
  X(virConnectListAllStoragePools)      \
  X(virConnectOpenReadOnly)             \
  X(virConnectRegisterCloseCallback)    \
  X(virConnectSetKeepAlive)             \
  X(virConnectUnregisterCloseCallback)  \
  X(virDomainFree)                      \
  X(virDomainGetID)                     \
  X(virDomainGetJobInfo)                \
  X(virDomainGetName)                   \
  X(virDomainGetUUIDString)             \
  X(virDomainGetXMLDesc)                \
  X(virDomainStatsRecordListFree)       \
  X(virEventAddHandle)                  \
  X(virEventRegisterDefaultImpl)        \
  X(virEventRemoveHandle)               \
  X(virEventRunDefaultImpl)             \
  X(virGetLastErrorMessage)             \
  X(virGetVersion)                      \
  X(virNetworkFree)                     \
  X(virNetworkGetBridgeName)            \
  X(virNetworkGetName)                  \
  X(virNetworkIsActive)                 \
  X(virNodeGetInfo)                     \
  X(virSetErrorFunc)                    \
  X(virStoragePoolFree)                 \
  X(virStoragePoolGetInfo)              \
  X(virStoragePoolGetName)

struct Library {
#define X(name) decltype(&::name) name = nullptr;
  VITALD_LIBVIRT_FUNCTIONS(X)
#undef X
};

// The one table of this process; loaded on the first call and never unloaded (its threads would not survive that).
Result<const Library*> library();

// What the last call of this thread said about itself.
std::string last_error(const Library& lib);

}  // namespace vitald::virt
