add_executable(kvm_exits kvm_exits.cpp)
target_link_libraries(kvm_exits PRIVATE dejavm_kvm dejavm_vm fmt::fmt)
