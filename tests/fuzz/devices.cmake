dejavm_fuzzer(device_fuzzer device_fuzzer.cpp LINK dejavm_devices)
dejavm_fuzzer(virtio_fuzzer virtio_fuzzer.cpp LINK dejavm_devices)
