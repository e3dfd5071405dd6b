# SPDX-License-Identifier: Apache-2.0
# Tests are found by folder; each runs in an empty directory of its own.
#   tests/unit/<room>/<name>.c     cmocka; links its room and the floors below, so a broken room above is no hindrance
#   tests/fuzz/<name>.c            replays tests/fuzz/corpus/<name>/ here, fuzzes in the fuzz preset
#   tests/node/<name>.test.mjs     node:test
#   tests/support/<name>.c         tool_<name>, a program that node tests drive; names its room as a fuzz target does: "tool-room: api"
#   tests/cli/run                  golden output of the program
set(isolated ${CMAKE_SOURCE_DIR}/tests/run-in-empty-dir)
set(environment
  HANGAR=${CMAKE_BINARY_DIR}/hangar HANGAR_TOP=${CMAKE_SOURCE_DIR} HANGAR_BUILD=${CMAKE_BINARY_DIR})

# Gives a test program its room, the rooms below it, and the helpers.
function(hg_test_program target room)
  target_compile_options(${target} PRIVATE ${HG_TEST_OPTIONS})
  target_include_directories(${target} PRIVATE
    ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/tests/support)
  target_link_libraries(${target} PRIVATE hg_flags)
  if(room MATCHES "^runner_")
    target_link_libraries(${target} PRIVATE hg_${room})
    hg_link_rooms(${target} format base)
  elseif(DEFINED HG_FLOOR_${room})
    hg_rooms_below(lower ${HG_FLOOR_${room}})
    hg_link_rooms(${target} ${room} ${lower})
  else()
    target_link_libraries(${target} PRIVATE hangar_static)
  endif()
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endfunction()

# out: the room that a source names in a line of its own, "<kind>-room: hub"; format when it is silent.
function(hg_named_room source kind out)
  file(STRINGS ${source} line REGEX "${kind}-room: *[a-z_]+" LIMIT_COUNT 1)
  set(room format)
  if(line MATCHES "${kind}-room: *([a-z_]+)")
    set(room ${CMAKE_MATCH_1})
  endif()
  set(${out} ${room} PARENT_SCOPE)
endfunction()

# Those that wait more than they work begin first, so that others work meanwhile; then the longest kind.
set(HG_WAITING test_api_jobs test_base_loop test_engine_runner test_manager_pool test_provider_cloud
  node_fallback node_health node_http node_providers node_pull-faults node_pull-resume node_serve node_up)
function(hg_test name label timeout)
  set(kinds fuzz unit node cli)
  list(FIND kinds ${label} cost)
  if(name IN_LIST HG_WAITING)
    set(cost 9)
  endif()
  set_tests_properties(${name} PROPERTIES
    LABELS ${label} TIMEOUT ${timeout} COST ${cost} ENVIRONMENT "${environment}")
endfunction()

# A program that node tests talk to: tool_<name>, line by line, over stdin and stdout.
file(GLOB tools CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.c)
foreach(source ${tools})
  get_filename_component(name ${source} NAME_WE)
  file(STRINGS ${source} line REGEX "tool-room: *[a-z_]+" LIMIT_COUNT 1)
  set(room format)
  if(line MATCHES "tool-room: *([a-z_]+)")
    set(room ${CMAKE_MATCH_1})
  endif()
  if(NOT TARGET hg_${room})
    continue()
  endif()
  add_executable(tool_${name} ${source})
  hg_test_program(tool_${name} ${room})
endforeach()

file(GLOB units CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/tests/unit ${CMAKE_SOURCE_DIR}/tests/unit/*/*.c)
if(units AND NOT HANGAR_FUZZ)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
  foreach(source ${units})
    get_filename_component(room ${source} DIRECTORY)
    get_filename_component(name ${source} NAME_WE)
    set(test test_${room}_${name})
    if(NOT TARGET hg_${room})
      continue()
    endif()
    add_executable(${test} ${CMAKE_SOURCE_DIR}/tests/unit/${source})
    hg_test_program(${test} ${room})
    target_link_libraries(${test} PRIVATE PkgConfig::CMOCKA)
    add_test(NAME ${test} COMMAND ${isolated} $<TARGET_FILE:${test}>)
    hg_test(${test} unit 300)
  endforeach()
endif()

# A fuzz target names the highest room it needs in a line of its own: "fuzz-room: format" (format when it is silent).
file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/*.c)
list(FILTER fuzzers EXCLUDE REGEX "/replay\\.c$")
foreach(source ${fuzzers})
  get_filename_component(name ${source} NAME_WE)
  hg_named_room(${source} fuzz room)
  if(NOT TARGET hg_${room})
    continue()
  endif()
  add_executable(fuzz_${name} ${source})
  hg_test_program(fuzz_${name} ${room})
  if(HANGAR_FUZZ)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME fuzz_${name} COMMAND ${isolated} $<TARGET_FILE:fuzz_${name}>
      -runs=0 ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  else()
    target_sources(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
    add_test(NAME fuzz_${name} COMMAND ${isolated} $<TARGET_FILE:fuzz_${name}>
      ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  endif()
  hg_test(fuzz_${name} fuzz 120)
endforeach()

if(NOT HANGAR_FUZZ)
  find_program(NODE node)
  file(GLOB node_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/node/*.test.mjs)
  foreach(source ${node_tests})
    get_filename_component(name ${source} NAME_WE)
    add_test(NAME node_${name} COMMAND ${isolated} ${NODE} --test --test-reporter=tap ${source})
    hg_test(node_${name} node 300)
  endforeach()
  file(GLOB cli CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/cli/run)
  if(cli)
    add_test(NAME cli COMMAND ${isolated} ${cli})
    hg_test(cli cli 600)
  endif()
endif()
