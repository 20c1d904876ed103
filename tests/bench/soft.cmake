add_executable(soft_bench soft_bench.cpp)
target_link_libraries(soft_bench PRIVATE dejavm_engine_soft benchmark::benchmark)
