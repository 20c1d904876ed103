dejavm_fuzzer(qmp_fuzzer qmp_fuzzer.cpp LINK dejavm_qmp)
