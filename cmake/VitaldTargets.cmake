# One library per folder of the flow. The links below are the arrows of docs/architecture.md:
# core <- sensors, rules, exporters <- agent.
add_library(vitald_flags INTERFACE)
target_compile_options(vitald_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Werror
  $<$<CONFIG:Release>:-O2;-g1;-ffunction-sections;-fdata-sections>)
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

# vitald_library(core SOURCES a.cpp b.cpp PUBLIC lib PRIVATE lib)
function(vitald_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(vitald_${name} STATIC ${arg_SOURCES})
  target_link_libraries(vitald_${name} PUBLIC vitald_flags ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  add_library(vitald::${name} ALIAS vitald_${name})
endfunction()
