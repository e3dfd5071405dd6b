# SPDX-License-Identifier: Apache-2.0
# The rooms under src/ and their floors. A room sees itself and lower floors. tools/check-layers reads this list.
set(HG_FLOORS
  base:0
  format:1 db:1 settings:1
  store:2 graph:2
  hub:3 convert:3 hardware:3 provider:3 engine:3
  manager:4
  verbs:5
  api:6 cli:6
  daemon:7)

set(HG_ROOMS "")
foreach(pair ${HG_FLOORS})
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 room)
  list(GET pair 1 floor)
  set(HG_FLOOR_${room} ${floor})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${room}/*.c)
  if(NOT sources)
    continue()
  endif()
  list(APPEND HG_ROOMS ${room})
  add_library(hg_${room} STATIC ${sources})
  target_include_directories(hg_${room} PUBLIC ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
  target_include_directories(hg_${room} SYSTEM PUBLIC ${HG_GEN})
  # Linking another room here would make it build first: programs and tests name the rooms they need instead.
  target_link_libraries(hg_${room} PUBLIC hg_flags hg_dep_yyjson ${HG_LIBS_${room}})
  add_dependencies(hg_${room} hg_onnx_gen)
endforeach()

# out: the rooms up to that floor, the highest first (the order a linker wants).
function(hg_rooms_below out floor)
  set(found "")
  foreach(room ${HG_ROOMS})
    if(HG_FLOOR_${room} LESS floor)
      list(PREPEND found ${room})
    endif()
  endforeach()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# Links rooms, in the order given, and the generated ONNX code behind them. A verb calls public functions whose rooms are above it (a server's),
# and such a room has the verbs for its routes: the linker looks through them until nothing is missing.
function(hg_link_rooms target)
  set(found "")
  foreach(room ${ARGN})
    if(TARGET hg_${room})
      list(APPEND found hg_${room})
    endif()
  endforeach()
  list(JOIN found "," group)
  target_link_libraries(${target} PRIVATE "$<LINK_GROUP:RESCAN,${group}>" hg_onnxpb)
endfunction()
