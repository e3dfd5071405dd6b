# SPDX-License-Identifier: Apache-2.0
# The program, the runners, the examples, and what `make install` puts where.
set(private ${CMAKE_INSTALL_LIBDIR}/hangar)
# For a target whose code is all in libraries: CMake wants one source.
file(CONFIGURE OUTPUT ${HG_GEN}/empty.c CONTENT "extern int hg_empty;\n")

if(TARGET hg_cli)
  add_executable(hangar)
  target_sources(hangar PRIVATE ${HG_GEN}/empty.c)
  target_link_libraries(hangar PRIVATE hg_flags)
  foreach(room cli daemon verbs)
    if(TARGET hg_${room})
      target_link_libraries(hangar PRIVATE hg_${room})
    endif()
  endforeach()
  target_link_libraries(hangar PRIVATE hangar_static)
  set_target_properties(hangar PROPERTIES INSTALL_RPATH "\$ORIGIN/../${private}")
  install(TARGETS hangar RUNTIME)
endif()

# A runner links the base, the file formats and, of the engine room, the wire protocol alone; one that makes models
# also the rooms of HG_ROOMS_runner_<kind>.
function(hg_runner kind)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runners/${kind}/*.c)
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/runners/${kind}/main.c)
    return()
  endif()
  file(GLOB wire CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/engine/wire.c)
  set(testable ${sources})
  list(FILTER testable EXCLUDE REGEX "/main\\.c$")
  # Everything but main() is a library of its own, so that tests can reach it.
  add_library(hg_runner_${kind} STATIC ${testable} ${wire} ${HG_GEN}/empty.c)
  target_include_directories(hg_runner_${kind} PUBLIC
    ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/runners/${kind})
  target_link_libraries(hg_runner_${kind} PUBLIC hg_flags ${ARGN} Threads::Threads m)
  add_dependencies(hg_runner_${kind} hg_onnx_gen)
  add_executable(hangar-runner-${kind} ${CMAKE_SOURCE_DIR}/runners/${kind}/main.c)
  target_link_libraries(hangar-runner-${kind} PRIVATE hg_runner_${kind})
  hg_link_rooms(hangar-runner-${kind} ${HG_ROOMS_runner_${kind}} format base)
  set_target_properties(hangar-runner-${kind} PROPERTIES INSTALL_RPATH "\$ORIGIN")
  install(TARGETS hangar-runner-${kind} RUNTIME DESTINATION ${private})
endfunction()
file(GLOB kinds CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/runners ${CMAKE_SOURCE_DIR}/runners/*)
foreach(kind ${kinds})
  hg_runner(${kind} ${HG_LIBS_runner_${kind}})
endforeach()

# Examples see what an embedder sees: the installed headers and the shared library.
file(GLOB examples CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/examples/*.c)
foreach(source ${examples})
  get_filename_component(name ${source} NAME_WE)
  add_executable(example_${name} ${source})
  target_compile_options(example_${name} PRIVATE -std=c17 -Wall -Wextra -Werror)
  target_link_libraries(example_${name} PRIVATE hangar_shared)
  set_target_properties(example_${name} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/examples)
endforeach()

install(TARGETS hangar_shared LIBRARY)
install(TARGETS hangar_static ARCHIVE)
install(DIRECTORY include/hangar DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(HG_PC_PRIVATE "-lsqlite3 -lcrypto -lyaml -lprotobuf-c -lhwloc -lseccomp -lutf8proc -lpcre2-8 -luv")
configure_file(cmake/hangar.pc.in ${HG_GEN}/hangar.pc @ONLY)
install(FILES ${HG_GEN}/hangar.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(GLOB runtime ${HG_DEPS}/lib/*.so*)
install(FILES ${runtime} DESTINATION ${private})
file(GLOB notices ${HG_DEPS}/notices/*)
install(FILES ${notices} DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/hangar/notices)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/hangar)

# What a user runs, without the tests.
add_custom_target(programs DEPENDS hangar_shared hangar_static)
get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
foreach(target ${targets})
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    add_dependencies(programs ${target})
  endif()
endforeach()
