# fmpipe_add_plugin(NAME SOURCES file.c ... [LIBRARIES ...]): one stage plugin NAME.so, everything but its entry
# symbol hidden, with its manifest written into an ELF note after linking by `fmpipe plugin note`.
# Works in this tree and, through find_package(fmpipe), in anybody else's.
function(fmpipe_add_plugin name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT A_SOURCES)
    file(GLOB A_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  endif()
  add_library(${name} MODULE ${A_SOURCES})
  set_target_properties(${name} PROPERTIES PREFIX "" C_STANDARD 11 C_EXTENSIONS OFF
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
  if(TARGET fmp_flags)
    target_link_libraries(${name} PRIVATE fmp_headers fmp_flags ${A_LIBRARIES})
    set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${FMP_PLUGIN_OUTPUT_DIR}
      BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN/../..")
    install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/fmpipe/plugins)
    set(tool $<TARGET_FILE:fmpipe>)
  else()
    target_link_libraries(${name} PRIVATE fmpipe::headers ${A_LIBRARIES})
    set_target_properties(${name} PROPERTIES SKIP_BUILD_RPATH ON)
    set(tool fmpipe::fmpipe)
  endif()
  if(TARGET fmpipe OR TARGET fmpipe::fmpipe)
    add_custom_command(TARGET ${name} POST_BUILD COMMAND ${tool} plugin note $<TARGET_FILE:${name}> VERBATIM)
  endif()
endfunction()
