# What an installation has beside the program, its libraries and its plugins: headers, the CMake package, fmpipe.pc, the template.
set(FMP_INSTALLED_PLUGINS ${CMAKE_INSTALL_LIBDIR}/fmpipe/plugins)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fmpipe)
file(RELATIVE_PATH FMP_PC_TO_PREFIX /x/${CMAKE_INSTALL_LIBDIR}/pkgconfig /x)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/fmpipe-config.cmake.in ${CMAKE_BINARY_DIR}/fmpipe-config.cmake
  INSTALL_DESTINATION ${package_dir}
  PATH_VARS FMP_INSTALLED_PLUGINS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_BINDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/fmpipe-config-version.cmake COMPATIBILITY SameMajorVersion)
configure_file(${CMAKE_CURRENT_LIST_DIR}/fmpipe.pc.in ${CMAKE_BINARY_DIR}/fmpipe.pc @ONLY)

install(DIRECTORY ${CMAKE_SOURCE_DIR}/core/include/fmpipe DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_BINARY_DIR}/fmpipe-config.cmake ${CMAKE_BINARY_DIR}/fmpipe-config-version.cmake
  ${CMAKE_CURRENT_LIST_DIR}/FmpipePlugin.cmake DESTINATION ${package_dir})
install(FILES ${CMAKE_BINARY_DIR}/fmpipe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/transforms/template DESTINATION ${CMAKE_INSTALL_DATADIR}/fmpipe)
