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

# dejavm_test(NAME SOURCES... LINK LIBS... [LABELS L...] [TIMEOUT SECONDS] [ENVIRONMENT NAME=VALUE...]): a GoogleTest
# executable, one CTest test a case.
function(dejavm_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "LINK;LABELS;ENVIRONMENT" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock GTest::gtest_main)
  # Test code is compiled once and run for a moment: half the compile time. What it tests is optimised as the preset says.
  target_compile_options(${name} PRIVATE -O0 -g1)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60)
  dejavm_test_properties(${name}_TESTS LABELS ${ARG_LABELS} TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT ${ARG_ENVIRONMENT})
endfunction()

# dejavm_test_again(NAME PREFIX FILTER [LABELS ...] [TIMEOUT ...] [ENVIRONMENT ...]): the cases of a dejavm_test() that
# GoogleTest's FILTER leaves, once more as PREFIX/CASE, with these properties.
function(dejavm_test_again name prefix filter)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_PREFIX ${prefix}/ TEST_FILTER ${filter}
    TEST_LIST ${name}_${prefix}_TESTS)
  dejavm_test_properties(${name}_${prefix}_TESTS ${ARGN})
endfunction()

# dejavm_test_properties(LIST [LABELS ...] [TIMEOUT ...] [ENVIRONMENT ...]): gtest_discover_tests() takes lists apart on their
# way to CTest, so a property that is a list is set behind it, where CTest knows the tests by the name of the list that it
# leaves.
function(dejavm_test_properties list)
  cmake_parse_arguments(ARG "" "TIMEOUT" "LABELS;ENVIRONMENT" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set(properties ${CMAKE_CURRENT_BINARY_DIR}/${list}_properties.cmake)
  file(WRITE ${properties}
    "set_tests_properties(\${${list}} PROPERTIES LABELS \"${ARG_LABELS}\" TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT \"${ARG_ENVIRONMENT}\")\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${properties})
endfunction()

# dejavm_fuzzer(NAME SOURCES... LINK LIBS...): a libFuzzer target; built with DEJAVM_FUZZ (clang) only.
function(dejavm_fuzzer name)
  dejavm_seeds(${name} ${ARGN})
  if(DEJAVM_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endif()
endfunction()

# dejavm_seeds(PART_seeds SOURCES... LINK LIBS...): a program beside the libFuzzer targets, with a main() of its own: it writes the
# seeds of PART_fuzzer into a directory.
function(dejavm_seeds name)
  if(NOT DEJAVM_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
endfunction()
