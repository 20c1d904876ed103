// Everything that a guest may use.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/console.h"
#include "lib/edu.h"
#include "lib/interrupts.h"
#include "lib/io.h"
#include "lib/machine.h"
#include "lib/memory.h"
#include "lib/paging.h"
#include "lib/pci.h"
