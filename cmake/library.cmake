# SPDX-License-Identifier: Apache-2.0
# libhangar.so and libhangar.a: the rooms up to the manager, and api, because the public
# hangar_mirror_* functions live there. Only names that begin with hangar_ are exported.
set(HG_LIBRARY_ROOMS ${HG_ROOMS})
list(REMOVE_ITEM HG_LIBRARY_ROOMS cli)
list(REVERSE HG_LIBRARY_ROOMS)

# What an object library would give, without compiling anything twice.
set(objects $<TARGET_OBJECTS:hg_onnxpb>)
set(libs PkgConfig::PROTOBUF_C)
foreach(room ${HG_LIBRARY_ROOMS})
  list(APPEND objects $<TARGET_OBJECTS:hg_${room}>)
  list(APPEND libs ${HG_LIBS_${room}})
endforeach()
list(REMOVE_DUPLICATES libs)
set(map ${CMAKE_SOURCE_DIR}/cmake/libhangar.map)

add_library(hangar_shared SHARED ${objects})
add_library(hangar_static STATIC ${objects})
foreach(target hangar_shared hangar_static)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME hangar LINKER_LANGUAGE C)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>)
endforeach()
set_target_properties(hangar_shared PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION 0 LINK_DEPENDS ${map} INSTALL_RPATH "\$ORIGIN/hangar")
target_link_options(hangar_shared PRIVATE -Wl,--version-script=${map})
if(NOT sanitize)
  target_link_options(hangar_shared PRIVATE -Wl,--no-undefined)
endif()
target_link_libraries(hangar_shared PRIVATE hg_flags ${libs})
target_link_libraries(hangar_static INTERFACE ${libs})
