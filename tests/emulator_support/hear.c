/* Hears the first samples of both microphones and prints them by semihosting. */
#include "samd21.h"

#define ADC 0x42004000u
#define I2S 0x42005000u
#define SAMPLES 3

static void ask(uint32_t what, const void *argument) {
    register uint32_t r0 __asm("r0") = what;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt #0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void print(uint32_t value, char end) {
    for (int shift = 28; shift >= 0; shift -= 4) {
        char c = "0123456789abcdef"[value >> shift & 15];
        ask(0x03, &c);
    }
    ask(0x03, &end);
}

int main(void) {
    static const uint32_t status[2] = {0x20026, 0};
    PM_APBCMASK |= 1u << 16 | 1u << 20;
    GCLK_CLKCTRL = 1 << 14 | 0x1E;
    GCLK_CLKCTRL = 1 << 14 | 0x23;
    R8(ADC + 0x01) = 2;                          /* half the supply */
    R32(ADC + 0x10) = 0xFu << 24 | 0x18 << 8;    /* gain 1/2, AIN0 */
    R8(ADC) = 2;
    for (int i = 0; i < SAMPLES; i++) {
        R8(ADC + 0x0C) = 2;
        while (!(R8(ADC + 0x18) & 1)) {
        }
        print(R16(ADC + 0x1A), i + 1 < SAMPLES ? ' ' : '\n');
    }
    R32(I2S + 0x04) = 0x87;
    R32(I2S + 0x20) = 1u << 17;
    R8(I2S) = 2 | 4 | 16;
    for (int i = 0; i < SAMPLES; i++) {
        while (!(R16(I2S + 0x14) & 1)) {
        }
        print(R32(I2S + 0x30), i + 1 < SAMPLES ? ' ' : '\n');
    }
    ask(0x20, status);
    return 0;
}
