add_executable(mock_stub mock_stub.cpp)
target_link_libraries(mock_stub PRIVATE dejavm_gdbstub)
