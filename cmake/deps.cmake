# SPDX-License-Identifier: Apache-2.0
# The libraries of others. tools/bootstrap brought what the distribution does not have into .deps.
set(HG_DEPS ${CMAKE_SOURCE_DIR}/.deps)
set(hint "; run tools/bootstrap")
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
function(hg_pkg name module)
  pkg_check_modules(${name} IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR "${module} is not installed${hint}")
  endif()
endfunction()
hg_pkg(SQLITE sqlite3)
hg_pkg(CRYPTO libcrypto)
hg_pkg(YAML yaml-0.1)
hg_pkg(PROTOBUF_C libprotobuf-c)
hg_pkg(HWLOC hwloc)
hg_pkg(SECCOMP libseccomp)
hg_pkg(UTF8PROC libutf8proc)
hg_pkg(PCRE2 libpcre2-8)
hg_pkg(UV libuv)

# A library that is loaded when it is needed (src/base/lazy.h): its headers alone.
function(hg_pkg_headers name module)
  hg_pkg(${name} ${module})
  add_library(hg_headers_${name} INTERFACE)
  target_include_directories(hg_headers_${name} SYSTEM INTERFACE ${${name}_INCLUDE_DIRS})
endfunction()
hg_pkg_headers(CURL libcurl)
hg_pkg_headers(MICROHTTPD libmicrohttpd)
hg_pkg_headers(AVFORMAT libavformat)
hg_pkg_headers(AVCODEC libavcodec)
hg_pkg_headers(AVUTIL libavutil)
hg_pkg_headers(SWRESAMPLE libswresample)

# One library file and its header folder as an imported target: .deps first, then the system.
function(hg_library target file header)
  find_library(${target}_FILE NAMES ${file} HINTS ${HG_DEPS}/lib)
  find_path(${target}_DIR ${header} HINTS ${HG_DEPS}/include PATH_SUFFIXES onnxruntime)
  if(NOT ${target}_FILE OR NOT ${target}_DIR)
    message(FATAL_ERROR "${file} or ${header} is missing${hint}")
  endif()
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} SYSTEM INTERFACE ${${target}_DIR})
  target_link_libraries(${target} INTERFACE ${${target}_FILE})
endfunction()
hg_library(hg_dep_yyjson libyyjson.so.0 yyjson.h)
hg_library(hg_dep_onnxruntime libonnxruntime.so.1 onnxruntime_c_api.h)
hg_library(hg_dep_ggml_base libggml-base.so ggml.h)
hg_library(hg_dep_ggml libggml.so ggml-backend.h)
hg_library(hg_dep_llama libllama.so llama.h)
target_link_libraries(hg_dep_llama INTERFACE hg_dep_ggml hg_dep_ggml_base)

# The ONNX schema, turned into C at build time.
find_program(PROTOC_C protoc-c)
find_path(ONNX_PROTO_DIR onnx.proto PATH_SUFFIXES onnx)
if(NOT PROTOC_C OR NOT ONNX_PROTO_DIR)
  message(FATAL_ERROR "protoc-c or onnx.proto is missing${hint}")
endif()
set(HG_GEN ${CMAKE_BINARY_DIR}/gen)
file(MAKE_DIRECTORY ${HG_GEN})
add_custom_command(
  OUTPUT ${HG_GEN}/onnx.pb-c.c ${HG_GEN}/onnx.pb-c.h
  COMMAND ${PROTOC_C} --c_out=${HG_GEN} -I ${ONNX_PROTO_DIR} ${ONNX_PROTO_DIR}/onnx.proto
  DEPENDS ${ONNX_PROTO_DIR}/onnx.proto
  COMMENT "Generating onnx.pb-c.[ch]" VERBATIM)
add_custom_target(hg_onnx_gen DEPENDS ${HG_GEN}/onnx.pb-c.c ${HG_GEN}/onnx.pb-c.h)
add_library(hg_onnxpb STATIC ${HG_GEN}/onnx.pb-c.c)
add_dependencies(hg_onnxpb hg_onnx_gen)
target_include_directories(hg_onnxpb SYSTEM PUBLIC ${HG_GEN})
target_compile_options(hg_onnxpb PRIVATE -w)
target_link_libraries(hg_onnxpb PUBLIC PkgConfig::PROTOBUF_C)

# What each room may link; tools/check-layers holds the includes to the same.
set(HG_LIBS_base hg_headers_CURL PkgConfig::UV PkgConfig::CRYPTO PkgConfig::SECCOMP hg_dep_yyjson Threads::Threads ${CMAKE_DL_LIBS} m)
set(HG_LIBS_format PkgConfig::PROTOBUF_C PkgConfig::UTF8PROC PkgConfig::PCRE2)
set(HG_LIBS_graph PkgConfig::PROTOBUF_C)
set(HG_LIBS_db PkgConfig::SQLITE)
set(HG_LIBS_settings PkgConfig::YAML)
set(HG_LIBS_hub hg_headers_CURL)
set(HG_LIBS_provider hg_headers_CURL)
set(HG_LIBS_hardware PkgConfig::HWLOC)
set(HG_LIBS_api hg_headers_MICROHTTPD)
# And each runner: a runner is a folder runners/<kind> and, when its engine is a library, a line here.
set(HG_LIBS_runner_onnx
  hg_dep_onnxruntime hg_headers_AVFORMAT hg_headers_AVCODEC hg_headers_AVUTIL hg_headers_SWRESAMPLE)
set(HG_LIBS_runner_llama hg_dep_llama)
# Rooms that a runner links besides base and format.
set(HG_ROOMS_runner_convert convert graph store db)
