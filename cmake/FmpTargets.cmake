# fmp_library(NAME SOURCES ... [DEPS ...] [PRIVATE_DEPS ...]): one shared library of core/, hidden by default;
# what FMP_API marks in its public header is visible.
function(fmp_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  list(TRANSFORM A_SOURCES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ REGEX "^[^/]")
  add_library(${name} SHARED ${A_SOURCES})
  target_compile_definitions(${name} PRIVATE FMP_BUILDING=1)
  target_link_libraries(${name} PUBLIC fmp_headers ${A_DEPS} PRIVATE fmp_flags ${A_PRIVATE_DEPS})
  set_target_properties(${name} PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
    C_VISIBILITY_PRESET default
    BUILD_RPATH_USE_ORIGIN ON INSTALL_RPATH "$ORIGIN")
  install(TARGETS ${name} EXPORT fmpipe_libraries LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()
