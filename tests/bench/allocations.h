// SPDX-License-Identifier: Apache-2.0
// How often a program allocates.
#pragma once

#include <cstddef>

// Calls of operator new so far, in a program that links allocations.cpp. For one thread.
std::size_t allocations();
