# The guest panics long after the damage was done. Replay to the panic.
break panic
continue
bt
# The queue's magic number is wrong. What is there instead?
print (char[8])completion_queue.magic
# Text: not a number that this driver computes. The trace knows every byte that a device wrote: ask who wrote here.
eval "monitor dma %p", &completion_queue
# A DMA of 80 bytes, and this is its byte 64. It was aimed at:
info symbol DMA_ADDRESS
print sizeof(rx_buffer)
# 80 bytes into a buffer of 64. Which line of the driver told the device to do that?
