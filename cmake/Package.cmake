# The Debian package (cpack -G DEB in the build folder; scripts/package does it and tries what it made): the program, the library
# with its headers, the manual page and the shells' completions. The Python package is no part of it: pip installs that.
if(NOT CMAKE_CROSSCOMPILING AND NOT IGQ_SANITIZE)
  # The program writes these about itself, while it is installed.
  set(generated ${PROJECT_BINARY_DIR}/generated)
  install(CODE "
    file(MAKE_DIRECTORY \"${generated}\")
    foreach(part \"man|igq.1\" \"completion;bash|igq.bash\" \"completion;zsh|_igq\" \"completion;fish|igq.fish\")
      string(REGEX REPLACE \"[|].*\" \"\" arguments \"\${part}\")
      string(REGEX REPLACE \".*[|]\" \"\" name \"\${part}\")
      execute_process(COMMAND \"${PROJECT_BINARY_DIR}/igq\" \${arguments} OUTPUT_FILE \"${generated}/\${name}\"
                      COMMAND_ERROR_IS_FATAL ANY)
    endforeach()")
  install(FILES ${generated}/igq.1 DESTINATION share/man/man1)
  install(FILES ${generated}/igq.bash DESTINATION share/bash-completion/completions RENAME igq)
  install(FILES ${generated}/_igq DESTINATION share/zsh/vendor-completions)
  install(FILES ${generated}/igq.fish DESTINATION share/fish/vendor_completions.d)
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION share/doc/igq RENAME copyright)
install(FILES ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION share/doc/igq)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME igq)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "vision transformers in real integers on a CPU")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Quantizes vision transformers to 2 to 8 bits by instance-aware group
quantization and runs them in integers: classification, vectors of images,
float detection. The library libigq with its headers is included.")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "the igq maintainers")
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # the libraries that it really links, by their packages
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_CMAKE_PROJECTS "${PROJECT_BINARY_DIR};igq;Unspecified;/")
include(CPack)
