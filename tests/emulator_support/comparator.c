/* Uses a peripheral that the emulator does not model. */
#include "samd21.h"

int main(void) {
    *(volatile uint32_t *)0x40000420 |= 1u << 17; /* PM.APBCMASK.AC */
    R8(0x42004400) = 2;
    for (int i = 0; i < 7; i++) (void)R8(0x42004408);
    return 0;
}
