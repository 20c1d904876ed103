dejavm_fuzzer(soft_engine_fuzzer soft_engine_fuzzer.cpp soft_sketch.cpp LINK dejavm_engine_soft dejavm_vm)
dejavm_seeds(soft_engine_seeds soft_engine_seeds.cpp ../unit/soft/translate_program.cpp LINK dejavm_vm)
