# dejavm_library(NAME DIR SOURCES... [LINK LIBS...]): one static library a folder.
# Includes are written "FOLDER/file.h". Each library exports only its own folder (through a symbolic link in the build tree),
# so that a forbidden include does not compile.
function(dejavm_library name dir)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  list(TRANSFORM ARG_UNPARSED_ARGUMENTS PREPEND ${PROJECT_SOURCE_DIR}/${dir}/)
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  set(include ${PROJECT_BINARY_DIR}/include/${name})
  string(REGEX REPLACE "^src/" "" spelled ${dir})
  get_filename_component(parent ${include}/${spelled} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${dir} ${include}/${spelled} SYMBOLIC)
  target_include_directories(${name} PUBLIC ${include})
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
endfunction()

# dejavm_test(NAME SOURCES... LINK LIBS... [LABELS L...]): a GoogleTest executable, one CTest test a case.
function(dejavm_test name)
  cmake_parse_arguments(ARG "" "" "LINK;LABELS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock GTest::gtest_main)
  # Test code is compiled once and run for a moment: half the compile time. What it tests is optimised as the preset says.
  target_compile_options(${name} PRIVATE -O0 -g1)
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)  # an empty list would vanish from the property list
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT 300)
endfunction()

# dejavm_fuzzer(NAME SOURCES... LINK LIBS...): a libFuzzer target; built with DEJAVM_FUZZ (clang) only.
function(dejavm_fuzzer name)
  if(NOT DEJAVM_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
endfunction()
