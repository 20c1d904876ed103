// The DSDT of the `pc` machine: what an operating system cannot find out by itself. iasl compiles it when dejavm is built.
// Sources: ACPI specification 6.3, chapters 5, 6 and 19; the names and resources are those of QEMU's -M pc, without what this
// board does not have (hotplug, CPU hotplug, mouse, floppy disk, sleep states other than S5).
DefinitionBlock ("", "DSDT", 2, "BOCHS ", "BXPC    ", 1)
{
    // Where PCI devices may stand; from an SSDT (acpi_tables.cpp), because it depends on the size of the RAM. First and last
    // address. W64L is 0 where there is no room below the processor's last physical address.
    External (\W32B, IntObj)
    External (\W32L, IntObj)
    External (\W64B, IntObj)
    External (\W64L, IntObj)

    Name (\_S5, Package (4) { 0, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (CPU0)
        {
            Name (_HID, "ACPI0007")
            Name (_UID, 0)  // as in the MADT
        }

        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, 0)

            Name (FIXD, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0xff, 0, 0x100)
                IO (Decode16, 0xcf8, 0xcf8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0, 0xcf7, 0, 0xcf8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0xd00, 0xffff, 0, 0xf300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0xa0000, 0xbffff, 0, 0x20000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xe0000000, 0xfebfffff, 0, 0x1ec00000, , , LOW)
            })
            Name (WIDE, ResourceTemplate ()
            {
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x100000000, 0x17fffffff, 0, 0x80000000, , , HIGH)
            })
            Method (_CRS, 0, Serialized)
            {
                CreateDWordField (FIXD, \_SB.PCI0.LOW._MIN, MIN4)
                CreateDWordField (FIXD, \_SB.PCI0.LOW._MAX, MAX4)
                CreateDWordField (FIXD, \_SB.PCI0.LOW._LEN, LEN4)
                MIN4 = \W32B
                MAX4 = \W32L
                LEN4 = \W32L - \W32B + 1
                If (\W64L == 0)
                {
                    Return (FIXD)
                }
                CreateQWordField (WIDE, \_SB.PCI0.HIGH._MIN, MIN8)
                CreateQWordField (WIDE, \_SB.PCI0.HIGH._MAX, MAX8)
                CreateQWordField (WIDE, \_SB.PCI0.HIGH._LEN, LEN8)
                MIN8 = \W64B
                MAX8 = \W64L
                LEN8 = \W64L - \W64B + 1
                Return (ConcatenateResTemplate (FIXD, WIDE))
            }

            // Pin p (0 = INTA) of slot s is PIRQ (s - 1 + p) mod 4; the power management function's INTA is the SCI.
            Method (_PRT, 0, NotSerialized)
            {
                Local4 = Package (128) {}
                Local0 = 0  // slot * 4 + pin
                While (Local0 < 128)
                {
                    Local1 = Local0 >> 2
                    Local2 = (Local1 + Local0 + 3) & 3
                    If (Local0 == 4)
                    {
                        Local3 = Package (4) { 0, 0, LNKS, 0 }
                    }
                    ElseIf (Local2 == 0)
                    {
                        Local3 = Package (4) { 0, 0, LNKA, 0 }
                    }
                    ElseIf (Local2 == 1)
                    {
                        Local3 = Package (4) { 0, 0, LNKB, 0 }
                    }
                    ElseIf (Local2 == 2)
                    {
                        Local3 = Package (4) { 0, 0, LNKC, 0 }
                    }
                    Else
                    {
                        Local3 = Package (4) { 0, 0, LNKD, 0 }
                    }
                    Local3 [0] = (Local1 << 16) | 0xffff
                    Local3 [1] = Local0 & 3
                    Local4 [Local0] = Local3
                    Local0++
                }
                Return (Local4)
            }

            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (ROUT, PCI_Config, 0x60, 4)
                Field (ROUT, ByteAcc, NoLock, Preserve)
                {
                    PRQA, 8,
                    PRQB, 8,
                    PRQC, 8,
                    PRQD, 8
                }

                Device (KBD)
                {
                    Name (_HID, EisaId ("PNP0303"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x60, 0x60, 1, 1)
                        IO (Decode16, 0x64, 0x64, 1, 1)
                        IRQNoFlags () { 1 }
                    })
                }

                Device (COM1)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 1)
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x3f8, 0x3f8, 0, 8)
                        IRQNoFlags () { 4 }
                    })
                }

                Device (RTC)
                {
                    Name (_HID, EisaId ("PNP0B00"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x70, 0x70, 1, 2)
                        IRQNoFlags () { 8 }
                    })
                }
            }

            Device (GPE0)
            {
                Name (_HID, "PNP0A06")
                Name (_UID, "GPE0 resources")
                Name (_STA, 0x0b)
                Name (_CRS, ResourceTemplate ()
                {
                    IO (Decode16, 0xafe0, 0xafe0, 1, 4)
                })
            }

            Device (FWCF)
            {
                Name (_HID, "QEMU0002")
                Name (_STA, 0x0b)
                Name (_CRS, ResourceTemplate ()
                {
                    IO (Decode16, 0x510, 0x510, 1, 2)
                })
            }
        }

        // What _STA and _CRS of a link say of its PIRQ route register: bit 7 is off, else it holds the interrupt's number.
        Method (STAT, 1, NotSerialized)
        {
            If (Arg0 & 0x80)
            {
                Return (0x09)
            }
            Return (0x0b)
        }
        Name (NOW, ResourceTemplate ()
        {
            Interrupt (ResourceConsumer, Level, ActiveHigh, Shared, , , WHAT) { 0 }
        })
        Method (LINE, 1, Serialized)
        {
            CreateDWordField (NOW, \_SB.WHAT._INT, NUMB)
            If (Arg0 < 0x80)
            {
                NUMB = Arg0
            }
            Else
            {
                NUMB = 0
            }
            Return (NOW)
        }

        Device (LNKA)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
            })
            Method (_STA, 0, NotSerialized) { Return (STAT (\_SB.PCI0.ISA.PRQA)) }
            Method (_DIS, 0, NotSerialized) { \_SB.PCI0.ISA.PRQA |= 0x80 }
            Method (_CRS, 0, NotSerialized) { Return (LINE (\_SB.PCI0.ISA.PRQA)) }
            Method (_SRS, 1, NotSerialized)
            {
                CreateDWordField (Arg0, 5, NUMB)
                \_SB.PCI0.ISA.PRQA = NUMB
            }
        }

        Device (LNKB)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 1)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
            })
            Method (_STA, 0, NotSerialized) { Return (STAT (\_SB.PCI0.ISA.PRQB)) }
            Method (_DIS, 0, NotSerialized) { \_SB.PCI0.ISA.PRQB |= 0x80 }
            Method (_CRS, 0, NotSerialized) { Return (LINE (\_SB.PCI0.ISA.PRQB)) }
            Method (_SRS, 1, NotSerialized)
            {
                CreateDWordField (Arg0, 5, NUMB)
                \_SB.PCI0.ISA.PRQB = NUMB
            }
        }

        Device (LNKC)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 2)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
            })
            Method (_STA, 0, NotSerialized) { Return (STAT (\_SB.PCI0.ISA.PRQC)) }
            Method (_DIS, 0, NotSerialized) { \_SB.PCI0.ISA.PRQC |= 0x80 }
            Method (_CRS, 0, NotSerialized) { Return (LINE (\_SB.PCI0.ISA.PRQC)) }
            Method (_SRS, 1, NotSerialized)
            {
                CreateDWordField (Arg0, 5, NUMB)
                \_SB.PCI0.ISA.PRQC = NUMB
            }
        }

        Device (LNKD)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 3)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 }
            })
            Method (_STA, 0, NotSerialized) { Return (STAT (\_SB.PCI0.ISA.PRQD)) }
            Method (_DIS, 0, NotSerialized) { \_SB.PCI0.ISA.PRQD |= 0x80 }
            Method (_CRS, 0, NotSerialized) { Return (LINE (\_SB.PCI0.ISA.PRQD)) }
            Method (_SRS, 1, NotSerialized)
            {
                CreateDWordField (Arg0, 5, NUMB)
                \_SB.PCI0.ISA.PRQD = NUMB
            }
        }

        // The SCI, which nothing can move.
        Device (LNKS)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 4)
            Name (_STA, 0x0b)
            Name (_PRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 9 }
            })
            Method (_DIS, 0, NotSerialized) {}
            Method (_CRS, 0, NotSerialized) { Return (_PRS) }
            Method (_SRS, 1, NotSerialized) {}
        }

        Device (HPET)
        {
            Name (_HID, EisaId ("PNP0103"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadOnly, 0xfed00000, 0x400)
            })
        }
    }
}
