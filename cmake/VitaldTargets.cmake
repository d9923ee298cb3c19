# One library per room. The links are the arrows of docs/architecture.md: a wrong one does not link.
add_library(vitald_flags INTERFACE)
# -pthread: some libraries ask for it, and precompiled headers serve only what is compiled alike.
target_compile_options(vitald_flags INTERFACE -pthread -Wall -Wextra -Wshadow -Wconversion -Werror
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)  # core/mutex.h
target_link_libraries(vitald_flags INTERFACE Threads::Threads)
# What ships and what is measured. Tests leave it out: they are compiled in half the time without. Most of it runs once a
# scrape and between two scrapes others have the caches: small code is the fast one there, and 2.5 MiB less of it stay in
# memory (docs/performance.md). Rooms with loops over thousands of series are HOT.
add_library(vitald_optimized INTERFACE)
target_compile_options(vitald_optimized INTERFACE $<$<CONFIG:Release>:-O2;-g1;-ffunction-sections;-fdata-sections>)
add_library(vitald_small INTERFACE)
target_compile_options(vitald_small INTERFACE $<$<CONFIG:Release>:-Os;-g1;-ffunction-sections;-fdata-sections>)
target_link_options(vitald_flags INTERFACE $<$<CONFIG:Release>:-Wl,--gc-sections> -Wl,--as-needed -Wl,-z,relro,-z,now)
target_include_directories(vitald_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_definitions(vitald_flags INTERFACE VITALD_VERSION="${PROJECT_VERSION}")
if(VITALD_SANITIZE)
  target_compile_options(vitald_flags INTERFACE -fsanitize=${VITALD_SANITIZE} -fno-omit-frame-pointer)
  # GCC 12 takes what it puts in between for accesses out of bounds.
  target_compile_options(vitald_flags INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow;-Wno-stringop-overread;-Wno-maybe-uninitialized>)
  if(NOT VITALD_FUZZ)
    target_compile_definitions(vitald_flags INTERFACE _GLIBCXX_ASSERTIONS)
    # A third of the compiler's time, for what `address` finds too where it matters; fuzz targets have them all.
    if(VITALD_SANITIZE MATCHES "undefined")
      target_compile_options(vitald_flags INTERFACE -fno-sanitize=null,alignment,object-size,vptr)
    endif()
    # It knows no fences, and there is one only towards the kernel (sensors/bpf/worst.h).
    if(VITALD_SANITIZE STREQUAL "thread")
      target_compile_options(vitald_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
      add_library(vitald_tsan STATIC ${CMAKE_CURRENT_LIST_DIR}/tsan.cpp)
      target_link_libraries(vitald_flags INTERFACE vitald_tsan)
    endif()
  else()
    target_compile_options(vitald_flags INTERFACE -fno-sanitize-recover=all) # only what ends the process is noticed
  endif()
  target_link_options(vitald_flags INTERFACE -fsanitize=${VITALD_SANITIZE})
endif()
find_program(MOLD mold)
find_program(LLD ld.lld)
if(LLD AND CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT VITALD_SANITIZE)
  # What runs after the start lies side by side: a page of the binary is mapped with fifteen beside it, so that a scrape
  # had kept nine tenths of the code in memory (docs/performance.md). The list is `./dev order`'s.
  set(vitald_order ${PROJECT_SOURCE_DIR}/cmake/hot_functions.txt)
  target_link_options(vitald_flags INTERFACE
    -fuse-ld=lld -Wl,--symbol-ordering-file=${vitald_order} -Wl,--no-warn-symbol-ordering)
elseif(MOLD)
  target_link_options(vitald_flags INTERFACE -fuse-ld=mold)
endif()

# Headers of others that nearly every file reads, parsed once for all libraries. Each file includes what it uses all the
# same. By name alone, so that ccache works across checkouts.
set(vitald_common_headers
  <fmt/format.h> <algorithm> <array> <atomic> <charconv> <chrono> <cmath> <condition_variable> <cstdint> <cstring> <deque>
  <functional> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view> <tl/expected.hpp> <unordered_map>
  <utility> <vector>)
# And of ours what nearly every file above core reads, half a second each time: a change of one of these compiles
# everything anew, as it does without.
set(vitald_own_headers <core/collector.h> <core/snapshot.h> <core/text/scan.h>)

# vitald_unity(OUT NAME SOURCE...): OUT becomes files of this build that have a dozen sources each, half the work for the
# compiler. For what is built to be checked; what ships is compiled as it is written, which finds what a file forgot to
# include. VITALD_UNITY OFF: everything is.
set(vitald_unity_script ${PROJECT_SOURCE_DIR}/cmake/unity.py)
function(vitald_unity out name)
  set(batches ${ARGN})
  list(FILTER batches EXCLUDE REGEX "\\.cpp$")
  set(sources ${ARGN})
  list(FILTER sources INCLUDE REGEX "\\.cpp$")
  foreach(source IN LISTS sources)
    get_source_file_property(definitions ${source} COMPILE_DEFINITIONS)
    if(definitions)
      list(APPEND batches ${source})
      list(REMOVE_ITEM sources ${source})
    endif()
  endforeach()
  list(TRANSFORM sources PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ REGEX "^[^/]")
  list(LENGTH sources count)
  math(EXPR last "${count} - 1")
  foreach(first RANGE 0 ${last} 12)
    list(SUBLIST sources ${first} 12 some)
    set(file ${CMAKE_CURRENT_BINARY_DIR}/${name}_${first}.cpp)
    add_custom_command(OUTPUT ${file} COMMAND ${Python3_EXECUTABLE} ${vitald_unity_script} ${PROJECT_SOURCE_DIR} ${file} ${some}
      DEPENDS ${vitald_unity_script} ${some} VERBATIM)
    list(APPEND batches ${file})
  endforeach()
  set(${out} ${batches} PARENT_SCOPE)
endfunction()

# vitald_library(core [HOT] SOURCES a.cpp b.cpp PUBLIC lib PRIVATE lib)
function(vitald_library name)
  cmake_parse_arguments(arg "HOT" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  set(kind vitald_small)
  if(arg_HOT)
    set(kind vitald_optimized)
  endif()
  set(unity OFF)
  if(VITALD_UNITY AND VITALD_SANITIZE AND NOT name STREQUAL "agent")
    set(unity ON)
    vitald_unity(arg_SOURCES ${name} ${arg_SOURCES})
  endif()
  add_library(vitald_${name} STATIC ${arg_SOURCES})
  if(unity)  # see vitald_test()
    target_compile_options(vitald_${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
  target_link_libraries(vitald_${name} PUBLIC vitald_flags ${arg_PUBLIC} PRIVATE ${kind} ${arg_PRIVATE})
  # The first library of its kind has the headers: what is precompiled serves only what is compiled alike.
  get_property(headers GLOBAL PROPERTY ${kind}_headers)
  if(headers)
    target_precompile_headers(vitald_${name} REUSE_FROM ${headers})
  else()
    if(NOT arg_HOT)  # of which core is the first
      set(own ${vitald_own_headers})
    endif()
    target_precompile_headers(vitald_${name} PRIVATE ${vitald_common_headers} ${own})
    set_property(GLOBAL PROPERTY ${kind}_headers vitald_${name})
  endif()
  add_library(vitald::${name} ALIAS vitald_${name})
endfunction()
