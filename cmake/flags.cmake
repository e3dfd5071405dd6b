# SPDX-License-Identifier: Apache-2.0
# Language, warnings, hardening, sanitizers: the same for every target of this project.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer") # -g1: lines, for the sanitizers' words
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
include(CheckLinkerFlag)
include(CheckPIESupported)
check_pie_supported()

add_library(hg_flags INTERFACE)
target_compile_definitions(hg_flags INTERFACE _GNU_SOURCE)
target_compile_options(hg_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wno-format-nonliteral
  -Wpointer-arith -Wwrite-strings -Wundef -fno-common -fstack-protector-strong)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  target_compile_options(hg_flags INTERFACE -fstack-clash-protection -fcf-protection)
endif()
target_link_options(hg_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)

# A fuzz target has LLVMFuzzerTestOneInput and tests have main: neither needs a prototype. What a test itself does takes no time, to optimize it does.
set(HG_TEST_OPTIONS -Wno-missing-prototypes -O0)

set(sanitize ${HANGAR_SANITIZE})
if(HANGAR_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "libFuzzer needs clang; use: cmake --preset fuzz")
  endif()
  set(sanitize address,undefined)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(sanitize)
  add_compile_options(-fsanitize=${sanitize} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${sanitize})
  if(sanitize MATCHES "address|thread|memory") # these have memory of their own, and run before the program does
    add_compile_definitions(HG_SANITIZED)
  endif()
  check_linker_flag(C -fuse-ld=gold HG_HAS_GOLD) # of the GNU linkers the faster one: there are a hundred tests to link
  if(HG_HAS_GOLD)
    add_link_options(-fuse-ld=gold)
  endif()
  # GCC's sanitizers make some of its own warnings misfire; the plain builds gate on them.
  add_compile_options(-Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-format-truncation -Wno-unknown-warning-option)
else()
  # Glibc's checked calls, which need an optimizing compiler; sanitizers check the same and more.
  target_compile_options(hg_flags INTERFACE
    "$<$<NOT:$<BOOL:$<TARGET_PROPERTY:HG_TEST>>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
endif()
