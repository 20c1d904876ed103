add_executable(trace_bench trace_bench.cpp)
target_link_libraries(trace_bench PRIVATE dejavm_trace zstd::libzstd_shared benchmark::benchmark)
target_compile_definitions(trace_bench PRIVATE DEJAVM_CORPORA_DEFAULT="${PROJECT_SOURCE_DIR}/../shared/corpora")
