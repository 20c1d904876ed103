dejavm_fuzzer(device_fuzzer device_fuzzer.cpp LINK dejavm_devices)
