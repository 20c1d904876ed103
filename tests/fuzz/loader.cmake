dejavm_fuzzer(loader_fuzzer loader_fuzzer.cpp LINK dejavm_loader)
dejavm_seeds(loader_seeds loader_seeds.cpp ../unit/loader/images.cpp LINK dejavm_loader)
