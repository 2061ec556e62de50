/* Uses a peripheral that the emulator does not model. */
#include "samd21.h"

int main(void) {
    *(volatile uint32_t *)0x40000420 |= 1u << 16; /* PM.APBCMASK.ADC */
    R8(0x42004000) = 2;
    for (int i = 0; i < 7; i++) (void)R8(0x42004019);
    return 0;
}
