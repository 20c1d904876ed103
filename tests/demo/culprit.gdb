# Replay once more, first to where the driver has found its device.
tbreak mailbox_fill
continue
# Then stop on the device access itself: a write of 80 to any register of edu.
monitor mmio break edu w value 80
continue
# There it is: the DMA count becomes 0x50 = 80. Who calls with such a count?
bt
frame function mailbox_receive
list mailbox_receive,+6
print sizeof(struct message_header)
# Found: the check knows only the payload, the transfer adds the header. 16 + 64 bytes go into rx_buffer[64].
