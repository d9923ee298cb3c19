# One library per room. The links are the arrows of docs/architecture.md: a wrong one does not link.
add_library(vitald_flags INTERFACE)
# -pthread: some libraries ask for it, and precompiled headers serve only what is compiled alike.
target_compile_options(vitald_flags INTERFACE -pthread -Wall -Wextra -Wshadow -Wconversion -Werror
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)  # core/mutex.h
target_link_libraries(vitald_flags INTERFACE Threads::Threads)
# What ships and what is measured. Tests leave it out: they are compiled in half the time without.
add_library(vitald_optimized INTERFACE)
target_compile_options(vitald_optimized INTERFACE $<$<CONFIG:Release>:-O2;-g1;-ffunction-sections;-fdata-sections>)
target_link_options(vitald_flags INTERFACE $<$<CONFIG:Release>:-Wl,--gc-sections> -Wl,--as-needed -Wl,-z,relro,-z,now)
target_include_directories(vitald_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_definitions(vitald_flags INTERFACE VITALD_VERSION="${PROJECT_VERSION}")
if(VITALD_SANITIZE)
  target_compile_options(vitald_flags INTERFACE -fsanitize=${VITALD_SANITIZE} -fno-omit-frame-pointer)
  if(VITALD_FUZZ)
    target_compile_options(vitald_flags INTERFACE -fno-sanitize-recover=all) # only what ends the process is noticed
  endif()
  target_link_options(vitald_flags INTERFACE -fsanitize=${VITALD_SANITIZE})
endif()
find_program(MOLD mold)
if(MOLD)
  target_link_options(vitald_flags INTERFACE -fuse-ld=mold)
endif()

# Headers of others that nearly every file reads, parsed once for all libraries. Each file includes what it uses all the
# same. None of ours: a change of it would compile everything anew. By name alone, so that ccache works across checkouts.
set(vitald_common_headers
  <fmt/format.h> <algorithm> <array> <charconv> <cmath> <condition_variable> <cstdint> <cstring> <functional> <map> <memory>
  <mutex> <optional> <span> <string> <string_view> <tl/expected.hpp> <unordered_map> <utility> <vector>)

# vitald_library(core SOURCES a.cpp b.cpp PUBLIC lib PRIVATE lib)
function(vitald_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(vitald_${name} STATIC ${arg_SOURCES})
  target_link_libraries(vitald_${name} PUBLIC vitald_flags ${arg_PUBLIC} PRIVATE vitald_optimized ${arg_PRIVATE})
  if(name STREQUAL core)
    target_precompile_headers(vitald_core PRIVATE ${vitald_common_headers})
  else()
    target_precompile_headers(vitald_${name} REUSE_FROM vitald_core)
  endif()
  add_library(vitald::${name} ALIAS vitald_${name})
endfunction()
